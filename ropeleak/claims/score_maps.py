"""A causal mask makes scores favour nearby keys without parameters, and distorts RoPE's."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ropeleak.describe import sig
from ropeleak.simulate.maps import score_maps as measured_maps
from ropeleak.spec import Stack
from ropeleak.theory.score_maps import score_maps

from .claim import Claim, Evidence, Panel, Stacks
from .lab import Budget, Lab, Stream
from .number import Curve, Draws, Means, Number, Row, curve, exact, in_wide_limit, measured
from .rule import Condition, Rule
from .stacks import both

TOKENS, WIDTH, BLOCKS = 50, 64, 4
"""Sizes of the paper's simulation; one head, no MLP, ``q = k = v``."""
ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8)
"""Mean cosine of two tokens of a content."""
BATCHES = 16
"""Parts of the contents, whose spread gives the standard errors."""
QUARTER = 4
"""Near and far keys are the last and the first so many-th of those before a query."""
BLOCK = 1
"""Index of block 2: in block 1 fresh tokens have met no mask yet."""
SHOWN = 8
"""Offset at which RoPE's scores are followed along the text."""


def stack(name: str, alpha: float = 0.0, layer_norm: bool = False, **attention: Any) -> Stack:
    """Return a parameter-free stack whose scores are cosines unless they have another scale.

    With LayerNorm tokens enter the stack shorter by ``√d`` than they are read, as in the paper.
    """
    init = {"scheme": "fan_in", "embedding_var": 1 / WIDTH if layer_norm else 1.0}
    return Stack.build(
        name=name, context=TOKENS, d_model=WIDTH, n_heads=1, n_blocks=BLOCKS, alpha=alpha,
        mlp={"kind": "none"}, bos={"kind": "random"}, init=init,
        norm={"kind": "layer" if layer_norm else "rms", "eps": 0.0},
        attention={"rope": None, "scale": 1 / WIDTH, **attention},
    )  # fmt: skip


def stacks(budget: Budget) -> Stacks:
    """Return the paper's cases: shared variance, LayerNorm, RoPE with and without a mask."""
    found = {f"α = {alpha:g}": stack(f"α = {alpha:g}", alpha) for alpha in ALPHAS}
    return {
        **found,
        "LayerNorm": stack("LayerNorm", layer_norm=True),
        "LayerNorm, √d": stack("LayerNorm, √d", layer_norm=True, scale=WIDTH**-0.5),
        "RoPE": stack("RoPE", rope={}),
        "RoPE, bidirectional": stack("RoPE, bidirectional", rope={}, mask="bidirectional"),
    }


def watch(lab: Lab, stack: Stack) -> Draws:
    """Return the score maps of parts of the contents, and their squares."""
    contents = lab.budget.maps // BATCHES

    def stream(first: int) -> Stream:
        for batch in range(first, BATCHES):
            seed = lab.seed * BATCHES + batch
            score = measured_maps(stack, contents=contents, seed=seed)["score"].values
            yield {"score": score, "square": distortion(score)}

    return lab.gather("maps", stack, stream, BATCHES, made_by=(distortion,), contents=contents)


