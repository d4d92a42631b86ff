"""What numbers say, in plain words."""

from collections.abc import Mapping
from itertools import pairwise
from math import erf, exp, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .describe import keys_seen, percent, sig, spread
from .numbers import Numbers
from .observables import GIVEN

if TYPE_CHECKING:
    from .spec import Stack

NOTHING = 1e-9
"""Leaks (nats), shares and d′ below this are rounding errors of zero."""

SAME = 0.05
"""Blocks whose leaks differ by less than this share are told as one number."""


SHORTEST = 4
"""Shortest context in which early and late queries share an offset more than once."""


def sentences(
    numbers: Numbers, stack: "Stack", ruler: Mapping[Any, Any] | None, pair: tuple[int, ...]
) -> list[str]:
    """Return the verdict on one architecture, a sentence or two each.

    Parameters
    ----------
    numbers
        Of the architecture.
    ruler
        ``combined``, ``linear`` and ``norm`` over ``depth`` for the two positions of ``pair``.
    pair
        The positions to speak of; the last one is the beacon's.
    """
    words = [
        mask(numbers, stack),
        residual(numbers) if stack.context >= SHORTEST else "",
        beacon(numbers, stack, pair),
        apart(ruler, pair),
        reach(numbers, stack),
    ]
    return [sentence for sentence in words if sentence]


def mask(numbers: Numbers, stack: "Stack") -> str:
    """Return what the softmax denominator leaks, and in which blocks."""
    leak = _values(numbers, "leak_mask")
    where = "In these weights" if numbers.attrs.get("method") == GIVEN else "At initialisation"
    if all(attention.softmax.kind == "sigmoid" for attention in stack.attention):
        return (
            f"{where}, the mask shifts no log-attention: sigmoid attention has no softmax"
            " denominator."
        )
    if stack.context < SHORTEST or not np.isfinite(leak).any():
        return (
            f"A context of {_count(stack.context, 'token')} is too short to compare early and late"
            " queries."
        )
    top = float(np.nanmax(leak))
    if top < NOTHING:
        return (
            f"{where}, the softmax denominator carries no absolute position: the mask"
            f" leaks nothing in any block (keys: {spread_words(stack)})."
        )
    head = f"{where}, the softmax denominator shifts log-attention by "
    early = "between early and late queries"
    factor = f"a factor of {sig(exp(min(top, 700)))} in attention at the same offset"
    if _alike(leak):
        where = "in every block" if leak.size > 1 else "in its only block"
        return f"{head}{sig(top)} nats RMS {early} {where}, {factor}."
    groups = _by_keys(leak, stack)
    if _apart(groups):
        parts = [
            f"{spread(values.tolist())} in {_blocks(values.size)} with"
            f" {keys.replace('full', 'full attention')}"
            for keys, values in groups.items()
        ]
        listed = f"{', '.join(parts[:-1])} and {parts[-1]}"
        return f"{head}(nats RMS, {early}) {listed}: at most {factor}."
    low, high = int(np.nanargmin(leak)), int(np.nanargmax(leak))
    return (
        f"{head}{sig(float(leak[low]))} (block {low + 1}) to {sig(top)} nats RMS (block"
        f" {high + 1}) {early}: at most {factor}."
    )


def residual(numbers: Numbers) -> str:
    """Return what the residual stream leaks into the scores, against the mask."""
    leak, masked = _values(numbers, "leak_residual"), _values(numbers, "leak_mask")
    if not np.isfinite(leak).any():
        return ""
    top = int(np.nanargmax(leak))
    if leak[top] < NOTHING:
        return "Nothing leaks through the residual stream into the scores."
    text = (
        "Through the residual stream, scores averaged over contents shift by"
        f" {'up to ' if leak.size > 1 else ''}{sig(float(leak[top]))} nats RMS (block {top + 1})"
    )
    larger = leak > np.nan_to_num(masked)
    if not larger.any():
        return f"{text}: the mask is the larger hole{' in every block' if leak.size > 1 else ''}."
    if larger.all():
        return f"{text}: it is the larger hole{' in every block' if leak.size > 1 else ''}."
    first = int(larger.argmax())
    if larger[first:].all():
        return f"{text}: it is the larger hole from block {first + 1} on."
    return f"{text}: it is the larger hole in {int(larger.sum())} of {leak.size} blocks."


