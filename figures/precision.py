"""How far rounding breaks relative invariance, by format and shift, and the closed form."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ropeleak.check.tolerance import Precision
from ropeleak.drawing import marks, style
from ropeleak.errors import RopeleakError
from ropeleak.theory.theorems import load

from .bench import Bench
from .recipe import Recipe, finish

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CAPTION = r"""
Relative invariance in finite precision, for the RoPE of \texttt{<name>} (heads of <size>): the root
mean square change of a score, in standard deviations of scores, when query and key, both below
position <span>, are shifted together. Tables and products are in the format named, angles in fp32
and positions exact unless said. Lines: closed forms. Points: <samples> random queries and keys,
bars of <band> standard errors. Shifted by <shift>, a score changes by <single> through fp32 angles,
by <half> through bf16 tables and products and by <lost> through bf16 positions.
"""
SPAN = 1024
"""Queries and keys are below this position before the shift."""
MEASURED = (1, 5, 17, 67, 257, 1523, 4099, 16411, 65537, 262147, 1048583)
"""Shifts (tokens) at which errors are measured: odd, as rounding commutes with powers of two."""
CURVE = tuple(np.union1d(np.geomspace(1, MEASURED[-1], 61).astype(int), MEASURED).tolist())
"""Shifts at which the closed forms are evaluated."""
QUOTED = 65537
SAMPLES = {"small": 400, "full": 8000}
AVERAGED = 100
"""Pairs of positions that the closed forms are averaged over."""


class Arithmetic(NamedTuple):
    """Formats in which an implementation computes.

    Attributes
    ----------
    label
        What a legend calls it.
    activations, angles, positions
        Of tables and products, of angles, and of positions: exact where there is none.
    """

    label: str
    activations: str
    angles: str = "fp32"
    positions: str | None = None


TABLE = (
    Arithmetic("fp32, angles fp64", "fp32", angles="fp64"),
    Arithmetic("fp32", "fp32"),
    Arithmetic("fp16", "fp16"),
    Arithmetic("bf16", "bf16"),
    Arithmetic("positions fp16", "fp32", positions="fp16"),
    Arithmetic("positions bf16", "fp32", positions="bf16"),
)


class Broken(NamedTuple):
    """Errors by arithmetic and shift of one RoPE: in closed form, and measured."""

    name: str
    size: int
    predicted: xr.Dataset
    measured: xr.Dataset


def data(bench: Bench) -> Broken:
    """Return the errors of the architecture's RoPE."""
    stack = bench.base()
    found = next((attention for attention in stack.attention if attention.rope), None)
    if found is None or found.rope is None:
        raise RopeleakError(f"{stack.name} has no RoPE whose precision could be drawn")
    rope, size, samples = found.rope, stack.rotary_size(found), SAMPLES[bench.budget.name]
    frequency = rope.inverse_frequencies(size, stack.context)
    inputs = {"frequency": frequency.tolist(), "size": size, "seed": bench.seed, "samples": samples}
    return Broken(
        stack.name,
        size,
        bench.store.keep("rounding", inputs, lambda: predicted(frequency, size, bench.seed)),
        bench.store.keep("rounded", inputs, lambda: measured(frequency, size, samples, bench.seed)),
    )


def measured(frequency: Floats, size: int, samples: int, seed: int = 0) -> xr.Dataset:
    """Return by how much shifts change scores in every arithmetic of `TABLE`.

    Parameters
    ----------
    frequency
        Inverse frequencies (pairs,).
    size
        Of a head.
    samples
        Number of random queries and keys.
    seed
        Decides them.

    Returns
    -------
    xarray.Dataset
        ``error`` and ``error_se`` (arithmetic, shift), the root mean square in standard deviations
        of scores; NaN where a position overflows.
    """
    q, k = np.random.default_rng(seed).normal(0, size**-0.25, (2, samples, size))
    m, n = positions(samples, seed)

    def of(row: Arithmetic, shift: int) -> tuple[float, float]:
        before, after = (score(row, q, k, m + by, n + by, frequency) for by in (0, shift))
        square = (after - before) ** 2
        rms = np.sqrt(square.mean())
        return float(rms), float(square.std(ddof=1) / np.sqrt(samples) / (2 * rms))

    found = np.array([[of(row, shift) for shift in MEASURED] for row in TABLE])
    attrs = {"method": "monte-carlo", "samples": samples}
    return _dataset({"error": found[..., 0], "error_se": found[..., 1]}, MEASURED, attrs)


