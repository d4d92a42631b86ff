"""Given weights: the numbers of a draw when they are a draw's, and what gains and biases do."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike

from ropeleak import RopeleakError, Stack
from ropeleak.simulate.forward import Forward, Sample
from ropeleak.simulate.given import Given
from ropeleak.simulate.plan import make_plan
from ropeleak.weights import Weights
from tests.simulate.test_contract import BASE, VARIANTS
from tests.support.checkpoints import of_draw

READ = [name for name in VARIANTS if not name.startswith("latent")]


def built(name: str) -> Stack:
    stack = Stack.build(**{**BASE, **VARIANTS[name]})
    shared = stack.mlp[0].experts is not None and stack.mlp[0].experts.shared
    return stack.set("mlp.experts.shared", 0) if shared else stack


def assert_same(one: Sample, other: Sample) -> None:
    for name, values in one._asdict().items():
        np.testing.assert_array_equal(values, getattr(other, name), err_msg=name)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", READ)
def test_the_weights_of_a_draw_give_its_numbers(name: str, dtype: DTypeLike) -> None:
    stack = built(name)
    plan = make_plan(stack, contents=3, seed=5, dtype=dtype)
    arrays, tokens = of_draw(stack, plan, 2)
    weights = Weights(stack, arrays)
    given = Forward(plan, full=True, source=lambda draw: Given(plan, weights, tokens))
    drawn = Forward(plan, full=True)
    assert_same(given.run(2), drawn.run(2))
    np.testing.assert_array_equal(given.x, drawn.x)


# Gains and biases, against architectures without them that compute the same


def final(stack: Stack, arrays: dict[str, Any], tokens: Any) -> Any:
    plan = make_plan(stack, contents=2, seed=0, dtype=np.float64)
    forward = Forward(plan, source=lambda draw: Given(plan, Weights(stack, arrays), tokens))
    forward.run(0)
    return forward.x[:, :, : stack.context]


def example(**changes: Any) -> tuple[Stack, dict[str, Any], Any, np.random.Generator]:
    fields = {**BASE, "mlp": {"kind": "gated", "d_ff": 20}, "bos": "random", **changes}
    fields["bos"] = {"kind": "random"}
    stack = Stack.build(**fields)
    arrays, tokens = of_draw(stack, make_plan(stack, 2, 0, np.float64), 0)
    return stack, arrays, tokens, np.random.default_rng(3)


READERS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.up_proj", "mlp.gate_proj"),
}


@pytest.mark.parametrize("placement", ["pre", "parallel"])
def test_a_gain_and_a_bias_before_a_branch_belong_to_its_matrices(placement: str) -> None:
    stack, arrays, tokens, random = example(norm={"placement": placement})
    folded = dict(arrays)
    for block in range(stack.n_blocks):
        for norm, readers in READERS.items():
            prefix = f"model.layers.{block}."
            gain, bias = random.normal(1, 0.3, (2, stack.d_model))
            arrays[f"{prefix}{norm}.weight"], arrays[f"{prefix}{norm}.bias"] = gain, bias
            for reader in readers:
                matrix = arrays[f"{prefix}{reader}.weight"]
                folded[f"{prefix}{reader}.weight"] = matrix * gain
                folded[f"{prefix}{reader}.bias"] = matrix @ bias
    np.testing.assert_allclose(
        final(stack, arrays, tokens), final(stack, folded, tokens), rtol=1e-11, atol=1e-11
    )
    plain = {name: value for name, value in arrays.items() if not name.endswith(".bias")}
    assert np.abs(final(stack, arrays, tokens) - final(stack, plain, tokens)).max() > 0.1


def test_a_bias_of_values_is_one_of_outputs() -> None:
    """Rows of attention sum to one."""
    stack, arrays, tokens, random = example()
    moved = dict(arrays)
    for block in range(stack.n_blocks):
        prefix = f"model.layers.{block}.self_attn."
        bias = random.normal(size=stack.n_kv_heads * stack.d_head)
        arrays[f"{prefix}v_proj.bias"] = bias
        heads = np.repeat(bias.reshape(stack.n_kv_heads, -1), 2, axis=0).ravel()
        moved[f"{prefix}o_proj.bias"] = arrays[f"{prefix}o_proj.weight"] @ heads
    np.testing.assert_allclose(
        final(stack, arrays, tokens), final(stack, moved, tokens), rtol=1e-11, atol=1e-11
    )


def test_a_bias_of_keys_cancels_in_the_softmax() -> None:
    stack, arrays, tokens, random = example(attention={"rope": None})
    wanted = final(stack, arrays, tokens)
    for block in range(stack.n_blocks):
        size = stack.n_kv_heads * stack.d_head
        arrays[f"model.layers.{block}.self_attn.k_proj.bias"] = random.normal(size=size)
    np.testing.assert_allclose(final(stack, arrays, tokens), wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", ["head", "projection"])
def test_gains_of_queries_and_keys_meet_in_the_score(kind: str) -> None:
    """A gain of queries is one of keys where RoPE does not turn them."""
    stack, arrays, tokens, random = example(attention={"rope": None, "qk_norm": kind}, n_kv_heads=4)
    other = dict(arrays)
    for block in range(stack.n_blocks):
        q, k = (f"model.layers.{block}.self_attn.{name}_norm.weight" for name in "qk")
        gain = random.normal(1, 0.5, arrays[q].shape)
        arrays[q], other[k] = gain, gain
    np.testing.assert_allclose(
        final(stack, arrays, tokens), final(stack, other, tokens), rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("experts", [None, {"count": 3, "active": 3}])
def test_biases_of_an_mlp(experts: dict[str, Any] | None) -> None:
    """A constant feature of the input, which stays what it is, does what biases do."""
    stack, arrays, tokens, random = example(
        n_blocks=1, norm={"placement": "none"},
        mlp={"kind": "gated", "d_ff": 20, "experts": experts},
    )  # fmt: skip
    arrays["model.embed_tokens.weight"][:, 0] = 1
    arrays["model.layers.0.self_attn.o_proj.weight"][0] = 0
    other = dict(arrays)
    prefixes = [f"experts.{k}." for k in range(3)] if experts else [""]
    for prefix in prefixes:
        down = f"model.layers.0.mlp.{prefix}down_proj."
        arrays[f"{down}bias"] = random.normal(size=stack.d_model)
        for name in ("up", "gate"):
            part = f"model.layers.0.mlp.{prefix}{name}_proj."
            arrays[f"{part}bias"] = bias = random.normal(size=20)
            other[f"{part}weight"] = arrays[f"{part}weight"] + np.outer(bias, np.eye(24)[0])
    found, plain = final(stack, arrays, tokens), final(stack, other, tokens)
    constant = found - plain
    if experts is None:
        wanted = arrays["model.layers.0.mlp.down_proj.bias"]
        np.testing.assert_allclose(
            constant, np.broadcast_to(wanted[:, None], constant.shape), rtol=1e-10, atol=1e-10
        )
    else:  # a mixture of the experts' constants, its shares adding up to one
        columns = np.column_stack(
            [arrays[f"model.layers.0.mlp.experts.{k}.down_proj.bias"] for k in range(3)]
        )
        flat = constant.swapaxes(0, 1).reshape(stack.d_model, -1)
        shares = np.linalg.lstsq(columns, flat, rcond=None)[0]
        np.testing.assert_allclose(shares.sum(0), 1, rtol=1e-9)
        np.testing.assert_allclose(columns @ shares, flat, rtol=1e-9, atol=1e-9)


def test_sink_logits_are_read() -> None:
    stack, arrays, tokens, _ = example(attention={"softmax": {"sink_logit": 0.0}})
    large = {
        name: np.full_like(value, 1e4) if name.endswith("sinks") else value
        for name, value in arrays.items()
    }
    for name in large:
        if name.endswith("down_proj.weight"):
            large[name] = np.zeros_like(large[name])
    np.testing.assert_array_equal(
        final(stack, large, tokens), arrays["model.embed_tokens.weight"][tokens].swapaxes(1, 2)
    )


def test_latent_attention_is_refused() -> None:
    stack = Stack.build(**{**BASE, **VARIANTS["latent"]})
    arrays = {"model.embed_tokens.weight": np.zeros((5, 24))}
    with pytest.raises(RopeleakError, match="latent attention are not read"):
        Weights(stack, arrays)