def beacon(numbers: Numbers, stack: "Stack", pair: tuple[int, ...]) -> str:
    """Return how much of a token's activation is the fingerprint of the token at position 0."""
    strength = _values(numbers, "beacon")
    if float(np.nanmax(np.abs(np.nan_to_num(strength)))) < NOTHING:
        reason = "" if stack.bos.is_constant else ", which is ordinary content, new in every input"
        return f"No token carries a fingerprint of position 0{reason}."
    if not pair:
        return ""
    position = pair[-1]
    last = float(numbers.at("beacon", position)[-1])
    if "reach" in numbers.variables and _values(numbers, "reach")[-1] < position:
        return f"BOS's fingerprint does not reach position {position}, even in the last block."
    share = percent(max(last, NOTHING))
    return (
        f"BOS's fingerprint is {share} of the residual stream at position {position} after the"
        " last block."
    )


def apart(ruler: Mapping[Any, Any] | None, pair: tuple[int, ...]) -> str:
    """Return whether the same token at two positions can be told apart after the last block."""
    if ruler is None:
        return ""
    d, linear, norm = (float(ruler[name][-1]) for name in ("combined", "linear", "norm"))
    if not np.isfinite(d):
        return ""
    head = f"The same token at positions {pair[0]} and {pair[1]}"
    after = "by its activation after the last block"
    if d < NOTHING:
        return f"{head} cannot be told apart {after}: d′ = 0."
    verb = "can be" if d >= 1 else "can barely be" if d >= 0.25 else "can hardly be"
    right = 50 * (1 + erf(d / 2 / sqrt(2)))
    often = "more than 99.9" if right > 99.9 else sig(right, 3 if right > 99 else 2)
    cue = "norm" if norm > linear else "direction"
    return (
        f"{head} {verb} told apart {after}: d′ = {sig(d)}, mostly by its {cue} (an ideal observer"
        f" is right {often}% of the time)."
    )


def reach(numbers: Numbers, stack: "Stack") -> str:
    """Return how far position 0 reaches, where that is not to the end of the context."""
    if "reach" not in numbers.variables:
        return ""
    last = float(_values(numbers, "reach")[-1])
    if not last < stack.context - 1:
        return ""
    text = f"Position 0 reaches no further than position {last:.0f} of {stack.context - 1}"
    if all(a.window is not None and a.softmax.length_scaling != "llama4" for a in stack.attention):
        text += ": what lies beyond is exactly shift-invariant"
    return text + "."


def spread_words(stack: "Stack") -> str:
    """Return which keys are seen, over all blocks: ``ring``, ``full and window 16``."""
    return " and ".join(dict.fromkeys(keys_seen(attention) for attention in stack.attention))


def leak_range(numbers: Numbers, name: str) -> str:
    """Return a leak over the blocks: ``0.48``, or ``0.03 to 0.48``."""
    values = _values(numbers, name)
    finite = values[np.isfinite(values)]
    return spread(finite.tolist()) if finite.size else "-"


def _values(numbers: Numbers, name: str) -> NDArray[np.float64]:
    return np.asarray(numbers.variables[name], dtype=np.float64)


def _alike(values: NDArray[np.float64]) -> bool:
    top = float(np.nanmax(values))
    return bool(top - float(np.nanmin(values)) <= SAME * top)


def _by_keys(leak: NDArray[np.float64], stack: "Stack") -> dict[str, NDArray[np.float64]]:
    """Return the leaks of the blocks that see the same keys, the least first."""
    groups: dict[str, list[float]] = {}
    for value, attention in zip(leak, stack.attention, strict=True):
        groups.setdefault(keys_seen(attention), []).append(float(value))
    rows = sorted(groups.items(), key=lambda row: min(row[1]))
    return {keys: np.array(values) for keys, values in rows}


def _apart(groups: dict[str, NDArray[np.float64]]) -> bool:
    """Whether two or three kinds of blocks leak so differently that each has its own range."""
    values = list(groups.values())
    return 1 < len(values) <= 3 and all(a.max() < b.min() for a, b in pairwise(values))


def _blocks(number: int) -> str:
    return "the one block" if number == 1 else f"the {number} blocks"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
