"""Correct rotary functions in PyTorch and JAX, and those of transformers.

Each is made by a function that skips the test where a library is missing.
"""

from collections.abc import Callable
from typing import Any

import pytest

from ropeleak import Rope
from ropeleak.check import adapters
from tests.check.zoo import HEAD, LLAMA3, PARTIAL, YARN, Correct

PLAIN = Rope()
LONG = 131_072
TABLE = 8192


def needed(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed")


def torch_half() -> Correct:
    torch = needed("torch")

    def rope(q: Any, k: Any, positions: Any) -> tuple[Any, Any]:
        size = q.shape[-1] // 2
        w = 10000.0 ** (-torch.arange(size, dtype=torch.float32) / size)
        angles = (positions.float()[..., None] * w)[:, None]
        cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)

        def turn(x: Any) -> Any:
            a, b = x[..., :size], x[..., size:]
            return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

        return turn(q), turn(k)

    return Correct(rope)


def torch_in_place() -> Correct:
    torch = needed("torch")

    def rope(q: Any, k: Any, positions: Any) -> tuple[Any, Any]:
        size = q.shape[-1] // 2
        w = 10000.0 ** (-torch.arange(size, dtype=torch.float32) / size)
        angles = (positions.float()[..., None] * w)[:, None]
        cos, sin = angles.cos().to(q.dtype), angles.sin().to(q.dtype)
        for x in (q, k):
            a, b = x[..., :size].clone(), x[..., size:].clone()
            x[..., :size] = a * cos - b * sin
            x[..., size:] = b * cos + a * sin
        return q, k

    return Correct(rope)


def torch_complex() -> Correct:
    torch = needed("torch")
    w = 10000.0 ** (-torch.arange(HEAD // 2, dtype=torch.float32) / (HEAD // 2))
    table = torch.polar(torch.ones(TABLE + 1, HEAD // 2), torch.outer(torch.arange(TABLE + 1.0), w))

    def apply(xq: Any, xk: Any, freqs_cis: Any) -> tuple[Any, Any]:
        def turn(x: Any) -> Any:
            z = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
            return torch.view_as_real(z * freqs_cis[None, :, None]).flatten(3).type_as(x)

        return turn(xq), turn(xk)

    return Correct(adapters.freqs_cis(apply, table), options={"max_position": TABLE})


def jax_half() -> Correct:
    jnp = needed("jax.numpy")

    def rope(x: Any, positions: Any) -> Any:
        size = x.shape[-1] // 2
        w = 10000.0 ** (-jnp.arange(size, dtype=jnp.float32) / size)
        angles = (positions.astype(jnp.float32)[..., None] * w)[:, None]
        cos, sin = jnp.cos(angles).astype(x.dtype), jnp.sin(angles).astype(x.dtype)
        a, b = x[..., :size], x[..., size:]
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    return Correct(rope, options={"head_size": (2, HEAD)})


def of_transformers(
    family: str, rope: Rope = PLAIN, apply: str = "apply_rotary_pos_emb", **parameters: Any
) -> Callable[[], Correct]:
    """Return what makes a family's own function with its own tables, for heads of 64 entries."""

    def make() -> Correct:
        needed("torch")
        transformers = needed("transformers")
        config = getattr(transformers, f"{CLASSES[family]}Config")(
            hidden_size=4 * HEAD, num_attention_heads=4, head_dim=HEAD,
            max_position_embeddings=LONG,
            rope_parameters={"rope_type": "default", "rope_theta": rope.base, **parameters},
        )  # fmt: skip
        module = __import__(f"transformers.models.{family}.modeling_{family}", fromlist=["_"])
        name = CLASSES[family].removesuffix("Text")
        embedding = getattr(module, f"{CLASSES[family]}RotaryEmbedding", None) or getattr(
            module, f"{name}RotaryEmbedding"
        )
        adapter = adapters.freqs_cis if apply == "apply_rotary_emb" else adapters.cos_sin
        fn = adapter(getattr(module, apply), embedding(config), head_size=HEAD)
        return Correct(fn, rope)

    return make


CLASSES = {
    "llama": "Llama", "gpt_neox": "GPTNeoX", "cohere": "Cohere", "llama4": "Llama4Text",
    "qwen3": "Qwen3", "phi3": "Phi3",
}  # fmt: skip
FRAMEWORK_ZOO: dict[str, Callable[[], Correct]] = {
    "torch": torch_half,
    "torch in place": torch_in_place,
    "torch complex": torch_complex,
    "jax": jax_half,
    "transformers llama": of_transformers("llama"),
    "transformers yarn": of_transformers(
        "llama", YARN, rope_type="yarn", factor=8.0, original_max_position_embeddings=4096
    ),
    "transformers llama3": of_transformers(
        "llama", LLAMA3, rope_type="llama3", factor=8.0, original_max_position_embeddings=8192,
        low_freq_factor=1.0, high_freq_factor=4.0,
    ),
    "transformers linear": of_transformers(
        "qwen3", Rope(type="linear", factor=3.0), rope_type="linear", factor=3.0
    ),
    "transformers gpt-neox": of_transformers("gpt_neox", PARTIAL, partial_rotary_factor=0.25),
    "transformers cohere": of_transformers("cohere"),
    "transformers llama4": of_transformers("llama4", apply="apply_rotary_emb"),
}  # fmt: skip
