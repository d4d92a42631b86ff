"""What the paper was made with: versions, seeds and budgets, as a table and as a manifest."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ropeleak.figures.store import code_version
from ropeleak.latex import tabular
from ropeleak.output import atomic

from .material import Material
from .tables import code

PACKAGES = ("ropeleak", "numpy", "scipy", "sympy", "numba", "xarray", "matplotlib")
ROOT = Path(__file__).parents[1]


def versions() -> dict[str, str]:
    """Return the versions that decide numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def settings(material: Material) -> dict[str, Any]:
    """Return seed and sizes of figures and claims."""
    bench, lab = material.bench.budget._asdict(), material.bench.lab.budget._asdict()
    return {
        "seed": material.bench.seed,
        **{f"figures: {name}": value for name, value in bench.items()},
        **{f"claims: {name}": value for name, value in lab.items()},
    }


def table(material: Material) -> str:
    """Return the settings as a table."""
    rows = [(code(name), str(value)) for name, value in settings(material).items()]
    return tabular("lr", ("setting", "value"), rows)


def manifest(material: Material, files: Mapping[str, Path], seconds: float, target: Path) -> None:
    """Write versions, settings, checksums of files and the running time as JSON."""
    found = {
        "versions": versions(),
        "commit": _commit(),
        "code": code_version(),
        "settings": settings(material),
        "seconds": round(seconds),
        "sha256": {
            name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()
        },
    }
    with atomic(target) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _commit() -> str:
    """Return the commit of the sources, or that there is none."""
    run = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
                         capture_output=True, text=True, check=False)  # fmt: skip
    return run.stdout.strip() or "not under version control"
