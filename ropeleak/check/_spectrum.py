"""Causes that leave scores relative: wrong frequencies."""

import numpy as np

from ._arrays import Floats
from ._scene import Scene
from .operator import angle_error
from .report import Cause


def wrong_frequencies(scene: Scene) -> Cause | None:
    """Wrong frequencies; which ones are right is known of a spec only, but for degrees."""
    op, rope = scene.op, scene.op.subject.rope
    if op.pairs().layout == "none":
        return None
    got = np.angle(op.rotations(1))
    expected = (
        op.subject.frequencies(op.size) if rope is None else rope.inverse_frequencies(op.size, 2)
    )
    n = min(got.size, expected.size)
    got, expected = got[:n], expected[:n]
    tolerance = op.tolerance(1)
    near = max(op.subject.precision.eps, 1e-4)
    if abs(got[0] - np.radians(expected[0])) < near or (
        abs(_wrapped(got[0] - np.degrees(expected[0]))) < near
    ):
        return Cause(
            "degrees-for-radians",
            f"the fastest pair turns by {got[0]:.4g} rad a token where {expected[0]:.4g} is"
            " expected: a factor of 180/π",
        )
    if rope is None or np.max(np.abs(got - expected)) <= tolerance:
        return _slow_frequencies(scene)
    if np.max(np.abs(got + expected)) <= tolerance:
        return Cause(
            "sin-sign",
            "queries and keys turn the wrong way: the sign of sin is swapped in both, so scores"
            " stay relative but trained weights do not fit",
        )
    return _which_frequencies(got, expected, tolerance)


def _slow_frequencies(scene: Scene) -> Cause | None:
    """Compare pairs that are too slow to be seen at position 1."""
    op, rope = scene.op, scene.op.subject.rope
    if rope is None:
        return None
    p = min(max(scene.positions, default=1), 256)
    expected = np.exp(1j * p * rope.inverse_frequencies(op.size, p + 1))
    got = op.rotations(p)
    n = min(got.size, expected.size)
    off = angle_error(got[:n], expected[:n]) > op.tolerance(p)
    if not off.any():
        return None
    angles = np.abs(np.angle(got[:n][off]))
    return _truncated(off) if np.all(angles <= op.tolerance(p)) else _wrong(off)


def _which_frequencies(got: Floats, expected: Floats, tolerance: float) -> Cause:
    off = np.abs(got - expected) > tolerance
    zero = np.abs(got[off]) <= tolerance
    return _truncated(off) if zero.all() else _wrong(off)


def _truncated(off: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Cause:
    return Cause(
        "truncated-frequencies",
        f"{int(off.sum())} of {off.size} pairs do not turn that should: their frequencies are"
        " rounded to zero or cut off",
    )


def _wrong(off: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Cause:
    return Cause(
        "wrong-frequencies",
        f"{int(off.sum())} of {off.size} pairs turn at another frequency, the first of them pair"
        f" {int(np.argmax(off))}: compare the base, the exponent's divisor and the scaling",
    )


def _wrapped(angle: float) -> float:
    return float(np.angle(np.exp(1j * angle)))
