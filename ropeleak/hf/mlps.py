"""The MLP of every layer: plain, gated, or a mixture of experts."""

from collections.abc import Callable

from ropeleak.errors import RopeleakError
from ropeleak.spec.explain import nearest, shorten

from .fields import Fields

MlpFields = dict[str, object]
MlpReader = Callable[[Fields, int], list[MlpFields]]

ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "relu2": "relu2",
    "tanh": "tanh",
    "linear": "linear",
}
"""Activations of configs and of `Mlp`."""


def activation(fields: Fields, key: str = "hidden_act") -> str:
    """Return the activation in the words of `Mlp`."""
    name = fields.text(key)
    if name not in ACTIVATIONS:
        close = nearest(name, ACTIVATIONS, cutoff=0.0)
        raise RopeleakError(
            f"{key}={shorten(name)} in the config is not modelled: did you mean {close}?"
        )
    return ACTIVATIONS[name]


def dense(
    kind: str = "gated", act_key: str = "hidden_act", width_key: str = "intermediate_size"
) -> MlpReader:
    """Return a reader of one dense MLP for all layers."""

    def read(fields: Fields, n: int) -> list[MlpFields]:
        width = fields.maybe_integer(width_key) or 4 * fields.integer("hidden_size")
        return [{"kind": kind, "activation": activation(fields, act_key), "d_ff": width}] * n

    return read


gated, plain = dense("gated"), dense("plain")


def gemma(fields: Fields, n: int) -> list[MlpFields]:
    """Gated; Gemma-1 writes ``gelu`` and means its tanh form."""
    meant = {"gelu": "gelu_tanh"}
    one = gated(fields, 1)[0]
    return [{**one, "activation": meant.get(str(one["activation"]), one["activation"])}] * n


def _experts(fields: Fields, **more: object) -> MlpFields:
    """The fields of `Experts` that all families share."""
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    count = next((name for name in names if name in fields.values), "num_experts")
    active = "experts_per_token" if "experts_per_token" in fields.values else "num_experts_per_tok"
    number = fields.integer(count)
    return {"count": number, "active": fields.integer(active, 1, number), **more}


def _mixture(fields: Fields, width_key: str, experts: MlpFields, **more: object) -> MlpFields:
    return {
        "activation": activation(fields),
        "d_ff": fields.integer(width_key),
        "experts": experts,
        **more,
    }


def mixtral(fields: Fields, n: int) -> list[MlpFields]:
    """A mixture in every layer, softmax over the chosen experts."""
    return [_mixture(fields, "intermediate_size", _experts(fields, router="softmax"))] * n


def gpt_oss(fields: Fields, n: int) -> list[MlpFields]:
    """As Mixtral, with ``(up + 1) gate sigmoid(1.702 gate)``, both branches clamped."""
    more: MlpFields = {
        "offset": 1.0,
        "activation": "silu",
        "activation_scale": fields.number("swiglu_alpha", 1e-3, 10),
        "limit": fields.maybe_number("swiglu_limit", 1e-3, 1e6),
    }
    experts = _experts(fields, router="softmax")
    return [{**_mixture(fields, "intermediate_size", experts), **more}] * n


def qwen3_moe(fields: Fields, n: int) -> list[MlpFields]:
    """Mixtures but in ``mlp_only_layers`` and off ``decoder_sparse_step``."""
    router = "softmax" if fields.flag("norm_topk_prob") else "softmax-all"
    mixture = _mixture(fields, "moe_intermediate_size", _experts(fields, router=router))
    step = fields.integer("decoder_sparse_step")
    plainly = set(fields.items("mlp_only_layers", int) or ())
    one = gated(fields, 1)[0] if plainly or step > 1 else {}
    sparse = ((layer + 1) % step == 0 and layer not in plainly for layer in range(n))
    return [mixture if is_sparse else one for is_sparse in sparse]


def llama4(fields: Fields, n: int) -> list[MlpFields]:
    """Mixtures with a shared expert, every ``interleave_moe_layer_step``-th layer."""
    experts = _experts(fields, router="sigmoid-input", shared=1)
    mixture = _mixture(fields, "intermediate_size", experts)
    one = dense(width_key="intermediate_size_mlp")(fields, 1)[0]
    step = fields.integer("interleave_moe_layer_step")
    listed = fields.items("moe_layers", int)
    sparse = set(range(step - 1, n, step) if listed is None else listed)
    return [mixture if layer in sparse else one for layer in range(n)]


def deepseek(router: str) -> MlpReader:
    """Return a reader of dense layers first, then mixtures with shared experts."""

    def read(fields: Fields, n: int) -> list[MlpFields]:
        experts = _experts(
            fields,
            router=router,
            shared=fields.maybe_integer("n_shared_experts", 0, 64) or 0,
            scale=fields.number("routed_scaling_factor", 1e-6, 100),
        )
        mixture = _mixture(fields, "moe_intermediate_size", experts)
        first = min(fields.maybe_integer("first_k_dense_replace", 0) or 0, n)
        return gated(fields, first) + [mixture] * (n - first)

    return read
