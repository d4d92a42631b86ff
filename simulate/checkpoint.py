"""A measurement on disk: its moments and what they are moments of."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ropeleak.errors import RopeleakError
from ropeleak.output import atomic

from .statistics import Moments

_IDENTITY, _COUNT = "identity", "count"
_PARTS = ("mean", "square", "cross")


def save(path: str | os.PathLike[str], moments: Moments, identity: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all.

    Raises
    ------
    RopeleakError
        If the file cannot be written.
    """
    arrays = {
        _IDENTITY: np.array(json.dumps(identity)),
        _COUNT: np.array(moments.count),
        **{
            f"{part}:{name}": value
            for part in _PARTS
            for name, value in getattr(moments, part).items()
        },
    }
    with atomic(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())


def load(path: str | os.PathLike[str], identity: dict[str, Any]) -> Moments:
    """Return the moments of a checkpoint, or none where there is no file yet.

    Raises
    ------
    RopeleakError
        If the file is not a checkpoint, or one of another measurement.
    """
    if not Path(path).exists():
        return Moments()
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = json.loads(str(arrays[_IDENTITY]))
            moments = Moments(int(arrays[_COUNT]))
            for key in arrays.files:
                kind, _, name = key.partition(":")
                if kind in _PARTS:
                    getattr(moments, kind)[name] = arrays[key]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or "it is not a checkpoint"
        raise RopeleakError(f"cannot resume from {path}: {reason}") from None
    differing = [name for name in identity if found.get(name) != identity[name]]
    if differing:
        name = differing[0]
        values = "" if name == "stack" else f" ({found.get(name)}, not {identity[name]})"
        raise RopeleakError(
            f"cannot resume from {path}: it is a measurement with another {name}{values};"
            " give another file"
        )
    return moments
