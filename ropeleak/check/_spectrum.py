"""What the matrices' numbers tell: frequencies that are wrong, tables that are rounded."""

from contextlib import suppress

import numpy as np

from ropeleak.errors import RopeleakError

from ._arrays import Door, Floats, dtype_named
from ._scene import Scene
from .operator import Operator
from .report import Cause

COARSE = ("fp16", "bf16")
"""Formats that tables and frequencies are rounded to by mistake, the finer one first."""


def wrong_frequencies(scene: Scene) -> Cause | None:
    """Wrong frequencies; which ones are right is known of a spec only, but for degrees."""
    op, rope = scene.op, scene.op.subject.rope
    if op.pairs().first.size == 0:
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
    return _named(got - expected, got, expected, tolerance)


def _slow_frequencies(scene: Scene) -> Cause | None:
    """Compare pairs that are too slow to be seen at position 1."""
    op, rope = scene.op, scene.op.subject.rope
    if rope is None:
        return None
    p = min(max(scene.positions, default=1), 256)
    expected = np.exp(1j * p * rope.inverse_frequencies(op.size, p + 1))
    got = op.rotations(p)
    n = min(got.size, expected.size)
    error = np.angle(got[:n] * np.conj(expected[:n]))
    if np.max(np.abs(error)) <= op.tolerance(p):
        return None
    angles = p * rope.inverse_frequencies(op.size, p + 1)[:n]
    return _named(error, np.angle(got[:n]), angles, op.tolerance(p))


def _named(error: Floats, got: Floats, expected: Floats, tolerance: float) -> Cause:
    """Name what is wrong with angles of pairs, in radians; the expected ones are not wrapped."""
    off = np.abs(error) > tolerance
    if np.all(np.abs(got[off]) <= tolerance):
        return Cause(
            "truncated-frequencies",
            f"{int(off.sum())} of {off.size} pairs do not turn that should: their frequencies are"
            " rounded to zero or cut off",
        )
    both_ways = np.any(error[off] > 0) and np.any(error[off] < 0)
    for name in COARSE:
        rounded = np.abs(error) <= expected * 2.0 ** -dtype_named(name).bits + tolerance
        if not off[0] and rounded.all() and (both_ways or off.sum() == 1):
            return Cause(
                "rounded-frequencies",
                f"{int(off.sum())} of {off.size} frequencies are off as rounding to {name} makes"
                " them: scores stay relative, but are not those of frequencies in fp32; keep"
                " inverse frequencies in fp32",
            )
    return Cause(
        "wrong-frequencies",
        f"{int(off.sum())} of {off.size} pairs turn at another frequency, the first of them pair"
        f" {int(np.argmax(off))}: compare the base, the exponent's divisor and the scaling",
    )


def rounded_tables(op: Operator) -> str | None:
    """Return the format, coarser than that of the activations, that all entries are rounded to."""
    matrices = [op.matrix(p) for p in (1, 3, 10) if p <= op.subject.max_position]
    entries = np.abs(np.concatenate([m.ravel() for m in matrices]))
    entries = entries[np.isfinite(entries) & (entries > 0) & (entries != 1)]
    for name in reversed(COARSE):  # numbers of bf16 are numbers of fp16 too
        if dtype_named(name).bits >= op.subject.precision.activations.bits or entries.size < 8:
            continue
        with suppress(RopeleakError):  # ml_dtypes is not installed
            if np.array_equal(Door("numpy", name).rounded(entries), entries):
                return name
    return None


def _wrapped(angle: float) -> float:
    return float(np.angle(np.exp(1j * angle)))
