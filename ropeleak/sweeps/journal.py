"""A file to which finished points are appended: a process may be killed at any moment.

After a line of text come records: a length, a checksum and an ``npz`` archive. A record that is not
whole, which only the last can be, counts as not written.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ropeleak.errors import RopeleakError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MAGIC = b"ropeleak sweep: finished points\n"
HEAD = struct.Struct("<QI")


class Journal:
    """Records of arrays by name; while it is open no other process can open it.

    Parameters
    ----------
    path
        Taken up if it exists, and made if it does not.

    Raises
    ------
    RopeleakError
        If the file is something else, is in use, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: BinaryIO = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        except OSError as error:
            raise RopeleakError(f"cannot write {path}: {error.strerror or error}") from None
        try:
            lock(self._file, path)
            start = self._file.read(len(MAGIC))
            if not MAGIC.startswith(start):
                raise RopeleakError(f"cannot write {path}: it is another file, move it away")
        except BaseException:
            self._file.close()
            raise
        self._end = len(start) if start == MAGIC else 0

    def records(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield what was appended, in order; call it once, before `append`."""
        self._file.seek(self._end)
        while self._end:
            length, checksum = HEAD.unpack(self._file.read(HEAD.size).ljust(HEAD.size, b"\0"))
            payload = self._file.read(length) if length else b""
            if not length or len(payload) < length or zlib.crc32(payload) != checksum:
                return
            self._end = self._file.tell()
            with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
                yield {name: arrays[name] for name in arrays.files}

    def append(self, arrays: Mapping[str, ArrayLike]) -> None:
        """Add a record, whole or not at all.

        Raises
        ------
        RopeleakError
            If the disk is full or gone; what was appended before is kept.
        """
        archive = io.BytesIO()
        np.savez(archive, **arrays)  # type: ignore[arg-type]
        payload = archive.getvalue()
        record = HEAD.pack(len(payload), zlib.crc32(payload)) + payload
        try:
            self._file.seek(self._end)
            self._file.write(record if self._end else MAGIC + record)
            self._file.truncate()
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(self._end)
            raise RopeleakError(f"cannot write {self.path}: {error.strerror or error}") from None
        self._end = self._file.tell()

    def close(self) -> None:
        """Let go of the file; one without records is removed."""
        with suppress(OSError):
            self._file.close()
        if not self._end:
            self.path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Let go of the file and remove it."""
        self._end = 0
        self.close()


def lock(file: BinaryIO, path: Path) -> None:
    """Make sure that no other process writes to ``path``, as long as ``file`` is open.

    Raises
    ------
    RopeleakError
        If one does.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RopeleakError(f"cannot write {path}: another sweep is writing it") from None
    except OSError:  # a file system without locks
        return
