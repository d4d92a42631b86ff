"""PyTorch, JAX and transformers' own functions; each runs where it is installed."""

from typing import Any

import pytest

from ropeleak import Rope
from ropeleak.check import adapters, check_rope

DTYPES = ("fp32", "bf16", "fp16")
EXAMPLES = 15


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch(dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    def rope(q: Any, k: Any, positions: Any) -> tuple[Any, Any]:
        size = q.shape[-1] // 2
        w = 10000.0 ** (-torch.arange(size, dtype=torch.float32) / size)
        angles = (positions.float()[..., None] * w)[:, None]
        cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)

        def turn(x: Any) -> Any:
            a, b = x[..., :size], x[..., size:]
            return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

        return turn(q), turn(k)

    options: dict[str, Any] = {"dtype": dtype, "examples": EXAMPLES}
    assert check_rope(rope, max_position=131_072, rope=Rope(), **options)

    def rounded(q: Any, k: Any, positions: Any) -> tuple[Any, Any]:
        return rope(q, k, positions.to(torch.bfloat16))

    report = check_rope(rounded, **options)
    assert report.causes[0].name == "bf16-positions", report


@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_complex(dtype: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    w = 10000.0 ** (-torch.arange(32, dtype=torch.float32) / 32)
    table = torch.polar(torch.ones(8193, 32), torch.outer(torch.arange(8193.0), w))

    def apply(xq: Any, xk: Any, freqs_cis: Any) -> tuple[Any, Any]:
        def turn(x: Any) -> Any:
            z = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
            return torch.view_as_real(z * freqs_cis[None, :, None]).flatten(3).type_as(x)

        return turn(xq), turn(xk)

    fn = adapters.freqs_cis(apply, table)
    report = check_rope(fn, dtype=dtype, max_position=8192, rope=Rope(), examples=EXAMPLES)
    assert report, report


@pytest.mark.parametrize("dtype", DTYPES)
def test_transformers(dtype: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from transformers.models.llama import modeling_llama

    config = transformers.LlamaConfig(
        hidden_size=256, num_attention_heads=4, max_position_embeddings=131_072
    )
    rotary = modeling_llama.LlamaRotaryEmbedding(config)
    fn = adapters.cos_sin(modeling_llama.apply_rotary_pos_emb, rotary, head_size=64)
    report = check_rope(fn, dtype=dtype, max_position=131_072, rope=Rope(), examples=EXAMPLES)
    assert report, report
    assert fn.framework == "torch"


def test_transformers_dynamic_ntk_is_caught_and_named() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from transformers.models.llama import modeling_llama

    config = transformers.LlamaConfig(
        hidden_size=256, num_attention_heads=4, max_position_embeddings=2048,
        rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0},
    )  # fmt: skip
    rotary = modeling_llama.LlamaRotaryEmbedding(config)
    fn = adapters.cos_sin(modeling_llama.apply_rotary_pos_emb, rotary, head_size=64)
    report = check_rope(fn, max_position=8192)
    assert not report
    assert "dynamic-ntk" in [cause.name for cause in report.causes], report


@pytest.mark.parametrize("dtype", DTYPES)
def test_jax(dtype: str) -> None:
    jnp = pytest.importorskip("jax.numpy", reason="JAX is not installed")

    def rope(x: Any, positions: Any) -> Any:
        size = x.shape[-1] // 2
        w = 10000.0 ** (-jnp.arange(size, dtype=jnp.float32) / size)
        angles = (positions.astype(jnp.float32)[..., None] * w)[:, None]
        cos, sin = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
        a, b = x[..., :size], x[..., size:]
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    report = check_rope(
        rope, dtype=dtype, head_size=(2, 64), max_position=131_072, rope=Rope(),
        examples=5,
    )  # fmt: skip
    assert report, report
