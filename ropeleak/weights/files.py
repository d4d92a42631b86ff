"""Tensors of safetensors files: read a part at a time, without PyTorch.

A file is eight bytes, the length of a JSON header, the header with every tensor's type, shape and
place, and the numbers. bfloat16 is the upper half of a float32.
"""

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Union

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.spec.explain import shorten

Array = NDArray[Any]

Files = Union[str, "PathLike[str]", Mapping[str, Any]]
CONFIG, INDEX = "config.json", "model.safetensors.index.json"
MOST_HEADER = 10**8
"""Longest header that a file may have (bytes)."""
BFLOAT16 = "BF16"
STORED: dict[str, str] = {"F64": "<f8", "F32": "<f4", "F16": "<f2", BFLOAT16: "<u2", "U8": "|u1"}
"""Types that are read, and how NumPy sees their bytes."""
_SAMPLED = 4096
"""Bytes at either end of a tensor that its fingerprint knows."""


class Tensor(NamedTuple):
    """Numbers as they are stored, and how.

    Attributes
    ----------
    values
        A view of the file; of bfloat16 its bits.
    kind
        A key of `STORED`.
    """

    values: Array
    kind: str

    def part(self, index: Any) -> "Tensor":
        """Return some of the numbers, as NumPy indexes them."""
        return Tensor(self.values[index], self.kind)

    def transposed(self) -> "Tensor":
        """Return the numbers with their last two axes exchanged."""
        return Tensor(self.values.swapaxes(-1, -2), self.kind)

    def fill(self, out: Array) -> None:
        """Copy the numbers into a float32 or float64 array of their shape."""
        if self.kind != BFLOAT16:
            out[...] = self.values
        elif out.dtype == np.float32:
            np.left_shift(self.values, 16, out=out.view(np.uint32), dtype=np.uint32)
        else:
            out[...] = self.numbers()

    def numbers(self) -> Array:
        """Return the numbers, float32 unless they are stored as float64."""
        if self.kind == BFLOAT16:
            return np.left_shift(self.values, 16, dtype=np.uint32).view(np.float32)
        return self.values.astype(np.float64 if self.kind == "F64" else np.float32)


class Tensors(Mapping[str, Tensor]):
    """The tensors of a checkpoint, by name.

    Parameters
    ----------
    source
        A ``.safetensors`` file, the index of a sharded checkpoint, a folder that holds either, or
        arrays by name.

    Raises
    ------
    RopeleakError
        If there are no such files, or one of them is damaged or cut short.
    """

    def __init__(self, source: Files) -> None:
        self._maps: list[mmap.mmap] = []
        self._found: dict[str, Tensor] = {}
        if isinstance(source, Mapping):
            self.name = "the given arrays"
            for key, value in source.items():
                self._found[key] = _as_tensor(key, np.asarray(value))
            return
        path = Path(source)
        self.name = str(path)
        for file, names in _files(path).items():
            held = self._read(file)
            missing = [name for name in names or () if name not in held]
            if missing:
                raise RopeleakError(
                    f"{file} has no tensor {missing[0]}, which its index says it has: copy or"
                    " download the checkpoint again"
                )
            self._found.update(held if names is None else {name: held[name] for name in names})

    def __getitem__(self, name: str) -> Tensor:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def release(self) -> None:
        """Let go of the memory that holds what was read; it is read again when needed."""
        for held in self._maps:
            if hasattr(mmap, "MADV_DONTNEED"):
                held.madvise(mmap.MADV_DONTNEED)

    def fingerprint(self) -> str:
        """Return a digest of names, shapes and some of the numbers."""
        digest = hashlib.sha256()
        for name in sorted(self._found):
            values, kind = self._found[name]
            flat = values.reshape(-1)
            count = _SAMPLED // max(values.itemsize, 1)
            digest.update(f"{name} {kind} {values.shape} ".encode())
            digest.update(flat[:count].tobytes() + flat[-count:].tobytes())
        return digest.hexdigest()[:16]

    def _read(self, path: Path) -> dict[str, Tensor]:
        """Return the tensors of one file, as views of it."""
        again = "copy or download it again"
        try:
            with open(path, "rb") as file:
                size = file.seek(0, 2)
                if size < 8:
                    raise RopeleakError(f"{path} has {size} bytes and no header: {again}")
                held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise RopeleakError(f"cannot read {path}: {error.strerror or error}") from None
        self._maps.append(held)
        start = 8 + int.from_bytes(held[:8], "little")
        if start > min(size, MOST_HEADER):
            raise RopeleakError(f"{path} is not a safetensors file or is cut short: {again}")
        try:
            header = json.loads(held[8:start])
            rows = {name: row for name, row in header.items() if name != "__metadata__"}
            end = start + max((int(row["data_offsets"][1]) for row in rows.values()), default=0)
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError, IndexError):
            raise RopeleakError(f"{path} is not a safetensors file: {again}") from None
        if end > size:
            raise RopeleakError(f"{path} ends after {size} of {end} bytes: {again}")
        return {name: _view(path, held, start, name, row) for name, row in rows.items()}


