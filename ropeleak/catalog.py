"""The published models that come with ropeleak, by name."""

from functools import cache
from importlib import resources
from os import PathLike, fsdecode
from pathlib import Path

from ropeleak.errors import RopeleakError
from ropeleak.hf import read_config
from ropeleak.spec import Stack
from ropeleak.spec.explain import nearest, shorten

SUFFIX = ".json"


@cache
def names() -> tuple[str, ...]:
    """Return the names of the bundled models, sorted."""
    files = resources.files("ropeleak").joinpath("configs").iterdir()
    return tuple(sorted(f.name.removesuffix(SUFFIX) for f in files if f.name.endswith(SUFFIX)))


def load(name: str, context: int | None = None) -> Stack:
    """Return the stack of a bundled model.

    Parameters
    ----------
    name
        One of `names`, in any case.
    context
        Number of tokens; the model's maximum, but at most 512, unless given.

    Raises
    ------
    RopeleakError
        If there is no such model (the nearest is suggested) or the context is not allowed.
    """
    known = {bundled.casefold(): bundled for bundled in names()}
    found = known.get(name.casefold())
    if found is None:
        raise RopeleakError(f"there is no bundled model {shorten(name)}: {_hint(name)}")
    folder = resources.files("ropeleak").joinpath("configs")
    with resources.as_file(folder.joinpath(found + SUFFIX)) as path:
        return read_config(path, context).replace(name=found)


def open_model(name_or_path: "str | PathLike[str]", context: int | None = None) -> Stack:
    """Return the stack of a bundled model, of a config file, or of the folder that holds one.

    Raises
    ------
    RopeleakError
        If it is neither, or the config cannot be read as a decoder.
    """
    if not isinstance(name_or_path, (str, PathLike)):
        return read_config(name_or_path, context)  # which says what it takes
    text = fsdecode(name_or_path)
    if text.casefold() in {name.casefold() for name in names()}:
        return load(text, context)
    if _exists(text) or text.endswith(SUFFIX):
        return read_config(text, context)
    raise RopeleakError(f"{shorten(text)} is neither a bundled model nor a path: {_hint(text)}")


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):
        return False


def _hint(name: str) -> str:
    last = name.replace("\\", "/").rstrip("/").split("/")[-1].casefold()
    return f"did you mean {nearest(last, names(), cutoff=0.0)}, or give the path of a config.json"
