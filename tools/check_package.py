"""Check what was built, ``python -m tools.check_package DIST``: the files in it, and that it runs.

The wheel must hold exactly the packages of the tree with their data files, and must work when it is
installed, with the locked dependencies, in a new environment far from the tree.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

SCRIPT = """
import json, sys
from importlib import resources
from pathlib import Path
import ropeleak
from ropeleak import Result, Stack, catalog, predict
import ropeleak.figures, ropeleak.simulate, ropeleak.theory

assert Path(ropeleak.__file__).is_relative_to(sys.prefix), ropeleak.__file__
assert resources.files("ropeleak").joinpath("py.typed").is_file()
assert len(catalog.names()) == int(sys.argv[1]), catalog.names()
assert Result.load("leak.nc").stack.name == "pythia-160m"
assert predict(Stack.build(context=16)).verdict()
"""


def package_files() -> set[str]:
    """Return the files that the packages of the tree consist of, as they are named in the wheel."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    setuptools = settings["tool"]["setuptools"]
    files = set()
    for package in setuptools["packages"]:
        folder = package.replace(".", "/")
        source = ROOT / setuptools["package-dir"].get(package, folder)
        for pattern in ["*.py", *setuptools["package-data"].get(package, [])]:
            found = sorted(source.glob(pattern))
            if not found:
                raise SystemExit(f"{package} has no {pattern}")
            files |= {f"{folder}/{path.relative_to(source).as_posix()}" for path in found}
    return files


def check_wheel(wheel: Path) -> None:
    """Exit with a message unless the wheel holds the packages, all of them and nothing else."""
    names = zipfile.ZipFile(wheel).namelist()
    held = {name for name in names if ".dist-info/" not in name}
    expected = package_files()
    if held != expected:
        lacking, strange = sorted(expected - held), sorted(held - expected)
        raise SystemExit(f"{wheel.name} lacks {lacking} and holds {strange} too")
    if not any(name.endswith("licenses/LICENSE") for name in names):
        raise SystemExit(f"{wheel.name} has no licence")


def check_sdist(sdist: Path) -> None:
    """Exit with a message unless the source archive can be built from by itself."""
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"pyproject.toml", "README.md", "LICENSE", "theory/__init__.py"}
    if not needed <= held:
        raise SystemExit(f"{sdist.name} lacks {sorted(needed - held)}")


def check_install(wheel: Path) -> None:
    """Install the wheel in a new environment and run it in an empty folder."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    with tempfile.TemporaryDirectory() as folder:
        away = Path(folder, "away")
        away.mkdir()
        venv.create(Path(folder, "venv"), with_pip=True)
        binaries = Path(folder, "venv", "bin").resolve()

        def run(*command: str | Path) -> None:
            print("$", *("…" if "\n" in str(word) else word for word in command), flush=True)
            subprocess.run([binaries / command[0], *command[1:]], cwd=away, env=environment,
                           check=True, stdout=subprocess.DEVNULL)  # fmt: skip

        pip = ("python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
        run(*pip, "--constraint", ROOT / "requirements.lock", wheel.resolve())
        run("ropeleak", "--version")
        run("ropeleak", "models")
        run("ropeleak", "predict", "pythia-160m", "--context", "64", "--out", "leak.nc",
            "--plot", "leak.png")  # fmt: skip
        run("python", "-m", "ropeleak", "--help")
        configs = len(list((ROOT / "ropeleak" / "configs").glob("*.json")))
        run("python", "-W", "error", "-c", SCRIPT, str(configs))
        if not (away / "leak.png").stat().st_size:
            raise SystemExit("the installed program drew nothing")


def main() -> None:
    """Check the one wheel and the one source archive in the folder that is named."""
    dist = Path(sys.argv[1])
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    check_wheel(wheel)
    check_sdist(sdist)
    check_install(wheel)
    print(f"{wheel.name} and {sdist.name} are whole, and the wheel runs")


if __name__ == "__main__":
    main()
