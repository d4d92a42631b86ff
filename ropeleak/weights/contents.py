"""Contents for given weights: token ids from arrays, files of text, or a random generator."""

import json
from os import PathLike
from pathlib import Path
from typing import Any, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ropeleak.errors import RopeleakError

Tokens = NDArray[np.int64]
Source = Union[int, ArrayLike, str, "PathLike[str]"]

BYTES = range(256, 512)
"""Vocabularies of these sizes are taken for bytes and a few special tokens."""
MOST_TEXT = 10**9
"""Longest text that is read (bytes)."""


def read_contents(
    source: Source,
    length: int,
    vocab_size: int,
    folder: Path | None = None,
    bos: int | None = None,
    seed: int = 0,
) -> tuple[Tokens, str]:
    """Return contents without BOS, and in words what they are.

    Parameters
    ----------
    source
        How many contents of random tokens; or token ids, one row a content; or the path of a text
        file or of a ``.npy`` file of token ids.
    length
        Tokens that every content needs.
    vocab_size
        Number of tokens that the model knows.
    folder
        Where the model's ``tokenizer.json`` is.
    bos
        Taken off the start of contents that all begin with it.
    seed
        Of random tokens.

    Returns
    -------
    numpy.ndarray
        (contents, length).

    Raises
    ------
    RopeleakError
        If a file cannot be read, an id is not in the vocabulary, or contents are too short.
    """
    if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
        random = np.random.default_rng([seed, vocab_size])
        return random.integers(0, vocab_size, (int(source), length)), "random tokens"
    if isinstance(source, (str, PathLike)):
        path = Path(source)
        if path.suffix == ".npy":
            return _checked(_load(path), length, vocab_size, bos), f"token ids of {path.name}"
        stream = _tokenise(_read(path), vocab_size, folder)
        rows = _cut(stream, length, path)
        return _checked(rows, length, vocab_size, bos), f"text of {path.name}"
    return _checked(np.asarray(source), length, vocab_size, bos), "given token ids"


def bos_token(folder: Path | None, given: int | None, vocab_size: int) -> int | None:
    """Return the id of BOS: the given one, or what the model's config says, or None.

    Raises
    ------
    RopeleakError
        If it is not in the vocabulary.
    """
    found: Any = given
    if given is None and folder is not None:
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            found = config.get("bos_token_id", config.get("text_config", {}).get("bos_token_id"))
        except (OSError, ValueError, AttributeError):
            return None
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, (int, np.integer)):
        raise RopeleakError(f"bos_token={found!r} is not a token: give its number")
    if not 0 <= found < vocab_size:
        raise RopeleakError(
            f"bos_token={found} is not in the vocabulary of {vocab_size}: give bos_token, from 0 to"
            f" {vocab_size - 1}"
        )
    return int(found)


def _checked(tokens: NDArray[Any], length: int, vocab_size: int, bos: int | None) -> Tokens:
    if tokens.ndim != 2 or tokens.dtype.kind not in "iu":
        raise RopeleakError(
            f"contents of shape {tokens.shape} and type {tokens.dtype} are not token ids: give"
            " whole numbers, one row a content"
        )
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocab_size:
        odd = tokens.min() if tokens.min() < 0 else tokens.max()
        raise RopeleakError(
            f"token {odd} in the contents is not in the vocabulary of {vocab_size}: use the"
            " tokenizer of these weights"
        )
    if bos is not None and tokens.shape[1] > 0 and (tokens[:, 0] == bos).all():
        tokens = tokens[:, 1:]
    if tokens.shape[1] < length:
        raise RopeleakError(
            f"contents of {tokens.shape[1]} tokens are too short: give {length} or lower the"
            " context"
        )
    return np.ascontiguousarray(tokens[:, :length], dtype=np.int64)


def _cut(stream: Tokens, length: int, path: Path) -> Tokens:
    """Return consecutive pieces of a text."""
    count = stream.size // length
    if count < 2:
        raise RopeleakError(
            f"{path} has {stream.size} tokens, which is less than two contents of {length}: give a"
            " longer text or lower the context"
        )
    return stream[: count * length].reshape(count, length)


def _load(path: Path) -> NDArray[Any]:
    try:
        tokens = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "it is not a .npy file of numbers"
        raise RopeleakError(f"cannot read {path}: {reason}") from None
    if not isinstance(tokens, np.ndarray):
        raise RopeleakError(f"cannot read {path}: it holds several arrays, give one")
    return tokens


def _read(path: Path) -> bytes:
    try:
        if path.is_file() and path.stat().st_size > MOST_TEXT:
            raise RopeleakError(f"{path} is longer than {MOST_TEXT} bytes: give a part of it")
        return path.read_bytes()
    except OSError as error:
        raise RopeleakError(
            f"cannot read {path}: {error.strerror or error}: give the path of a text, or token ids"
        ) from None


def _tokenise(text: bytes, vocab_size: int, folder: Path | None) -> Tokens:
    """Return the tokens of a text: by the model's tokenizer, or its bytes."""
    file = folder / "tokenizer.json" if folder is not None else None
    if file is None or not file.is_file():
        if vocab_size in BYTES:
            return np.frombuffer(text, np.uint8).astype(np.int64)
        raise RopeleakError(
            f"there is no tokenizer.json beside the weights and a vocabulary of {vocab_size} is not"
            " one of bytes: give token ids"
        )
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise RopeleakError(
            "a text needs the model's tokenizer: pip install tokenizers, or give token ids"
        ) from None
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception:  # its own error type is a bare Exception
        raise RopeleakError(f"{file} is not a tokenizer: copy or download it again") from None
    found = tokenizer.encode(text.decode("utf-8", errors="replace"), add_special_tokens=False)
    return np.array(found.ids, dtype=np.int64)
