"""Beyond the trained length: what a longer context shows that was never seen, and what leaks."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from ropeleak.claims.beyond_training import BLOCKS, TIMES, new_angles
from ropeleak.claims.stacks import FACTOR, ropes
from ropeleak.describe import percent, sig
from ropeleak.drawing import marks, prediction, style
from ropeleak.errors import RopeleakError
from ropeleak.spec import Attention, Stack

from . import denominator
from .bench import Bench, Pair
from .recipe import Recipe, finish, marks_words

CAPTION = r"""
Beyond the trained length of <trained> tokens, for \texttt{<name>}. \textbf{Left}: the mean log
softmax denominator of the first block goes on growing; shaded is what training shows.
\textbf{Middle}: the share of the circle, averaged over rotary pairs, that only the longer context
shows, by RoPE scaling: <new> at <factor> times the length without any. \textbf{Right}: the total
leak of the last block, <before> nats at the trained length and <after> nats at <factor> times it.
<marks>
"""
SCALINGS = ("none", "linear", "NTK", "YaRN")
MEASURED = ("none", "NTK")
"""Scalings that are measured, at the trained length and at `FACTOR` times it."""


class Beyond(NamedTuple):
    """What a context of ``times`` the trained length shows, by scaling and multiple.

    Attributes
    ----------
    trained
        The trained length (tokens).
    leaks
        Predictions, with measurements where there are any.
    angles
        Share of the circle that was never seen.
    """

    name: str
    trained: int
    leaks: Mapping[tuple[str, int], Pair]
    angles: Mapping[str, Sequence[float]]


def extended(stack: Stack, scaling: str, times: int) -> Stack:
    """Return a stack at a multiple of its context, its RoPE scaled to reach it."""
    trained, context = stack.context, times * stack.context
    longer = stack.replace(context=context)
    if scaling == "none":
        return longer
    fields = {**ropes(context)[scaling], "factor": float(times), "original_context": trained}

    def scaled(attention: Attention) -> Attention:
        rope = attention.rope
        return attention if rope is None else attention.replace(rope=rope.replace(**fields))

    return longer.replace(attention=tuple(map(scaled, stack.attention)))


def data(bench: Bench) -> Beyond:
    """Return leaks and angles at multiples of the trained length."""
    base = bench.base(n_blocks=BLOCKS)
    if base.attention[0].rope is None:
        raise RopeleakError(f"{base.name} has no RoPE in its first block that could be scaled")
    leaks, angles = {}, {}
    for scaling in SCALINGS:
        stacks = {times: extended(base, scaling, times) for times in TIMES}
        for times, stack in stacks.items():
            is_measured = scaling in MEASURED and times in (1, FACTOR) and bench.model is None
            predict = bench.pair if is_measured else (lambda s: Pair(bench.predict(s)))
            leaks[scaling, times] = predict(stack)
        angles[scaling] = [new_angles(stack, base.context) for stack in stacks.values()]
    return Beyond(base.name, base.context, leaks, angles)


def draw_denominator(ax: Axes, found: Beyond) -> None:
    """Draw ``E ln Z`` of the first block in the longest context that was measured."""
    pair = found.leaks["none", int(FACTOR)]
    for dataset in pair.both:
        denominator.draw(ax, dataset)
    ax.axvspan(*ax.get_xlim()[:1], found.trained - 1, color="0.93", zorder=0)
    ax.set_ylabel("E ln Z, block 1 (nats)")


def draw_angles(ax: Axes, found: Beyond) -> None:
    """Draw the share of the circle that was never seen against the multiple of the length."""
    for row, scaling in enumerate(SCALINGS):
        marks.curve(ax, TIMES, found.angles[scaling], row=row, label=scaling)
    _times_axis(ax)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set_ylabel("angles never seen\n(share of the circle)")


def draw_leak(ax: Axes, found: Beyond) -> None:
    """Draw the total leak of the last block against the multiple of the length."""
    for row, scaling in enumerate(SCALINGS):
        pairs = {times: found.leaks[scaling, times] for times in TIMES}
        total = [float(pair.predicted["leak_total"].values[-1]) for pair in pairs.values()]
        marks.curve(ax, TIMES, total, row=row, label=scaling)
        for times, pair in pairs.items():
            if pair.measured is not None:
                last = pair.measured.isel(block=slice(-1, None))
                marks.draw(ax, last, "leak_total", [times], row=row)
    _times_axis(ax)
    ax.set_ylabel("total leak, last block\n(nats RMS)")
    ax.set_ylim(bottom=0, auto=True)


def compose(figure: Figure, found: Beyond) -> None:
    """Draw the three views."""
    left, middle, right = figure.subplots(1, 3)
    draw_denominator(left, found)
    draw_angles(middle, found)
    draw_leak(right, found)
    handles = prediction.labelled(middle)
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), title="")
    finish(figure, _drawn(found))


def words(found: Beyond) -> Mapping[str, str]:
    """Return the numbers of the caption."""
    total = {times: found.leaks["none", times].predicted["leak_total"] for times in TIMES}
    factor = int(FACTOR)
    return {
        "name": found.name, "trained": str(found.trained), "factor": str(factor),
        "new": percent(found.angles["none"][TIMES.index(factor)]),
        "before": sig(float(total[1].values[-1]), 3),
        "after": sig(float(total[factor].values[-1]), 3), "marks": marks_words(_drawn(found)),
    }  # fmt: skip


def _drawn(found: Beyond) -> tuple[xr.Dataset, ...]:
    return found.leaks["none", 1].both


def _times_axis(ax: Axes) -> None:
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(list(TIMES)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(TIMES, [f"{times}×" for times in TIMES])
    ax.set_xlabel("context over trained length")


FIGURE = Recipe(
    name="beyond",
    says="beyond the trained length: new denominators, new angles, the leak",
    width=style.PAGE,
    height=2.3,
    data=data,
    compose=compose,
    caption=CAPTION,
    words=words,
)
