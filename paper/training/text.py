"""The text: the Python standard library's sources, a byte at a time."""

import sysconfig
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.spec import Bos

Tokens = NDArray[np.int64]

BYTES = 256
"""Token ids 0 to 255 are bytes."""
BOS_ID = BYTES
"""The id of the BOS token."""
VOCABULARY = BYTES + 1
LEFT_OUT = frozenset({
    "__pycache__", "dist-packages", "idlelib", "lib2to3", "site-packages", "test", "tests",
    "turtledemo",
})  # fmt: skip
"""Folders that not every installation has."""
HELD_OUT = 10
"""One file in so many is held out of training."""
TRAINING, VALIDATION, TOKEN_0, PLANTED = 1, 2, 3, 4
"""What random numbers are for."""


class Batch(NamedTuple):
    """Contents and the tokens that come next, each (rows, tokens).

    Contents start anywhere in the text, so that nothing but the architecture tells a position.
    """

    inputs: Tokens
    following: Tokens


@dataclass(frozen=True)
class Text:
    """Sources in one string of bytes, split by file.

    Attributes
    ----------
    train, held_out
        Bytes (n,).
    sha256
        Of both, so that another installation's text is recognised.
    """

    train: NDArray[np.uint8]
    held_out: NDArray[np.uint8]
    sha256: str

    @property
    def distinct(self) -> int:
        """``1/Σp²`` of the bytes: two of them are the same as often as two of so many would be."""
        share = np.bincount(self.train, minlength=BYTES) / self.train.size
        return round(1 / float((share**2).sum()))

    def batch(self, bos: Bos, seed: int, step: int, rows: int, tokens: int) -> Batch:
        """Return what a training step reads; only position 0 depends on ``bos``."""
        key = (seed, step, TRAINING)
        start = np.random.default_rng(key).integers(0, self.train.size - tokens, rows)
        return _cut(self.train, start, tokens, bos, key)

    def contents(self, bos: Bos, rows: int, tokens: int, seed: int) -> Batch:
        """Return held-out contents."""
        key = (seed, VALIDATION)
        start = np.random.default_rng(key).integers(0, self.held_out.size - tokens, rows)
        return _cut(self.held_out, start, tokens, bos, key)

    def planted(
        self, bos: Bos, byte: int, position: int, rows: int, tokens: int, seed: int
    ) -> Batch:
        """Return held-out contents that have a byte at a position, cut where the text has it."""
        key = (seed, position, PLANTED)
        start = np.flatnonzero(self.held_out == byte) - position
        fits = start[(start >= 0) & (start < self.held_out.size - tokens)]
        chosen = np.random.default_rng(key).choice(fits, rows, replace=False)
        return _cut(self.held_out, chosen, tokens, bos, key)


def _cut(
    text: NDArray[np.uint8], start: Tokens, tokens: int, bos: Bos, key: tuple[int, ...]
) -> Batch:
    """Return stretches of text behind what stands at position 0, and what comes next."""
    taken = text[start[:, None] + np.arange(tokens + 1)].astype(np.int64)
    inputs, following = taken[:, :-1].copy(), taken[:, 1:]
    if bos.kind == "random":
        anywhere = np.random.default_rng((*key, TOKEN_0)).integers(0, text.size, start.size)
        inputs[:, 0] = text[anywhere]
    elif bos.is_constant:
        inputs[:, 0] = BOS_ID
    return Batch(inputs, following)


@cache
def standard_library() -> Text:
    """Return the sources of the running Python, in the order of their paths.

    Raises
    ------
    RopeleakError
        If they are not installed as files.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(
        (path.relative_to(root).as_posix(), path)
        for path in root.rglob("*.py")
        if LEFT_OUT.isdisjoint(path.relative_to(root).parts)
    )
    parts: dict[bool, list[bytes]] = {True: [], False: []}
    for name, path in files:
        parts[crc32(name.encode()) % HELD_OUT == 0].append(path.read_bytes())
    train, held_out = (b"".join(parts[held]) for held in (False, True))
    if min(len(train), len(held_out)) < 10**5:
        raise RopeleakError(
            f"the standard library's sources are not under {root}: use a Python that has them"
        )
    return Text(
        np.frombuffer(train, np.uint8), np.frombuffer(held_out, np.uint8),
        sha256(train + held_out).hexdigest(),
    )  # fmt: skip
