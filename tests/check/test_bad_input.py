"""Whatever is wrong with what was given is one sentence."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ropeleak.check as rc
from ropeleak import Rope, RopeleakError
from tests.check.zoo import Array, half


def raises(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
    raise ZeroDivisionError("division\nby zero")


def raises_late(x: Array, positions: Array) -> Array:
    return half(x, np.arange(2048)[positions])


def cut(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
    return q[:, :, :1], k


def nothing(q: Array, k: Array, positions: Array) -> None:
    return None


def three(q: Array, k: Array, positions: Array) -> tuple[Array, ...]:
    return q, k, k


def nan(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
    return q * np.nan, k


def wider(q: Array, k: Array, positions: Array) -> tuple[Array, Array]:
    return q.astype(np.float64), k


def lists(q: Array, k: Array, positions: Array) -> tuple[Any, Any]:
    return q.tolist(), k.tolist()


def lonely(q: Array) -> Array:
    return q


def tabled(q: Array, k: Array, cos: Array, sin: Array) -> tuple[Array, Array]:
    return q, k


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (raises, "raised ZeroDivisionError: division by zero"),
        (cut, r"returned shape \(1, 1, 1, 64\) for \(1, 1, 2, 64\)"),
        (nothing, "returned None, not the two rotated arrays"),
        (three, "returned a tuple of 3"),
        (nan, "returned NaN or infinity"),
        (wider, "returned float64 for float32"),
        (lists, "returned a list of 1, not an array"),
        (lonely, r"takes \(q\)"),
        (tabled, "takes tables"),
        (7, "is not a function"),
    ],
)
def test_bad_functions(fn: Any, words: str) -> None:
    with pytest.raises(RopeleakError, match=words) as caught:
        rc.check_rope(fn)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "int8"}, "dtype='int8' is not known"),
        ({"max_position": 1}, "max_position=1 must be from 16"),
        ({"max_position": 2**40}, "must be from 16"),
        ({"framework": "lisp"}, "framework='lisp' is not known"),
        ({"device": "cuda"}, "device='cuda' is for PyTorch, not numpy"),
        ({"table_dtype": "int4"}, "dtype='int4' is not known"),
        ({"head_size": 0}, "head_size=0 must be at least 2"),
        ({"head_size": 7}, "raised ValueError"),
        ({"examples": 0}, "examples=0"),
        ({"rope": Rope(fraction=0.3), "head_size": 10}, "takes an even number"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RopeleakError, match=words):
        rc.check_rope(half, **options)


def test_a_function_that_fails_at_some_positions_says_where() -> None:
    assert rc.check_rope(raises_late, max_position=2047, examples=10)
    with pytest.raises(RopeleakError, match=r"raised IndexError.*positions.* 2048"):
        rc.check_rope(raises_late, max_position=4096)


def test_another_dtype_can_be_allowed() -> None:
    def in_float64(x: Array, positions: Array) -> Array:
        return half(x.astype(np.float64), positions)

    assert rc.check_rope(in_float64, any_dtype=True, examples=10)


def test_frequencies_need_a_spec() -> None:
    with pytest.raises(RopeleakError, match="needs rope"):
        rc.check_frequencies(half)


def test_step_and_decoder_exclude_each_other() -> None:
    with pytest.raises(RopeleakError, match="not both"):
        rc.check_cache_consistency(half, step=half, decoder=lambda: lambda q, k: (q, k))


@pytest.mark.parametrize("missing", ["hypothesis", "ml_dtypes", "torch"])
def test_what_is_not_installed_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    options: dict[str, Any] = {"ml_dtypes": {"dtype": "bf16"}, "torch": {"framework": "torch"}}.get(
        missing, {}
    )
    with pytest.raises(RopeleakError, match=rf"{missing}.*not installed.*pip install"):
        rc.check_norm_preserved(half, **options)


def test_attention_options() -> None:
    def attend(q: Array, k: Array, v: Array, positions: Array) -> Array:
        return v

    bad: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
        (rc.check_causality, {"axes": "td"}, "axes='td'"),
        (rc.check_causality, {"max_position": 5}, "max_position=5"),
        (rc.check_causality, {"color": 5}, "color"),
        (rc.check_shift_equivariance, {"window": 0}, "window=0"),
        (rc.check_attention, {"heads": 4, "kv_heads": 3}, "multiple of kv_heads=3"),
        (rc.check_attention, {"head_size": 1}, "head_size=1"),
    ]
    for check, options, words in bad:
        with pytest.raises(RopeleakError, match=words):
            check(attend, **options)
    with pytest.raises(RopeleakError, match="is not a function"):
        rc.check_causality(3)  # type: ignore[arg-type]


def test_importing_the_checks_needs_numpy_only() -> None:
    heavy = ("hypothesis", "jax", "ml_dtypes", "pydantic", "scipy", "torch", "xarray")
    code = f"import sys, ropeleak.check; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