def favour(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return by how much nearby keys score higher than far ones, by block (L,).

    The mean over queries of the second half; the query's own token is left out.
    """
    queries = range(TOKENS // 2, TOKENS)
    parts = [
        score[:, i, i - i // QUARTER : i].mean(-1) - score[:, i, : i // QUARTER].mean(-1)
        for i in queries
    ]
    return np.asarray(np.mean(parts, axis=0))


def distortion(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean square of scores less their mean at the same offset, by block (L,)."""
    parts = [
        (x - x.mean(-1, keepdims=True)) ** 2
        for offset in range(1, TOKENS // 2 + 1)
        for x in [np.diagonal(score, -offset, axis1=-2, axis2=-1)]
    ]
    return np.asarray(np.concatenate(parts, axis=-1).mean(-1))


def measured_distortion(means: Means) -> NDArray[np.float64]:
    """Return `distortion` from pairs of different parts of the contents, without bias (L,)."""
    every, own = distortion(means["score"]), means["square"]
    return np.asarray((BATCHES * every - own) / (BATCHES - 1))


def experiment(lab: Lab, compared: Stacks) -> Evidence:
    """Map the scores of parameter-free stacks."""
    maps = {name: watch(lab, stack) for name, stack in compared.items()}
    limit = {name: score_maps(stack)["score"].values for name, stack in compared.items()}

    def favoured(name: str, block: int = BLOCK) -> tuple[Number, Number]:
        theory = favour(limit[name])[block]
        return in_wide_limit(theory), measured(lambda m: favour(m["score"])[block], maps[name])

    def distorted(name: str, block: int = BLOCK) -> tuple[Number, Number]:
        theory = distortion(limit[name])[block]
        return in_wide_limit(theory), measured(lambda m: measured_distortion(m)[block], maps[name])

    plain = [name for name in compared if name.startswith("α")]
    fresh = plain[0]
    rows = [
        Row("nearby", f"scores of nearby less far keys, block {BLOCK + 1}, {fresh} (cosine)",
            *favoured(fresh)),
        Row("nearby, block 1", "the same in block 1, where no mask was met yet", exact(0),
            favoured(fresh, 0)[1]),
        *(Row(f"nearby, {name}", f"the same, {name}", *favoured(name)) for name in plain[1:]),
        Row("nearby, LayerNorm", "the same, LayerNorm, scores divided by d",
            *favoured("LayerNorm")),
        Row("nearby, LayerNorm, √d", "the same, divided by √d: tokens attend to themselves (nats)",
            *favoured("LayerNorm, √d")),
        Row("distortion", f"mean square of RoPE's scores less their mean at the offset, block"
            f" {BLOCK + 1}, causal", *distorted("RoPE")),
        Row("distortion, block 1", "the same in block 1", exact(0), distorted("RoPE", 0)[1]),
        Row("distortion, bidirectional", "the same without a mask",
            *distorted("RoPE, bidirectional")),
    ]  # fmt: skip
    found = {row.name: row.number for row in rows}
    return Evidence(
        tuple(rows),
        f"Without a parameter, block {BLOCK + 1} scores nearby keys {found['nearby'].value:.4f}"
        f" higher than far ones ({100 * found['nearby, block 1'].value:.2f}% of a cosine in block"
        f" 1); with RoPE, scores at the same distance differ by"
        f" {max(found['distortion'].value, 0) ** 0.5:.4f} RMS along the text.",
        _panels(plain, maps, limit),
        _table([*plain, "LayerNorm", "LayerNorm, √d"], favoured),
    )


def _panels(
    plain: list[str], maps: dict[str, Draws], limit: dict[str, NDArray[np.float64]]
) -> tuple[Panel, ...]:
    """Return the last query's scores by key, and RoPE's at one distance along the text."""
    keys, last = np.arange(TOKENS - 1), TOKENS - 1
    by_key: list[Curve] = []
    for name in plain:
        by_key += both(
            name, keys, maps[name], lambda m: m["score"][BLOCK, last, :last],
            limit[name][BLOCK, last, :last],
        )  # fmt: skip
    query = np.arange(SHOWN, TOKENS)
    along: list[Curve] = []
    for name in ("RoPE", "RoPE, bidirectional"):
        measured_at = np.diagonal(maps[name]["score"], -SHOWN, axis1=-2, axis2=-1)[:, BLOCK]
        error = measured_at.std(0, ddof=1) / np.sqrt(len(measured_at))
        along += [
            curve(name, query, measured_at.mean(0), error),
            curve(f"{name}, theory", query, np.diagonal(limit[name][BLOCK], -SHOWN)),
        ]
    return (
        Panel(tuple(by_key), "key position (tokens)",
              f"score of query {last}, block {BLOCK + 1}\n(cosine)"),
        Panel(tuple(along), "query position (tokens)",
              f"score {SHOWN} tokens back, block {BLOCK + 1}\n(cosine)"),
    )  # fmt: skip


def _table(
    names: list[str], favoured: Callable[[str, int], tuple[Number, Number]]
) -> tuple[tuple[str, ...], ...]:
    """Return by how much nearby keys are favoured, by case and block."""
    header = ("case", *(f"block {block + 1}" for block in range(BLOCKS)))
    rows = [header]
    for name in names:
        pairs = [favoured(name, block) for block in range(BLOCKS)]
        rows.append((name, *(f"{sig(theory.value)}; {found}" for theory, found in pairs)))
    return tuple(rows)


CLAIM = Claim(
    id="score-maps",
    says="the causal mask makes scores favour nearby keys and distorts RoPE, without parameters",
    question="Do the mean scores of parameter-free stacks depend on position?",
    observable="mean scores by query and key",
    rule=Rule((Condition("nearby", "above", 0.0), Condition("distortion", "above", 0.0))),
    stacks=stacks,
    experiment=experiment,
    paper="2509.21042",
)
