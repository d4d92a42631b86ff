"""A measurement on disk: its moments and what they are moments of."""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        f"{part}:{name}": value for part in _PARTS for name, value in getattr(moments, part).items()
    }
    write(path, {_COUNT: np.array(moments.count), **arrays}, identity)


def load(path: str | os.PathLike[str], identity: dict[str, Any]) -> Moments:
    """Return the moments of a checkpoint, or none where there is no file yet.

    Raises
    ------
    RopeleakError
        If the file is not a checkpoint, or one of another measurement.
    """
    arrays = read(path, identity)
    if arrays is None:
        return Moments()
    moments = Moments(int(arrays.pop(_COUNT)))
    for key, array in arrays.items():
        kind, _, name = key.partition(":")
        getattr(moments, kind)[name] = array
    return moments


def write(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], identity: dict[str, Any]
) -> None:
    """Write arrays and what they are part of, whole or not at all.

    Raises
    ------
    RopeleakError
        If the file cannot be written.
    """
    with atomic(path) as temporary, open(temporary, "wb") as file:
        named: dict[str, Any] = {**arrays, _IDENTITY: np.array(json.dumps(identity))}
        np.savez(file, **named)
        file.flush()
        os.fsync(file.fileno())


def read(path: str | os.PathLike[str], identity: dict[str, Any]) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a checkpoint, or None where there is no file yet.

    Raises
    ------
    RopeleakError
        If the file is not a checkpoint, or one of another measurement.
    """
    if not Path(path).exists():
        return None
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as held:
            arrays = {key: held[key] for key in held.files}
        found = json.loads(str(arrays.pop(_IDENTITY)))
        differing = [name for name in identity if found.get(name) != identity[name]]
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or "it is not a checkpoint"
        raise RopeleakError(f"cannot resume from {path}: {reason}") from None
    if differing:
        name = differing[0]
        values = "" if name == "stack" else f" ({found.get(name)}, not {identity[name]})"
        raise RopeleakError(
            f"cannot resume from {path}: it is a measurement with another {name}{values};"
            " give another file"
        )
    return arrays