def predicted(frequency: Floats, size: int, seed: int = 0) -> xr.Dataset:
    """Return ``error`` (arithmetic, shift) in closed form; parameters are those of `measured`."""
    m, n = (places.astype(float)[:, None] for places in positions(AVERAGED, seed))
    shift = np.array(CURVE, dtype=float)
    pairs = size // 2
    angle, moved, tables, rotation = (
        load(f"precision-{name}") for name in ("angle", "positions", "tables", "rotation")
    )

    def of(row: Arithmetic) -> Floats:
        used = Precision.of(row.activations, row.angles)
        bits = used.activations.bits
        square = (angle(1.0, m, n, shift, frequency, pairs, used.angles.bits) ** 2).mean(axis=0)
        square = square + tables(1.0, bits) ** 2 + rotation(1.0, bits) ** 2
        if row.positions is not None:
            coarse = Precision.of(row.positions).activations
            exact = m + shift <= 2**coarse.bits  # whole numbers, and those of the key are smaller
            lost = moved(1.0, m, n, shift, frequency, pairs, coarse.bits)
            square = square + np.where(exact, 0.0, lost).mean(axis=0)
            square = np.where(shift + SPAN > coarse.largest, np.nan, square)
        return np.asarray(np.sqrt(square))

    return _dataset({"error": np.array([of(row) for row in TABLE])}, CURVE, {"method": "theorem"})


def positions(count: int, seed: int) -> tuple[Integers, Integers]:
    """Return random positions of queries and of keys before them (count,)."""
    random = np.random.default_rng([seed, SPAN])
    m = random.integers(1, SPAN, count)
    return m, (m * random.random(count)).astype(np.int64)


def score(
    row: Arithmetic, q: Floats, k: Floats, m: Integers, n: Integers, frequency: Floats
) -> Floats:
    """Return the scores (N,) of queries at ``m`` and keys at ``n`` in an arithmetic."""
    turned = [_turned(row, x, p.astype(float), frequency) for x, p in ((q, m), (k, n))]
    return np.asarray((turned[0] * turned[1]).sum(axis=1))


def _turned(row: Arithmetic, x: Floats, place: Floats, frequency: Floats) -> Floats:
    angle = rounded(rounded(place, row.positions)[:, None] * frequency, row.angles)
    cos, sin = (rounded(f(angle), row.activations) for f in (np.cos, np.sin))
    a, b = np.split(rounded(x[:, : 2 * frequency.size], row.activations), 2, axis=1)

    def product(u: Floats, v: Floats) -> Floats:
        return rounded(u * v, row.activations)

    first, second = product(a, cos) - product(b, sin), product(b, cos) + product(a, sin)
    kept = x[:, 2 * frequency.size :]
    return np.concatenate([rounded(first, row.activations), rounded(second, row.activations), kept],
                          axis=1)  # fmt: skip


def rounded(x: Floats, dtype: str | None) -> Floats:
    """Return numbers as a format has them: to nearest, NaN beyond its largest."""
    if dtype is None:
        return x
    format_ = Precision.of(dtype).activations
    part, exponent = np.frexp(x)
    near = np.ldexp(np.rint(np.ldexp(part, format_.bits)), exponent - format_.bits)
    return np.where(np.abs(near) > format_.largest, np.nan, near)


def draw(ax: Axes, errors: xr.Dataset) -> None:
    """Draw errors against the shift, on logarithmic axes.

    Parameters
    ----------
    ax
        Any axes.
    errors
        What `predicted` or `measured` returns.
    """
    for row, label in enumerate(errors["arithmetic"].values):
        marks.draw(ax, errors, "error", errors["shift"], {"arithmetic": label}, row=row,
                   label=str(label))  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("shift of query and key (tokens)")
    ax.set_ylabel("RMS change of a score (σ)")


def compose(figure: Figure, found: Broken) -> None:
    """Draw closed forms and measurements."""
    ax = figure.subplots()
    for errors in (found.predicted, found.measured):
        draw(ax, errors)
    handles = ax.lines[: len(TABLE)]
    figure.legend(handles=handles[::-1], loc="outside lower left", ncols=3)
    finish(figure, (found.predicted, found.measured))


def words(found: Broken) -> Mapping[str, str]:
    """Return the numbers of the caption."""
    error = found.predicted["error"].sel(shift=QUOTED)
    quoted = {"single": "fp32", "half": "bf16", "lost": "positions bf16"}
    return {
        "name": found.name, "size": str(found.size), "span": str(SPAN), "shift": str(QUOTED),
        "samples": str(found.measured.attrs["samples"]), "band": f"{marks.BAND:g}",
        **{name: f"{float(error.sel(arithmetic=row)):.2g}" for name, row in quoted.items()},
    }  # fmt: skip


def _dataset(
    values: Mapping[str, Floats], shifts: tuple[int, ...], attrs: Mapping[str, object]
) -> xr.Dataset:
    return xr.Dataset(
        {name: (("arithmetic", "shift"), value, {"units": "standard deviations of scores"})
         for name, value in values.items()},
        {"arithmetic": [row.label for row in TABLE], "shift": list(shifts)}, attrs,
    )  # fmt: skip


FIGURE = Recipe(
    name="precision",
    says="relative invariance in finite precision, by format and shift",
    width=style.COLUMN,
    height=3.0,
    data=data,
    compose=compose,
    caption=CAPTION,
    words=words,
)
