"""A function under check: called in its own dtype, its answers examined, in float64 outside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ropeleak.errors import RopeleakError

from ._arrays import Door, Floats, Integers
from .adapters import Adapted, adapted, name_of
from .tolerance import Precision

if TYPE_CHECKING:
    from ropeleak.spec import Rope

USUAL_SIZES = (2, 4, 8, 16, 32, 64, 80, 96, 128)
USUAL_BASE = 10000.0
LEAST_POSITION, MOST_POSITION = 16, 2**31 - 1


@dataclass(frozen=True)
class Subject:
    """A rotary function with everything that its checks need to know.

    Parameters
    ----------
    fn
        With the signature ``(q, k, positions)``.
    door
        To and from its arrays.
    precision
        Where it may round.
    sizes
        Head sizes that it takes.
    max_position
        The largest position that it is given.
    rope
        What it should compute, if known.
    any_dtype
        Whether its answers may have another dtype.
    """

    fn: Adapted
    door: Door
    precision: Precision
    sizes: tuple[int, ...]
    max_position: int
    rope: "Rope | None" = None
    any_dtype: bool = False

    @property
    def name(self) -> str:
        """What reports call the function."""
        return self.fn.name

    @property
    def limits(self) -> tuple[int, ...]:
        """Contexts that its RoPE knows, next to which positions are tried."""
        contexts = self.rope and (self.rope.original_context, self.rope.max_context)
        return tuple(context for context in contexts or () if context)

    def rotate(
        self, q: Floats, k: Floats, positions: Integers, layers: int = 1
    ) -> tuple[Floats, Floats]:
        """Rotate queries and keys in the function's own dtype.

        Parameters
        ----------
        q, k
            Shape ``(batch, heads, tokens, head_size)``.
        positions
            Shape ``(batch, tokens)``.
        layers
            How often the function is called with one array of positions, as by the layers of a
            model; the last answer counts.

        Returns
        -------
        tuple of ndarray
            In float64; entries may be infinite or NaN.

        Raises
        ------
        RopeleakError
            If the function raises, or returns anything but two arrays of the shape and dtype of its
            arguments.
        """
        places = self.door.integers(positions)
        say = f"q {q.shape}, k {k.shape}, positions {_brief(positions)}"
        with np.errstate(all="ignore"):
            for _ in range(layers):
                given = self.door.array(q), self.door.array(k), places
                answer = called(self.fn, given, self.name, say)
            pairs = zip(answer, (q, k), ("q", "k"), strict=True)
            first, second = (self._examined(x, y.shape, name) for x, y, name in pairs)
        return first, second

    def _examined(self, answer: Any, shape: tuple[int, ...], name: str) -> Floats:
        return examined(answer, shape, self.door, f"{self.name} as rotated {name}", self.any_dtype)

    def rounded(self, x: Floats) -> Floats:
        """Return ``x`` as the function gets it."""
        return self.door.rounded(x)

    def frequencies(self, size: int) -> Floats:
        """Return the inverse frequencies that the tolerance reckons with, shape ``(pairs,)``."""
        if self.rope is not None:
            return self.rope.inverse_frequencies(size, 1)  # the fastest that it ever turns
        return np.asarray(USUAL_BASE ** (-np.arange(0, size, 2) / size))


def subject_of(
    fn: Callable[..., Any] | Subject,
    *,
    dtype: str = "fp32",
    max_position: int = 4096,
    head_size: int | Sequence[int] | None = None,
    rope: "Rope | None" = None,
    angles: str | None = None,
    table_dtype: str | None = None,
    framework: str | None = None,
    device: str | None = None,
    any_dtype: bool = False,
) -> Subject:
    """Return a function as a subject, after a first call that must work.

    Parameters
    ----------
    fn
        As `ropeleak.check.adapters.adapted` takes it.
    dtype
        Format of queries and keys: fp64, fp32, bf16 or fp16.
    max_position
        The largest position to try.
    head_size
        Head sizes to try; those of the usual ones that work unless given.
    rope
        What the function should compute; its frequencies are not checked without it.
    angles
        Format in which it may compute angles: fp64 for fp64, else fp32, unless given.
    table_dtype
        Format in which it may keep cos and sin: the coarser one of both, unless given.
    framework
        ``numpy``, ``torch`` or ``jax``; found out unless given.
    device
        Where PyTorch puts its arrays, e.g. ``cuda``; its default unless given.
    any_dtype
        Whether answers may have another dtype than ``dtype``.

    Raises
    ------
    RopeleakError
        If an argument is not allowed, or the first call fails or returns NaN.
    """
    if isinstance(fn, Subject):
        return fn
    if not callable(fn):
        raise RopeleakError(f"{fn!r} is not a function: give a function of (q, k, positions)")
    if not LEAST_POSITION <= max_position <= MOST_POSITION:
        raise RopeleakError(
            f"max_position={max_position} must be from {LEAST_POSITION} to {MOST_POSITION}"
        )
    rotary = adapted(fn)
    door = Door(framework or rotary.framework, dtype, device)
    given = rotary.head_size if head_size is None else head_size
    sizes = (given,) if isinstance(given, int) else tuple(given or USUAL_SIZES)
    if not sizes or any(size < 2 for size in sizes):
        raise RopeleakError(f"head_size={head_size} must be at least 2: give even numbers")
    precision = Precision.of(dtype, angles, table_dtype)
    subject = Subject(rotary, door, precision, sizes, max_position, rope, any_dtype)
    return _that_works(subject, insist=given is not None)


def _that_works(subject: Subject, insist: bool) -> Subject:
    """Return the subject with the head sizes that work; complain if there are none."""
    working, complaint = [], None
    for size in sorted(subject.sizes, key=lambda s: abs(s - 64)):  # the usual size complains first
        x = np.linspace(-1, 1, 2 * size).reshape(1, 1, 2, size)
        try:
            if subject.rope is not None:
                _fits(subject.rope, size, subject.max_position + 1)
            answers = subject.rotate(x, x, np.array([[0, 1]]))
            if not all(np.isfinite(answer).all() for answer in answers):
                raise RopeleakError(
                    f"{subject.name} returned NaN or infinity for a head of {size} entries at"
                    " positions 0 and 1"
                )
            working.append(size)
        except RopeleakError as error:
            complaint = complaint or error
            if insist:
                break
    if complaint is not None and (insist or not working):
        raise complaint
    return replace(subject, sizes=tuple(sorted(working)))


def _fits(rope: "Rope", size: int, context: int) -> None:
    try:
        rope.check(size, context)
    except ValueError as error:
        raise RopeleakError(str(error)) from None


def called(fn: Callable[..., Any], arguments: tuple[Any, ...], name: str, say: str) -> Any:
    """Call a function; what it raises is one sentence."""
    try:
        return fn(*arguments)
    except RopeleakError:
        raise
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise RopeleakError(
            f"{name} raised {type(error).__name__}{': ' if told else ''}{told} for {say}"
        ) from error


def examined(answer: Any, shape: tuple[int, ...], door: Door, what: str, any_dtype: bool) -> Floats:
    """Return an answer in float64 if it is an array of the right shape and dtype."""
    if not door.is_array(answer):
        raise RopeleakError(f"{what}: returned {_kind(answer)}, not an array of {door.framework}")
    if tuple(answer.shape) != shape:
        raise RopeleakError(f"{what}: returned shape {tuple(answer.shape)} for {shape}")
    if not any_dtype and not door.same_dtype(answer):
        raise RopeleakError(
            f"{what}: returned {answer.dtype} for {door.dtype.name}: cast it back, or allow it"
            " with any_dtype (--any-dtype)"
        )
    return door.floats(answer)


def _kind(answer: object) -> str:
    if isinstance(answer, tuple | list):
        return f"a {type(answer).__name__} of {len(answer)}"
    return "None" if answer is None else f"a {type(answer).__name__}"


def _brief(positions: Integers) -> str:
    rows = [", ".join(map(str, row[:8])) + ", …" * (len(row) > 8) for row in positions.tolist()]
    return "; ".join(rows)


__all__ = ["Subject", "called", "examined", "name_of", "subject_of"]
