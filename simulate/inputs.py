"""What runs through given weights: contents in batches, with or without BOS at position 0."""

import hashlib
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.spec import Stack
from ropeleak.weights import Source, Tokens, Weights
from ropeleak.weights.contents import bos_token as bos_token_of
from ropeleak.weights.contents import read_contents

_FIRST = 11
"""Sets the tokens drawn for position 0 apart from all other random numbers of a seed."""


class Inputs(NamedTuple):
    """Batches of contents.

    Attributes
    ----------
    tokens
        (batches, inputs, T). Where BOS is constant, the second half of a batch's inputs are its
        contents with an ordinary token at position 0.
    contents
        Contents of a batch.
    first
        Embedding at position 0 of the contents (d,), or None for that of their token.
    words
        What the contents are.
    """

    tokens: Tokens
    contents: int
    first: NDArray[Any] | None
    words: str

    def fingerprint(self) -> str:
        """Return a digest of the tokens."""
        return hashlib.sha256(self.tokens.tobytes()).hexdigest()[:16]


def read_inputs(
    stack: Stack, weights: Weights, source: Source, bos_token: int | None, seed: int
) -> Inputs:
    """Return contents with BOS before them, or with nothing before them where it is absent.

    There are about as many batches as contents in each: few batches would leave the standard error
    unsure, small ones would compare few pairs of contents.

    At position 0 ``random`` and the inputs without BOS have a token of the contents, drawn at
    random, ``other`` one that is drawn once and is not BOS.

    Parameters
    ----------
    source
        As in `ropeleak.weights.contents.read_contents`.
    bos_token
        Token id of BOS; what the model's config says unless given.

    Raises
    ------
    RopeleakError
        If contents cannot be read or there are fewer than two, or no BOS is known where one is
        needed.
    """
    known = bos_token_of(weights.folder, bos_token, weights.vocab_size)
    length = max(stack.context - (stack.bos.kind != "absent"), 1)
    contents, words = read_contents(source, length, weights.vocab_size, weights.folder, known, seed)
    if contents.shape[0] < 2:
        raise RopeleakError(f"contents={contents.shape[0]} is not allowed: give 2 or more")
    size = max(isqrt(contents.shape[0]), 2)
    contents = contents[: contents.shape[0] // size * size]
    random = np.random.default_rng([seed, _FIRST])
    tokens = ordinary = _after(random.choice(contents.ravel(), contents.shape[0]), stack, contents)
    if stack.bos.kind == "absent":
        tokens = contents
    elif stack.bos.is_constant:
        tokens = _after(_constant(stack.bos.kind, contents, known, random), stack, contents)
    rows = tokens.reshape(-1, size, stack.context)
    if stack.bos.is_constant:
        rows = np.concatenate([rows, ordinary.reshape(rows.shape)], axis=1)
    return Inputs(rows, size, _vector(stack.bos.kind, weights, contents), words)


def _after(first: Tokens | int, stack: Stack, contents: Tokens) -> Tokens:
    """Return contents with a token of their own, or the same one, before them (contents, T)."""
    column = np.broadcast_to(first, contents.shape[:1])
    return np.column_stack([column, contents[:, : stack.context - 1]])


def _constant(kind: str, contents: Tokens, bos: int | None, random: np.random.Generator) -> int:
    """Return the token that stands at position 0 of every content."""
    if kind not in ("constant", "other"):
        return int(contents[0, 0])  # its embedding is replaced
    if bos is None:
        raise RopeleakError(
            "no BOS is known for these weights: give bos_token, or bos=random for ordinary content"
            " at position 0"
        )
    others = np.setdiff1d(contents, [bos])
    return int(random.choice(others)) if kind == "other" and others.size else bos


def _vector(kind: str, weights: Weights, contents: Tokens) -> NDArray[Any] | None:
    """Return what stands at position 0 in place of a token's embedding."""
    if kind == "zero":
        return np.zeros(weights.stack.d_model)
    if kind == "mean":
        words, counts = np.unique(contents, return_counts=True)
        return np.asarray(counts @ weights.embeddings(words) / counts.sum())
    return None
