"""Whole attention functions: right ones pass, each mistake is caught and named."""

from typing import Any

import numpy as np
import pytest

from ropeleak.check import (
    assert_attention,
    check_attention,
    check_attention_packing,
    check_causality,
    check_shift_equivariance,
)
from tests.check.zoo import Array, half

FEW: dict[str, Any] = {"examples": 15, "head_size": 16}


def attend(
    q: Array, k: Array, v: Array, positions: Array, *, ahead: int = 0, window: int | None = None,
    documents: Array | None = None, bias: float = 0.0,
) -> Array:  # fmt: skip
    """Softmax attention; keys up to ``ahead`` beyond the query, within a window, of a document."""
    scores = half(q, positions) @ half(k, positions).swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    i, j = np.indices(scores.shape[-2:])
    seen = j <= i + ahead
    if window is not None:
        seen &= j > i - window
    if documents is not None:
        seen = seen & (documents[:, None, :, None] == documents[:, None, None, :])
    scores = np.where(seen, scores + bias * positions[:, None, None, :], -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    out: Array = (weights / weights.sum(-1, keepdims=True) @ v).astype(v.dtype)
    return out


def attend_plainly(q: Array, k: Array, v: Array, positions: Array) -> Array:
    return attend(q, k, v, positions)


def test_causal_attention_passes_and_its_mask_is_seen() -> None:
    offset, index = check_shift_equivariance(attend, **FEW)
    assert offset, offset
    assert index, index
    assert "any causal mask lets the index through" in index.explain().replace("\n", " ")
    assert check_causality(attend, **FEW)


def test_heads_may_come_after_tokens() -> None:
    def swapped(q: Array, k: Array, v: Array, positions: Array) -> Array:
        a, b, c = (x.swapaxes(1, 2) for x in (q, k, v))
        return attend(a, b, c, positions).swapaxes(1, 2)

    assert check_causality(swapped, axes="bthd", **FEW)


def test_a_window_hides_the_index() -> None:
    def windowed(q: Array, k: Array, v: Array, positions: Array) -> Array:
        return attend(q, k, v, positions, window=4)

    offset, index = check_shift_equivariance(windowed, window=4, **FEW)
    assert offset and index, index
    _, narrower = check_shift_equivariance(windowed, window=3, **FEW)
    assert not narrower
    assert narrower.causes[0].name == "window"


def test_an_offset_that_is_seen_is_caught() -> None:
    def biased(q: Array, k: Array, v: Array, positions: Array) -> Array:
        return attend(q * (1 + positions[:, None, :, None] // 64).astype(q.dtype), k, v, positions)

    offset, _ = check_shift_equivariance(biased, **FEW)
    assert not offset
    assert offset.causes[0].name == "absolute-position"


@pytest.mark.parametrize(("ahead", "name"), [(1, "mask-off-by-one"), (99, "no-causal-mask")])
def test_the_future_is_caught(ahead: int, name: str) -> None:
    def peeking(q: Array, k: Array, v: Array, positions: Array) -> Array:
        return attend(q, k, v, positions, ahead=ahead)

    finding = check_causality(peeking, **FEW)
    assert not finding
    assert finding.causes[0].name == name


def test_keys_and_values_may_have_fewer_heads() -> None:
    def grouped(q: Array, k: Array, v: Array, positions: Array) -> Array:
        k, v = (np.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
        return attend(q, k, v, positions)

    assert check_attention(grouped, heads=4, kv_heads=2, **FEW)


def test_everything_at_once() -> None:
    def packed(q: Array, k: Array, v: Array, positions: Array, documents: Array) -> Array:
        return attend(q, k, v, positions, documents=documents)

    def mixed(q: Array, k: Array, v: Array, positions: Array, documents: Array) -> Array:
        return attend(q, k, v, positions)

    def peeking(q: Array, k: Array, v: Array, positions: Array) -> Array:
        return attend(q, k, v, positions, ahead=1)

    assert [f.check for f in check_attention(attend_plainly, **FEW)] == [
        "shift_equivariance", "index_equivariance", "causality",
    ]  # fmt: skip
    assert_attention(packed, **FEW)
    with pytest.raises(AssertionError, match="documents-mix"):
        assert_attention(mixed, **FEW)
    report = check_attention(peeking, **FEW)
    assert report.verdict("position-id offset").startswith("holds")
    assert report.verdict("sequence index") == "broken (causality)"


def test_packed_documents() -> None:
    def packed(q: Array, k: Array, v: Array, positions: Array, documents: Array) -> Array:
        return attend(q, k, v, positions, documents=documents)

    def mixed(q: Array, k: Array, v: Array, positions: Array, documents: Array) -> Array:
        return attend(q, k, v, positions)

    assert check_attention_packing(packed, **FEW)
    finding = check_attention_packing(mixed, **FEW)
    assert not finding
    assert finding.causes[0].name == "documents-mix"
