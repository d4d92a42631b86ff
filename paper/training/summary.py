"""From the folders of the runs to the two small files that are kept."""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ropeleak.errors import RopeleakError
from ropeleak.output import ENGINE, atomic
from ropeleak.simulate.measurement import package_version

from .architectures import BASELINE, CHANGES, SEEDS
from .results import AFTERWARDS, FOLDER, TRAINED, Results
from .runs import LOG, Run


def collect(out: Path, folder: Path = FOLDER) -> Results:
    """Write the measurements of all runs to the files that are kept, and return them.

    Raises
    ------
    RopeleakError
        If a run was not trained or measured, or not all were trained alike.
    """
    runs = {name: [Run(name, seed) for seed in SEEDS] for name in CHANGES}
    attributes = provenance([run for group in runs.values() for run in group], out)
    trained = xr.concat(
        [_of_seeds([_open(run, out, TRAINED) for run in group]) for group in runs.values()],
        pd.Index(runs, name="architecture"), join="outer",
    )  # fmt: skip
    stacks = [group[0].stack.model_dump_json() for group in runs.values()]
    trained["stack"] = "architecture", np.array(stacks, dtype=object)
    afterwards = _of_seeds([_open(run, out, AFTERWARDS) for run in runs[BASELINE]])
    for dataset, name in ((trained, TRAINED), (afterwards, AFTERWARDS)):
        dataset.attrs.update(attributes)
        _write(dataset, folder / name)
    return Results.load(folder)


def provenance(runs: Sequence[Run], out: Path) -> dict[str, str | float]:
    """Return where the numbers are from: text, recipe, versions, and what they took.

    Raises
    ------
    RopeleakError
        If a run was not trained, or not all were trained alike.
    """
    logs = [json.loads(_existing(run, out, LOG, "run").read_text(encoding="utf-8")) for run in runs]
    alike = {(log["identity"]["text"], json.dumps(log["identity"]["recipe"])) for log in logs}
    if len(alike) > 1:
        raise RopeleakError(
            f"the runs under {out} were trained on different texts or by different recipes:"
            " train them again in one folder"
        )
    ((text, recipe),) = alike
    return {
        "text": "sources of the Python standard library, a byte at a time",
        "text_sha256": text,
        "recipe": recipe,
        "python": platform.python_version(),
        "torch": ", ".join(sorted({log["torch"] for log in logs})),
        "numpy": np.__version__,
        "ropeleak": package_version(),
        "trainings": len(logs),
        "training_cpu_seconds": round(sum(log["seconds"] for log in logs)),
    }


def _existing(run: Run, out: Path, name: str, command: str) -> Path:
    path = run.folder(out) / name
    if not path.exists():
        raise RopeleakError(f"{run} has no {name}: python -m paper.training {command}")
    return path


def _open(run: Run, out: Path, name: str) -> xr.Dataset:
    return xr.load_dataset(_existing(run, out, name, "measure"), engine=ENGINE)


def _of_seeds(datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    return xr.concat(datasets, pd.Index(SEEDS, name="seed"))


def _write(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset, small: single precision, compressed."""
    small = {"dtype": "float32", "zlib": True, "complevel": 9}
    encoding: dict[str, Any] = {
        str(name): small for name, values in dataset.data_vars.items() if values.dtype.kind == "f"
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        dataset.to_netcdf(temporary, engine=ENGINE, encoding=encoding)
