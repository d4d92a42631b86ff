"""`Stack`: patterns, derived sizes, errors, and the numbers of the theory against sampling."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from ropeleak import RopeleakError, Stack
from ropeleak.spec import Attention, Latent, Mlp, Rope

RNG_SEED = 20260


def test_patterns_are_repeated() -> None:
    stack = Stack.build(n_blocks=5, attention=[{"window": 4}, {}], mlp={"kind": "plain"})
    assert [attention.window for attention in stack.attention] == [4, None, 4, None, 4]
    assert [mlp.kind for mlp in stack.mlp] == ["plain"] * 5


@pytest.mark.parametrize("width", [96, "96", 96.0, np.int64(96)])
def test_the_head_size_is_derived_whatever_the_number_is_written_as(width: object) -> None:
    stack = Stack.build(d_model=width, n_heads=3)
    assert (stack.d_model, stack.d_head, stack.n_kv_heads) == (96, 32, 3)


def test_a_stack_is_frozen_and_hashable() -> None:
    stack = Stack.build()
    with pytest.raises(ValidationError):
        stack.context = 3
    assert hash(stack) == hash(Stack.build()) and stack == Stack.build()
    assert stack.replace(context=7).context == 7


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"windwo": 3}, ["windwo is not a field"]),
        ({"attention": {"windo": 3}}, ["attention[0].windo", "did you mean window?"]),
        ({"a\nb": 3}, ["is not a field"]),
        ({"d_model": 10, "n_heads": 3}, ["d_model=10", "n_heads=3"]),
        ({"n_heads": 8, "n_kv_heads": 3}, ["n_heads=8", "n_kv_heads=3"]),
        ({"d_model": -1}, ["d_model=-1", "at least 1"]),
        ({"d_model": 1e308}, ["d_model=1e+308"]),
        ({"d_model": 10**5000}, ["d_model=an integer of 16610 bits"]),
        ({"alpha": float("nan")}, ["alpha=nan"]),
        ({"n_blocks": 10**9}, ["n_blocks=1000000000", "at most 1000"]),
        ({"context": 10**9}, ["context=1000000000"]),
        ({"context": True}, ["context=True", "a whole number, at least 1"]),
        ({"alpha": False}, ["alpha=False", "a finite number"]),
        ({"n_blocks": np.True_}, ["n_blocks=", "True", "a whole number"]),
        ({"attention": {"window": True}}, ["attention[0].window=True", "a whole number"]),
        ({"attention": {"rope": {"short_factor": [True]}}}, ["attention[0].rope.short_factor="]),
        ({"attention": []}, ["attention has 0 entries"]),
        ({"attention": 3}, ["attention[0]=3", "the fields of Attention"]),
        ({"attention": [{}] * 9}, ["attention has 9 entries for n_blocks=6"]),
        ({"attention": {"window": 3, "chunk": 3}}, ["window=3 and chunk=3"]),
        ({"attention": {"prefix": 3, "chunk": 3}}, ["prefix=3 takes no window or chunk"]),
        ({"attention": {"prefix": 3, "mask": "ring"}}, ["mask='ring' takes no window"]),
        ({"bos": [[[[[]]]]]}, ["bos=a list of 1 entries"]),
        ({"init": {"std": "x" * 10**5}}, ["init.std='xxx"]),
        ({"d_model": 21, "n_heads": 3}, ["even number"]),
    ],
)
def test_bad_fields_are_told_in_one_sentence(fields: dict[str, object], words: list[str]) -> None:
    with pytest.raises(RopeleakError) as error:
        Stack.build(**fields)
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and len(message) < 400


# The numbers of the theory, against weights drawn as they say


def unit_tokens(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float64]:
    tokens = rng.normal(size=(n, d))
    return np.asarray(tokens * np.sqrt(d) / np.linalg.norm(tokens, axis=-1, keepdims=True))


def rms_normed(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True)))


def rotated(x: NDArray[np.float64], rope: Rope, position: int) -> NDArray[np.float64]:
    """Rotate the leading entries of heads, times the attention factor."""
    w = rope.inverse_frequencies(x.shape[-1], 512)
    r, out = rope.rotary_dim(x.shape[-1]), x.copy()
    first, second = x[..., : r // 2], x[..., r // 2 : r]
    cos, sin = np.cos(position * w), np.sin(position * w)
    out[..., : r // 2] = first * cos - second * sin
    out[..., r // 2 : r] = second * cos + first * sin
    out[..., :r] *= rope.attention_scale(512)
    return out


YARN = Rope(type="yarn", factor=32, original_context=4096, fraction=0.5)


@pytest.mark.parametrize(
    "attention",
    [Attention(rope=None), Attention(rope=YARN), Attention(qk_norm="head"), Attention(scale=0.3)],
    ids=["plain", "attention factor", "qk-norm", "scale"],
)
def test_score_std_is_that_of_sampled_scores(attention: Attention) -> None:
    rng = np.random.default_rng(RNG_SEED)
    stack = Stack.build(d_model=64, n_heads=4, n_blocks=1, attention=attention, init={"std": 0.1})
    draws = 4000
    q, k = (
        np.einsum("nd,nde->ne", unit_tokens(rng, draws, 64), rng.normal(0, 0.1, (draws, 64, 16)))
        for _ in range(2)
    )
    if attention.qk_norm == "head":
        q, k = rms_normed(q), rms_normed(k)
    if attention.rope is not None:
        q, k = rotated(q, attention.rope, 40), rotated(k, attention.rope, 3)
    scores = np.sum(q * k, axis=-1) * stack.score_scale(attention)
    error = stack.score_std(0) / math.sqrt(2 * draws) * math.sqrt(1 + 3 / 16)
    assert abs(scores.std() - stack.score_std(0)) < 4 * error


def test_score_std_and_gain_of_latent_attention() -> None:
    rng = np.random.default_rng(RNG_SEED)
    latent = Latent(q_rank=24, kv_rank=32, d_nope=8, d_rope=4, d_value=6)
    stack = Stack.build(
        d_model=64, n_heads=4, n_blocks=1, attention={"latent": latent}, init={"std": 0.1}
    )
    draws = 3000

    def weights(*shape: int) -> NDArray[np.float64]:
        return rng.normal(0, 0.1, (draws, *shape))

    def through(x: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.einsum("nd,nde->ne", x, w))

    x, y = unit_tokens(rng, draws, 64), unit_tokens(rng, draws, 64)
    q = through(rms_normed(through(x, weights(64, 24))), weights(24, 12))
    compressed = rms_normed(through(y, weights(64, 32)))
    k = np.concatenate([through(compressed, weights(32, 8)), through(y, weights(64, 4))], axis=-1)
    scores = np.sum(q * k, axis=-1) * stack.score_scale(stack.attention[0])
    assert scores.std() == pytest.approx(stack.score_std(0), rel=0.06)
    values = through(compressed, weights(32, 24))
    written = through(values, weights(24, 64))
    assert np.mean(written**2) == pytest.approx(stack.attention_gain(0), rel=0.06)


def test_gains_of_the_schemes() -> None:
    normal = Stack.build(d_model=64, n_heads=4, n_blocks=8, mlp=Mlp(d_ff=256))
    assert normal.attention_gain(0) == pytest.approx(64 * 64 * 0.02**4)
    assert normal.embedding_var == pytest.approx(0.02**2)
    assert normal.mlp_gain(0) == pytest.approx(256 * 0.02**2)
    gpt2 = normal.set("init.scheme", "gpt2")
    assert gpt2.attention_gain(0) == pytest.approx(normal.attention_gain(0) / 16)
    neox = normal.set("init.scheme", "neox")
    assert neox.score_std(0) == pytest.approx(0.4)
    fan_in = normal.set("init.scheme", "fan_in")
    assert (fan_in.score_std(0), fan_in.attention_gain(0)) == pytest.approx((1, 1))
    mup = normal.set("init.scheme", "mup")
    assert mup.score_std(0) == pytest.approx(1 / 4)
    assert normal.set("init.attention_gain", 3).attention_gain(0) == 3
    assert normal.replace(embedding_multiplier=8).embedding_var == pytest.approx(0.16**2)
