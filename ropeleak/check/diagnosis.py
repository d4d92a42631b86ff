"""The likely cause of a failure: known mistakes, each recognised by what it does to ``M(p)``."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ropeleak.errors import RopeleakError

from ._arrays import dtype_named
from ._scene import Scene, first_where
from ._spectrum import rounded_tables, wrong_frequencies
from ._subject import Subject
from .operator import Operator, angle_error
from .report import Cause
from .tolerance import Precision, rotation_rms

MOST_CAUSES = 3


def diagnose(
    subject: Subject, size: int, positions: tuple[int, ...], excess: float
) -> tuple[Cause, ...]:
    """Return the likely causes of a failure, the likeliest first.

    Parameters
    ----------
    subject, size, positions
        The function, the head size and the positions that failed.
    excess
        The error over its tolerance.
    """
    precision = subject.precision
    fine = precision.angles.bits > FP32.bits
    if fine:  # first what is wrong by more than rounding to fp32
        precision = precision._replace(angles=FP32, tables=FP32)
    for tried in dict.fromkeys((_best_size(subject), size)):
        name = rounded_tables(Operator(subject, tried))
        tables = (_tables(name),) if name else ()
        lenient = precision._replace(tables=dtype_named(name)) if name else precision
        scene = Scene(Operator(replace(subject, precision=lenient), tried), positions)
        found = (*_causes(scene), *tables)
        if found:
            return found[:MOST_CAUSES]
    small = excess < 2.0 ** (subject.precision.angles.bits - FP32.bits + 2)
    return (FP32_ANGLES,) if fine and small else (UNKNOWN,)


def _best_size(subject: Subject) -> int:
    """Return the head size nearest to 64: small heads make different mistakes look alike."""
    return min(subject.sizes, key=lambda size: abs(size - 64))


def _causes(scene: Scene) -> tuple[Cause, ...]:
    found: list[Cause] = []
    for test in TESTS:
        with suppress(RopeleakError):  # the function refuses what the test asks: not this cause
            cause = test(scene)
            if cause is not None:
                found.append(cause)
        if len(found) == MOST_CAUSES:
            break
    return tuple(found)


FP32 = dtype_named("fp32")
FP32_ANGLES = Cause(
    "fp32-angles",
    "errors are as small as rounding to fp32 makes them: angles or tables are not in fp64; compute"
    " them in fp64, or allow fp32 with angles='fp32' (--angles fp32)",
)
UNKNOWN = Cause(
    "unknown", "no known mistake does this: compare the case with the formula step by step"
)


def _state(scene: Scene) -> Cause | None:
    p = min(5, scene.limit)
    first, second = (scene.op.measured(p)[0] for _ in range(2))
    if scene.op.same(first, second, p):
        return None
    return Cause(
        "state-between-calls",
        "the same call gives another rotation the second time: an angle or offset is kept from the"
        " call before and not reset",
    )


def _written_positions(scene: Scene) -> Cause | None:
    p = min(5, scene.limit)
    once, twice = (scene.op.measured(p, layers=n)[0] for n in (1, 2))
    if scene.op.same(once, twice, p):
        return None
    return Cause(
        "positions-changed",
        "the second call with one array of positions, as by the next layer, gives another rotation:"
        " the function writes into the positions that it was given; copy them first",
    )


def _absolute_embedding(scene: Scene) -> Cause | None:
    p = min(5, scene.limit)
    size = scene.op.offset(p)
    if size <= scene.op.tolerance(p):
        return None
    return Cause(
        "absolute-embedding",
        f"a zero vector at position {p} gets entries up to {size:.3g}: something is added to"
        " queries or keys, as an absolute position embedding is; a rotation adds nothing",
    )


def _tables(name: str) -> Cause:
    format_ = dtype_named(name)
    error = rotation_rms(Precision(FP32, FP32, format_))
    return Cause(
        f"{name}-tables",
        f"rotated entries are rounded to {name}, so cos and sin are: scores carry an error of"
        f" {error:.1g} of their standard deviation that does not grow with the position; keep"
        f" tables in the format of queries and keys, or allow it with table_dtype={name!r}"
        f" (--table-dtype {name})",
    )


def _not_finite(scene: Scene) -> Cause | None:
    bad = [p for p in scene.positions if not _finite(scene, p)]
    if not bad:
        return None
    first = first_where(lambda p: not _finite(scene, p), 1, min(bad))
    if 65_504 < first <= 65_520:
        return Cause(
            "fp16-overflow",
            f"infinity or NaN from position {first} on: positions or angles are in fp16, whose"
            " largest number is 65504; compute them in fp32",
        )
    return Cause("not-finite", f"infinity or NaN from position {first} on")


def _scaled_one_side(scene: Scene) -> Cause | None:
    q, k = scene.op.attention_factor("q"), scene.op.attention_factor("k")
    if abs(q - k) <= scene.op.tolerance(0):
        return None
    return Cause(
        "scaled-only-q" if abs(k - 1) <= abs(q - 1) else "scaled-only-k",
        f"queries are multiplied by {q:.4g}, keys by {k:.4g}: an attention factor belongs on both",
    )


def _layouts(scene: Scene) -> Cause | None:
    q, k = scene.op.pairs("q"), scene.op.pairs("k")
    if q.layout == k.layout:
        return None
    return Cause(
        "layouts-differ",
        f"queries are rotated in the layout {q.layout!r}, keys in {k.layout!r}: use one for both",
    )


def _sin_sign_of_one(scene: Scene) -> Cause | None:
    q, k = scene.op.both(1)
    if scene.op.same(q, k, 1) or not scene.op.same(q, k.T, 1):
        return None
    return Cause(
        "sin-sign-differs",
        "queries turn one way and keys the other: the sign of sin is swapped in one of them",
    )


def _sides_differ(scene: Scene) -> Cause | None:
    for p in (1, *scene.positions):
        q, k = scene.op.both(p)
        if not scene.op.same(q, k, p):
            return Cause("q-and-k-differ", f"at position {p} queries and keys are not turned alike")
    return None


def _not_a_rotation(scene: Scene) -> Cause | None:
    p = min(3, scene.limit)
    m, origin = scene.op.matrix(p), scene.op.matrix(0)
    if not np.isfinite(m).all() or scene.op.same(m.T @ m, origin.T @ origin, p):
        return None
    pairs = scene.op.pairs()
    if pairs.layout == "unknown":
        return Cause("not-a-rotation", f"the matrix at position {p} does not keep norms")
    if pairs.layout == "none":
        return Cause(
            "wrong-half",
            "entries are scaled by cos or sin but never mixed with their partner: rotate_half takes"
            " the wrong half",
        )
    a, b = pairs.first, pairs.second
    down, up = m[b, a], m[a, b]
    tolerance = scene.op.tolerance(p)
    if np.max(np.abs(down - up)) <= tolerance < np.max(np.abs(down)):
        return Cause(
            "sin-sign-in-one-half",
            "both entries of a pair get the same sign of sin: one of them needs a minus",
        )
    if np.max(np.abs(m[a, a] - m[b, b])) > tolerance:
        return Cause(
            "table-layout",
            f"entries of one pair ({pairs.layout}) are given different angles: cos and sin are laid"
            " out for the other pairing",
        )
    return Cause("not-a-rotation", f"the matrix at position {p} does not keep norms")


def _row(scene: Scene) -> Cause | None:
    p, other = min(5, scene.limit), min(2, scene.limit)
    alone = scene.op.matrix(p)
    beside = scene.op.matrix(p, neighbour=other)
    if p == other or scene.op.same(alone, beside, p):
        return None
    if scene.op.same(beside, scene.op.matrix(other), p):
        return Cause(
            "first-row-positions",
            "every row of a batch is rotated by the positions of the first row: with padding, rows"
            " have positions of their own",
        )
    return Cause("rows-mix", "a row is rotated differently beside another row of the batch")


def _index(scene: Scene) -> Cause | None:
    p = min(5, scene.limit)
    plain, later = scene.op.matrix(p), scene.op.matrix(p, extra=3, before=True)
    if scene.op.same(plain, later, p):
        return None
    if scene.op.same(plain, scene.op.matrix(p, extra=3), p):
        return Cause(
            "index-for-position",
            "tokens are rotated by their index in the row, or from the row's first position on, not"
            " by the position ids that were given",
        )
    return None


def _tokens(scene: Scene) -> Cause | None:
    p = min(100, scene.limit)
    plain = scene.op.matrix(p)
    for extra in (1, 7, 64):
        longer = scene.op.matrix(p, extra=extra)
        if not scene.op.same(plain, longer, p):
            return Cause(
                "per-batch-length",
                "the rotation depends on the number of tokens in the batch, so on the longest row"
                " that others are padded to: it may depend on each row's own positions only",
            )
    return None


def _running_length(scene: Scene) -> Cause | None:
    p = min(100, scene.limit)
    plain = scene.op.matrix(p)

    def changed(length: int) -> bool:
        return not scene.op.same(plain, scene.op.matrix(p, running=length), p)

    far = scene.limit
    if not changed(far):
        return None
    first = first_where(changed, p, far)
    ends = [scene.op.matrix(p, running=r) for r in (first, (first + far) // 2, far)]
    off = np.linalg.norm(ends[2] - plain) / np.linalg.norm(plain)
    moved = f"in a row of {far}, the score of a key cached at {p} is off by an RMS of {off:.2g} σ"
    if far > first and scene.op.same(ends[0], ends[1], p) and scene.op.same(ends[1], ends[2], p):
        return Cause(
            "longrope-switch",
            f"all frequencies change at once when a row reaches position {first} (LongRoPE): scores"
            f" and cached keys from before do not fit those from after ({moved}); drop the cache"
            " there",
        )
    return Cause(
        "dynamic-ntk",
        f"frequencies depend on the running length (seen from position {first} on; dynamic NTK):"
        " the same distance scores differently in a longer text, and keys cached at a shorter"
        f" length are stale ({moved})",
    )


def _rounded_positions(scene: Scene) -> Cause | None:
    if scene.alike(0, 1):
        return None
    for name, bits in (("bf16", 8), ("fp16", 11)):
        n = 2**bits
        if not scene.reaches(n + 4) or not scene.alike(n, n + 1):
            continue
        if scene.alike(n + 3, n + 4) and not scene.alike(n, n + 4):
            return Cause(
                f"{name}-positions",
                f"positions {n} and {n + 1} are rotated alike: positions are in {name}, which is"
                f" exact up to {n} only; compute angles from integers or in fp32",
            )
    return None


def _rounded_angles(scene: Scene) -> Cause | None:
    """Angles in a coarse format: the pair with frequency 1 is exact where that format is."""
    step = angle_error(*(scene.op.rotations(p)[:1] for p in (0, 1)))
    if step.size == 0 or step < 2 * scene.op.tolerance(1):  # too slow to be told from a standstill
        return None
    for name, bits in (("bf16", 8), ("fp16", 11)):
        n = 2**bits
        if scene.reaches(n + 1):
            low, high = scene.op.rotations(n), scene.op.rotations(n + 1)
            same = angle_error(low[:1], high[:1]) < scene.op.tolerance(n)
            if same and not scene.alike(n, n + 1) and not scene.alike(n, n + 4):
                return Cause(
                    f"{name}-angles",
                    f"the fastest pair is turned alike at positions {n} and {n + 1}: position times"
                    f" frequency is in {name}; compute it in fp32",
                )
    return None


def _wrapped_integers(scene: Scene) -> Cause | None:
    if scene.alike(0, 1):
        return None
    for bits in (8, 16):
        n = 2**bits
        signed, unsigned = n // 2 + n // 8, n + n // 8
        if scene.reaches(signed) and scene.opposite(signed, n - signed):
            return _overflow(f"int{bits}", n // 2 - 1)
        if scene.reaches(unsigned) and scene.alike(unsigned, unsigned - n):
            return _overflow(f"uint{bits}", n - 1)
    return None


def _overflow(name: str, largest: int) -> Cause:
    return Cause(
        "int-overflow",
        f"positions wrap around past {largest}: they are in {name}; use 32 or 64 bits",
    )


def _clamped(scene: Scene) -> Cause | None:
    if scene.alike(0, 1):
        return None
    for far in (scene.limit, max(scene.positions, default=0)):
        if far < 2 or not (scene.alike(far, far - 1) and scene.alike(far, far - far // 16)):
            continue
        first = first_where(lambda p, far=far: scene.alike(p, far), 0, far)  # type: ignore[misc]
        return Cause(
            "table-clamped",
            f"all positions from {first} on are rotated alike: the table ends there, or positions"
            " are clamped",
        )
    return None


def _does_nothing(scene: Scene) -> Cause | None:
    if not scene.op.stands_still(*scene.positions):
        return None
    return Cause("no-rotation", "positions have no effect: nothing is rotated")


def _finite(scene: Scene, p: int) -> bool:
    return all(bool(np.isfinite(m).all()) for m in scene.op.both(p))


TESTS: tuple[Callable[[Scene], Cause | None], ...] = (
    _state, _written_positions, _absolute_embedding, _not_finite, _scaled_one_side, _layouts,
    _sin_sign_of_one, _not_a_rotation, _row, _index, _tokens, _rounded_positions, _rounded_angles,
    _wrapped_integers, _clamped, _running_length, _sides_differ, _does_nothing, wrong_frequencies,
)  # fmt: skip
