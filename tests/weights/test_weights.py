"""Checkpoints in the places of a stack: parts of tensors, and what does not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ropeleak import RopeleakError, Stack
from ropeleak.hf.families import FAMILIES
from ropeleak.simulate.plan import make_plan
from ropeleak.weights import Weights, parts
from ropeleak.weights.layouts import LAYOUTS
from tests.support.checkpoints import of_draw, save

SIZES = parts.Sizes(d=6, d_ff=5, groups=2, queries=3, size=4, experts=2)
STACK = Stack.build(
    context=9, d_model=12, n_heads=4, n_kv_heads=2, d_head=6, n_blocks=2, mlp={"d_ff": 10}
)


def arrays() -> dict[str, NDArray[Any]]:
    return of_draw(STACK, make_plan(STACK, 2, 0), 0)[0]


def test_layouts_are_of_families_that_are_read() -> None:
    assert set(LAYOUTS) <= set(FAMILIES)


@pytest.mark.parametrize("join", [parts.joined, parts.joined_by_group])
def test_joined_matrices_share_a_tensor_out(join: Any) -> None:
    found = join("qkv", "o")
    names = ("query", "key", "value")
    spans = {name: found[name].span(SIZES) for name in names}
    rows = [np.arange(spans[n].total)[spans[n].rows(g)] for n in names for g in range(2)]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(2 * (3 + 2) * 4))
    assert [r.size for r in rows] == [12, 12, 4, 4, 4, 4]


@pytest.mark.parametrize(
    "mlp",
    [
        parts.gate_then_up("gu", "down"),
        parts.stacked("e.", interleaved=True),
        parts.stacked("e.", interleaved=False),
    ],
)
def test_gate_and_up_share_a_tensor_out(mlp: parts.Parts) -> None:
    spans = [mlp[name].span(SIZES) for name in ("gate", "up")]
    rows = [np.arange(span.total)[span.rows(0)] for span in spans]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(10))
    for span, whole in zip(spans, rows, strict=True):
        some = np.arange(span.total)[span.rows(0, slice(2, 4))]
        np.testing.assert_array_equal(some, whole[2:4])


def test_the_documented_names_are_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
    stack = STACK.set("norm.placement", "sandwich").set("attention.qk_norm", "head")
    stack = stack.set("attention.softmax.sink_logit", 0.0)
    held = of_draw(stack, make_plan(stack, 2, 0), 0)[0]
    Weights(stack, held)
    listed = {line for line in page.splitlines() if line.startswith("model.")}
    assert listed == {name for name in held if ".1." not in name}


def test_the_root_of_a_decoder_is_found() -> None:
    plain, deep = arrays(), {f"language_model.{n}": value for n, value in arrays().items()}
    deep["vision_tower.layers.0.weight"] = np.zeros(3, np.float32)
    for block in range(2):
        one, other = (Weights(STACK, a).matrix(block, "key", 1) for a in (plain, deep))
        np.testing.assert_array_equal(one.values, other.values)


def test_norms_without_gains_have_unit_gain() -> None:
    held = {name: value for name, value in arrays().items() if "layernorm" not in name}
    gain, bias = Weights(STACK, held).norm(0, "before mlp")
    assert gain.size == bias.size == 0


def test_a_family_may_store_gains_less_one(tmp_path: Path) -> None:
    gain, _ = Weights(STACK, arrays(), model_type="gemma").norm(0, "before attention")
    np.testing.assert_array_equal(gain, 2.0)
    save(tmp_path / "model.safetensors", arrays())
    (tmp_path / "config.json").write_text('{"model_type": "gemma"}')
    for source in (tmp_path, tmp_path / "model.safetensors"):
        assert Weights(STACK, source).norm(0, "before attention")[0][0] == 2.0


Q = "model.layers.1.self_attn.q_proj"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (f"{Q}.weight", None, f"has no tensor {Q}.weight, which the architecture needs"),
        (f"{Q}.weight", np.zeros((23, 12)), "shape 23 x 12 and the architecture needs 24 x 12"),
        (f"{Q}.weight", np.zeros(12), "shape 12 and the architecture needs 24 x 12"),
        (f"{Q}.bias", np.zeros(23), "shape 23 and the architecture needs 24"),
        (f"{Q}.weight", np.zeros((24, 12), np.uint8), "is stored as 'U8'"),
        ("model.layers.1.self_attn.q_norm.weight", np.zeros(6), "no part of the architecture"),
        ("model.layers.2.input_layernorm.weight", np.zeros(12), "holds block 2"),
        ("model.layers.1.input_layernorm.weight", None, "has no tensor model.layers.1.input_la"),
        ("model.layers.0.input_layernorm.weight", np.zeros(11), "needs 12"),
        ("model.embed_tokens.weight", None, r"has no tensor embed_tokens\.weight"),
        ("model.embed_tokens.weight", np.zeros((7, 13)), "shape 7 x 13 .* needs … x 12"),
        ("model.layers.0.mlp.down_proj.weight", np.zeros((10, 12)), "10 x 12 .* needs 12 x 10"),
    ],
)
def test_what_does_not_fit_is_one_sentence(name: str, value: Any, words: str) -> None:
    held: dict[str, Any] = arrays()
    if value is None:
        del held[name]
    else:
        held[name] = np.asarray(value, np.uint8 if value.dtype == np.uint8 else np.float32)
    with pytest.raises(RopeleakError, match=words) as caught:
        Weights(STACK, held)
    assert "\n" not in str(caught.value)


def test_types_that_are_not_read_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors", arrays())
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"dtype": "F32"', b'"dtype": "F8 "', 1))
    with pytest.raises(RopeleakError, match="is stored as 'F8 '"):
        Weights(STACK, path)


def test_shared_experts_of_an_unknown_layout_are_refused() -> None:
    stack = STACK.set("mlp.experts", {"count": 2, "active": 1, "shared": 1})
    with pytest.raises(RopeleakError, match=r"mlp\.experts\.shared=1"):
        Weights(stack, arrays())


def test_what_follows_from_the_architecture_is_ignored() -> None:
    held = arrays()
    held["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.zeros(3, np.float32)
    held["lm_head.weight"] = np.zeros((3, 12), np.float32)
    assert Weights(STACK, held).vocab_size == 36
