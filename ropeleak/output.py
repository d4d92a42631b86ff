"""Writing files whole or not at all, and refusing a bad destination before any work is done."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .errors import RopeleakError

if TYPE_CHECKING:
    import xarray as xr

ENGINE: Literal["h5netcdf"] = "h5netcdf"
"""What reads and writes netCDF."""
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""How a system says that there is no room for a file."""
_SPARE = 1 << 20

FIGURE_SUFFIXES = (".pdf", ".png", ".svg")
_TEMPORARY = ".ropeleak-"


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Return the real path of a file that may be written or replaced.

    Raises
    ------
    RopeleakError
        If it is a folder or a device, or its folder is missing or read-only.
    """
    try:
        target = Path(os.path.realpath(path))
        with suppress(FileNotFoundError, NotADirectoryError):
            os.stat(target)  # a name too long, or a folder that may not be searched
        if target.is_dir():
            raise RopeleakError(f"cannot write {path}: it is a folder, give a file name")
        if target.exists() and not target.is_file():
            raise RopeleakError(f"cannot write {path}: it is not a regular file")
        if target.exists() and not os.access(target, os.W_OK):
            raise RopeleakError(f"cannot write {path}: the file is read-only")
        if not target.parent.is_dir():
            raise RopeleakError(f"cannot write {path}: there is no folder {target.parent}")
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise RopeleakError(f"cannot write {path}: the folder {target.parent} is read-only")
    except OSError as error:
        raise RopeleakError(f"cannot write {path}: {error.strerror or error}") from None
    except ValueError as error:
        if isinstance(error, RopeleakError):
            raise
        raise RopeleakError(f"cannot write {path!r}: {error}") from None
    return target


def check_figure(path: str | os.PathLike[str]) -> str:
    """Return the suffix of a figure file.

    Raises
    ------
    RopeleakError
        If it is not .pdf, .png or .svg.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FIGURE_SUFFIXES:
        known = ", ".join(FIGURE_SUFFIXES)
        raise RopeleakError(f"cannot draw {path}: a figure's name must end in one of {known}")
    return suffix


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that replaces it when the block succeeds.

    When the block raises, nothing is left and an existing file keeps its content.

    Raises
    ------
    RopeleakError
        If the destination cannot be written, or the disk is full.

    Examples
    --------
    >>> with atomic("result.txt") as temporary:  # doctest: +SKIP
    ...     temporary.write_text("all of it")
    """
    target = check_writable(path)
    temporary = target.with_name(f"{_TEMPORARY}{secrets.token_hex(6)}{target.suffix[:20]}")
    try:
        # Created here, so that it has the permissions of any new file.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o777)
        os.replace(temporary, target)
    except OSError as error:
        raise RopeleakError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def save_netcdf(dataset: "xr.Dataset", path: str | os.PathLike[str]) -> None:
    """Write a dataset as netCDF, whole or not at all.

    Raises
    ------
    RopeleakError
        If the destination cannot be written, or the disk is full.
    """
    texts = sum(
        len(str(text)) for array in dataset.values() if array.dtype.kind not in "biuf"
        for text in array.values.ravel()
    )  # fmt: skip
    with atomic(path) as temporary:
        _reserve(temporary, 2 * (dataset.nbytes + texts) + _SPARE)
        dataset.to_netcdf(temporary, engine=ENGINE)


def _reserve(path: Path, size: int) -> None:
    """Raise `OSError` unless there is room for so many bytes: HDF5 would crash half-way."""
    if not hasattr(os, "posix_fallocate"):
        return
    with open(path, "r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in FULL:
                raise
        file.truncate(0)