def folder_of(source: Files) -> Path | None:
    """Return the folder that a checkpoint is in; None for arrays."""
    if isinstance(source, Mapping):
        return None
    path = Path(source)
    return path if path.is_dir() else path.parent


def config_of(source: Files | None) -> Path:
    """Return the folder of a checkpoint, whose ``config.json`` describes it.

    Raises
    ------
    RopeleakError
        If there is no checkpoint, or no config beside it.
    """
    needed = "give a stack, a model's name or its config"
    folder = None if source is None else folder_of(source)
    if source is None or folder is None:
        raise RopeleakError(f"no architecture is given: {needed}")
    if not isinstance(source, Mapping) and not Path(source).exists():
        raise RopeleakError(_absent(Path(source)))
    if not (folder / CONFIG).is_file():
        raise RopeleakError(f"there is no {CONFIG} beside the weights in {folder}: {needed} too")
    return folder


def _view(path: Path, held: mmap.mmap, start: int, name: str, row: Any) -> Tensor:
    try:
        kind, shape = str(row["dtype"]), tuple(int(n) for n in row["shape"])
        begin, end = (int(at) for at in row["data_offsets"])
        if kind not in STORED:
            return Tensor(np.empty(0, np.uint8), kind)
        dtype = np.dtype(STORED[kind])
        count = int(np.prod(shape, dtype=np.int64))
        if begin < 0 or min(shape, default=0) < 0 or end - begin != count * dtype.itemsize:
            raise ValueError
        values = np.frombuffer(held, dtype, count, start + begin).reshape(shape)
    except (ValueError, KeyError, TypeError):
        raise RopeleakError(
            f"{path} describes {shorten(name)} in a way that does not fit its bytes: copy or"
            " download it again"
        ) from None
    return Tensor(values, kind)


def _as_tensor(name: str, values: Array) -> Tensor:
    kinds = {np.dtype(stored): kind for kind, stored in STORED.items() if kind != BFLOAT16}
    if values.dtype.name == "bfloat16":  # of ml_dtypes
        return Tensor(values.view("<u2"), BFLOAT16)
    if values.dtype not in kinds:
        raise RopeleakError(
            f"{shorten(name)} is an array of {values.dtype}: give float32, float64, float16 or"
            " bfloat16"
        )
    return Tensor(values, kinds[values.dtype])


def _files(path: Path) -> dict[Path, list[str] | None]:
    """Return the files of a checkpoint, and which of their tensors count; None for all."""
    if path.is_dir():
        index = path / INDEX
        if index.is_file():
            return _shards(index)
        files = sorted(path.glob("*.safetensors"))
        if len(files) == 1 or (whole := path / "model.safetensors") not in files:
            if len(files) != 1:
                other = "several .safetensors files and no index" if files else "no .safetensors"
                raise RopeleakError(
                    f"{path} holds {other}: give the file, or a folder as transformers'"
                    " save_pretrained writes it"
                )
            return {files[0]: None}
        return {whole: None}
    if not path.is_file():
        raise RopeleakError(_absent(path))
    return _shards(path) if path.name.endswith(".index.json") else {path: None}


def _absent(path: Path) -> str:
    return f"there is no file {path}: give a .safetensors file or its folder"


def _shards(index: Path) -> dict[Path, list[str] | None]:
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards: dict[Path, list[str] | None] = {}
        for name, file in names.items():
            held = shards.setdefault(index.parent / Path(file).name, [])
            assert held is not None
            held.append(name)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise RopeleakError(
            f"{index} is not the index of a checkpoint: copy or download it again"
        ) from None
    absent = [file for file in shards if not file.is_file()]
    if absent:
        raise RopeleakError(
            f"there is no file {absent[0]}, which {index.name} names: copy or download it too"
        )
    return shards
