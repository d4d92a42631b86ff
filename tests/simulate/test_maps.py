"""Score maps: equal to plain NumPy on the same contents, and to what `measure` gathers."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ropeleak import RopeleakError, Stack
from ropeleak.simulate import _kernels as kernels
from ropeleak.simulate import score_maps, weights
from ropeleak.simulate.plan import make_plan
from tests.simulate.reference import rotate, visible

Array = NDArray[np.float64]

STACK = Stack.build(
    context=21, d_model=16, n_heads=1, n_blocks=2, mlp={"kind": "none"}, bos={"kind": "random"},
    init={"scheme": "fan_in"}, attention={"scale": 0.2},
)  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no rope": {"attention": {"scale": 0.2, "rope": None}},
    "two heads": {"n_heads": 2, "n_kv_heads": 2, "d_head": 8},
    "partial rope": {"attention": {"scale": 0.2, "rope": {"fraction": 0.5}}},
    "interleaved": {"attention": {"scale": 0.2, "rope": {"layout": "interleaved"}}},
    "window": {"attention": {"scale": 0.2, "window": 6}},
    "chunk": {"attention": {"scale": 0.2, "chunk": 5}},
    "bidirectional": {"attention": {"scale": 0.2, "mask": "bidirectional"}},
    "prefix": {"attention": {"scale": 0.2, "prefix": 7}},
    "bos": {"bos": {"kind": "constant"}},
    "zero": {"bos": {"kind": "zero"}},
    "words": {"vocab_size": 5},
    "shared component": {"alpha": 0.3},
    "shared component, zero": {"alpha": 0.3, "bos": {"kind": "zero"}},
    "mean": {"alpha": 0.3, "bos": {"kind": "mean"}},
    "post-norm": {"norm": {"placement": "post"}},
    "layer norm, after the branch": {"norm": {"placement": "sandwich", "kind": "layer"}},
    "no norm": {"norm": {"placement": "none"}},
    "temperature": {"attention": {"scale": 0.2, "softmax": {"temperature": 0.5}}},
    "large scores": {"attention": {"scale": 30.0}},
}


def norm(stack: Stack, x: Array) -> Array:
    x = x - x.mean(-1, keepdims=True) * (stack.norm.kind == "layer")
    return np.asarray(x / np.sqrt((x**2).mean(-1, keepdims=True) + stack.norm.eps))


def embeddings(stack: Stack, contents: int) -> Array:
    """Return what enters the stack (contents, T, d): that of draw 0 but for what tokens share."""
    plan = make_plan(stack, contents, seed=3, parameter_free=True)
    batch = np.empty((stack.context, stack.d_model, kernels.LANES), np.float32)
    found = []
    for first in range(0, contents, kernels.LANES):
        kernels.embed_lanes(plan.sizes[0], first, batch)
        found.append(np.moveaxis(batch, -1, 0).astype(float))
    return np.concatenate(found)


def test_contents_are_those_of_draw_0() -> None:
    plan = make_plan(STACK, 32, seed=3, parameter_free=True)
    np.testing.assert_array_equal(embeddings(STACK, 32), weights.embeddings(plan, 0)[:32])


def test_tokens_of_a_content_share_what_is_its_own() -> None:
    stack = STACK.replace(alpha=0.3)
    own = embeddings(STACK, 64) * np.sqrt(0.7)
    shared = embeddings(stack, 64) - own
    np.testing.assert_allclose(shared, shared[:, :1] * np.ones((21, 1)), atol=1e-6)
    vectors = shared[:, 0]
    assert vectors.var() == pytest.approx(0.3, rel=5 * (2 / vectors.size) ** 0.5)
    overlaps = (vectors @ vectors.T)[np.triu_indices(64, 1)] / 16
    assert overlaps.std() == pytest.approx(0.3 / 16**0.5, rel=0.1)


def scores_of(stack: Stack, contents: int) -> Array:
    """Return every score (contents, blocks, heads, T, T)."""
    x = embeddings(stack, contents)
    attention, found = stack.attention[0], []
    mask = visible(attention, stack.context)
    for _ in range(stack.n_blocks):
        u = norm(stack, x) if stack.norm.before_branch else x
        heads = u.reshape(contents, stack.context, stack.n_heads, -1).swapaxes(1, 2)
        turned = rotate(stack, attention, heads, np.arange(stack.context))
        scale = stack.score_scale(attention) / attention.softmax.temperature
        s = scale * turned @ turned.swapaxes(-1, -2)
        e = np.where(mask, np.exp(s - s.max(-1, keepdims=True, where=mask, initial=-1e9)), 0)
        y = (e / e.sum(-1, keepdims=True) @ heads).swapaxes(1, 2).reshape(x.shape)
        x = x + (norm(stack, y) if stack.norm.after_branch else y)
        x = norm(stack, x) if stack.norm.after_sum else x
        found.append(np.where(mask, s, np.nan))
    return np.stack(found, axis=1)


@pytest.mark.parametrize("name", VARIANTS)
def test_maps_are_those_of_plain_numpy(name: str) -> None:
    stack = Stack.build(**{**STACK.model_dump(), **VARIANTS[name]})
    scores = scores_of(stack, 272)
    result = score_maps(stack, contents=270, seed=3, threads=2)
    size = np.nanmax(np.abs(scores))
    assert result.attrs["contents"] == 272
    np.testing.assert_allclose(result["score"], scores.mean((0, 2)), atol=2e-6 * size)
    np.testing.assert_allclose(result["score_std"], scores.std((0, 2)), atol=2e-6 * size)


def test_threads_do_not_change_a_bit() -> None:
    one = score_maps(STACK, contents=1000, threads=1)
    assert one.identical(score_maps(STACK, contents=1000, threads=3))


def test_the_score_of_a_unit_token_with_itself_has_no_spread() -> None:
    result = score_maps(STACK.set("norm.eps", 0.0), contents=512)
    own = result["score"].values[:, np.arange(21), np.arange(21)]
    np.testing.assert_allclose(own, 0.2 * 16, rtol=1e-6)
    spread = result["score_std"].values[:, np.arange(21), np.arange(21)]
    assert (spread >= 0).all() and spread.max() < 1e-5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attention": [{}, {"window": 3}]}, "the same attention in every block"),
        ({"attention": {"softmax": {"softcap": 3.0}}}, "plain softmax attention"),
        ({"attention": {"mask": "ring"}}, "mask=causal"),
        ({"attention": {"qk_norm": "head"}}, "qk_norm=none"),
        ({"attention": {"window": 4, "sinks": 1}}, "sinks=0"),
        ({"attention": {"sink_bias": 1.0}}, "sink_bias=0"),
        ({"d_model": 6, "d_head": 6}, "multiple of 4"),
        ({"mlp": {"kind": "plain"}}, "no MLP"),
        ({"d_head": 8}, "n_heads x d_head = d_model"),
    ],
)
def test_what_has_no_maps(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RopeleakError, match=words):
        score_maps(Stack.build(**{**STACK.model_dump(), **changes}))


def test_one_content_is_refused() -> None:
    with pytest.raises(RopeleakError, match="2 or more, not 1"):
        score_maps(STACK, contents=1)
