"""From a `Stack` to the flat arrays and codes that the kernels read."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ropeleak.errors import RopeleakError
from ropeleak.spec import Attention, Stack

from . import _kernels as kernels
from .layers import (
    factors,
    layer_record,
    leading,
    padded,
    rotated_pairs,
    rotations,
    sink_weights,
    visibility,
)

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SIZES = np.dtype(
    [(name, "i8") for name in (
        "context", "width", "ld", "d", "contents", "sets", "reference", "heads", "bos", "vocab",
        "norm", "before_branch", "after_branch", "after_sum", "parallel", "parameter_free",
        "controls",
    )]
    + [("seed", "u8")]
    + [(name, "f8") for name in ("v0", "alpha", "eps", "residual")],
)  # fmt: skip
BLOCK = np.dtype(
    [(name, "i8") for name in (
        "layer", "mlp", "activation", "d_ff", "experts", "active", "shared", "router",
    )]
    + [(name, "f8") for name in (
        "q_std", "k_std", "v_std", "o_std", "alignment", "score_var", "up_std", "down_std",
        "activation_scale", "offset", "limit", "router_scale",
    )]
)  # fmt: skip
NORMS = {"rms": kernels.NORM_RMS, "layer": kernels.NORM_LAYER}
MLPS = {"none": kernels.MLP_NONE, "plain": kernels.MLP_PLAIN, "gated": kernels.MLP_GATED}
ROUTERS = {
    "softmax": kernels.ROUTER_SOFTMAX,
    "softmax-all": kernels.ROUTER_ALL,
    "sigmoid": kernels.ROUTER_SIGMOID,
    "sigmoid-input": kernels.ROUTER_INPUT,
}
ACTIVATIONS = {
    "silu": kernels.SILU,
    "gelu": kernels.GELU,
    "gelu_tanh": kernels.GELU_TANH,
    "quick_gelu": kernels.QUICK_GELU,
    "relu": kernels.RELU,
    "relu2": kernels.RELU2,
    "tanh": kernels.TANH,
    "linear": kernels.LINEAR,
}
BOS = {
    "constant": kernels.BOS_CONSTANT,
    "other": kernels.BOS_CONSTANT,
    "random": kernels.BOS_ORDINARY,
    "absent": kernels.BOS_ORDINARY,
    "zero": kernels.BOS_ZERO,
    "mean": kernels.BOS_MEAN,
}


class Plan(NamedTuple):
    """What the kernels know of a stack.

    Attributes
    ----------
    sizes, blocks, layers
        Records: one, one per block, one per distinct attention layer.
    from_query, to_query, seen_from, seen_to
        Queries ``[from, to)`` that need the score of a key, and that see it (layers, keys).
    n_keys
        Number of keys that each query sees (layers, T).
    low, high, sinks
        Keys ``[low, high)`` and the first few that a block of queries needs (layers, blocks).
    q_factor, factor, bias
        Factor on a query before the soft cap and on its scores after it, and the bias of sigmoid
        attention (layers, ld).
    cos, sin, turn_cos, turn_sin
        Rotations of every position, and by one more context (layers, pairs, ld).
    pairs
        Features that turn together (layers, pairs, 2).
    sink
        What features of BOS's key count in the bias of queries (layers, size).
    """

    sizes: NDArray[np.void]
    blocks: NDArray[np.void]
    layers: NDArray[np.void]
    from_query: Integers
    to_query: Integers
    seen_from: Integers
    seen_to: Integers
    n_keys: Integers
    low: Integers
    high: Integers
    sinks: Integers
    q_factor: NDArray[np.floating]
    factor: NDArray[np.floating]
    bias: NDArray[np.floating]
    cos: NDArray[np.floating]
    sin: NDArray[np.floating]
    turn_cos: NDArray[np.floating]
    turn_sin: NDArray[np.floating]
    pairs: Integers
    sink: NDArray[np.floating]

    @property
    def inputs(self) -> int:
        """Number of contents that are run.

        Where BOS is constant, as many without it are run besides; where heads read a BOS that is
        not there, one with it.
        """
        sizes = self.sizes[0]
        counted = int(sizes["contents"] * sizes["sets"])
        return counted + int(sizes["reference"] == counted)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Precision of the forward pass."""
        return self.q_factor.dtype

    def rows(self, layer: int) -> kernels.Rows:
        """Return what a layer knows of every position."""
        n_pairs = self.layers[layer]["pairs"]
        values = {name: getattr(self, name)[layer] for name in kernels.Rows._fields}
        for name in ("cos", "sin", "turn_cos", "turn_sin", "pairs"):
            values[name] = values[name][:n_pairs]
        return kernels.Rows(**values)


def make_plan(
    stack: Stack,
    contents: int,
    seed: int,
    dtype: DTypeLike = np.float32,
    *,
    parameter_free: bool = False,
    common: bool = True,
    controls: bool = True,
    drawn: bool = True,
) -> Plan:
    """Return the plan of a stack.

    Parameters
    ----------
    stack
        The architecture.
    contents
        Contents per draw.
    seed
        ``0 .. 2⁶⁴-1``.
    dtype
        Precision of the forward pass: float32 or float64.
    parameter_free
        Every head reads its slice of the residual stream: ``W_Q``, ``W_K``, ``W_V`` and ``W_O`` are
        the identity.
    common
        Whether contents are run without BOS too where it is constant, for ``Q∅``.
    controls
        Whether samples hold what of them is chance: see `Sample`. There is none without parameters.
    drawn
        Whether weights are drawn, so that the stack must be one whose weights can be.

    Raises
    ------
    RopeleakError
        If the kernels cannot run the stack.
    """
    check(stack, parameter_free, drawn)
    distinct = list(dict.fromkeys(stack.attention))
    blocks = [_block(stack, number, distinct) for number in range(stack.n_blocks)]
    keys = [visibility(attention, stack.context) for attention in distinct]
    sigmas = {a: stack.score_std(stack.attention.index(a)) for a in distinct}
    scales = [factors(stack, a, sigma, parameter_free) for a, sigma in sigmas.items()]
    records = [layer_record(stack, a, seen) for a, seen in zip(distinct, keys, strict=True)]
    turns = [rotations(stack, a) for a in distinct]
    sinks = [sink_weights(stack, a, sigma, parameter_free) for a, sigma in sigmas.items()]
    return Plan(
        sizes=_sizes(
            stack, contents, seed, parameter_free, common, controls and drawn and not parameter_free
        ),
        blocks=np.concatenate(blocks),
        layers=np.concatenate(records),
        pairs=_stacked([rotated_pairs(stack, a) for a in distinct], np.int64),
        **{name: _stacked([row[name] for row in keys], np.int64) for name in keys[0]},
        **{name: _stacked([row[name] for row in scales], dtype) for name in scales[0]},
        **{name: _stacked([row[name] for row in turns], dtype) for name in turns[0]},
        **{name: _stacked([row[name] for row in sinks], dtype) for name in sinks[0]},
    )


def _stacked(arrays: Sequence[NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
    """Return arrays along a new axis, zeros where one is shorter than the longest."""
    longest = max(array.shape[0] for array in arrays)
    result = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), dtype)
    for row, array in zip(result, arrays, strict=True):
        row[: array.shape[0]] = array
    return result


def check(stack: Stack, parameter_free: bool = False, drawn: bool = True) -> None:
    """Raise `RopeleakError` if the kernels cannot run the stack."""
    for block, attention in enumerate(stack.attention):
        if attention.latent is not None and attention.alignment:
            raise RopeleakError(
                f"attention[{block}].alignment={attention.alignment:g} cannot be drawn with latent"
                " attention: set attention.alignment=0"
            )
        if attention.latent is not None and attention.qk_norm != "none":
            raise RopeleakError(
                f"attention[{block}].qk_norm={attention.qk_norm} is not measured with latent"
                " attention: set attention.qk_norm=none"
            )
        if attention.sink_bias and not drawn:
            raise RopeleakError(
                f"attention[{block}].sink_bias={attention.sink_bias:g} is a bias of random heads,"
                " not of given weights: set attention.sink_bias=0"
            )
        if parameter_free or not drawn:
            continue
        sigma, size = stack.score_std(block), stack.head_size(attention)
        most = sigma * sqrt(size)
        if abs(attention.alignment) > most * (1 + 1e-9):
            raise RopeleakError(
                f"attention[{block}].alignment={attention.alignment:g} cannot be drawn: with"
                f" σ = {sigma:.3g} and heads of {size} it is at most {most:.3g}"
            )
    if not parameter_free:
        return
    if any(a.latent is not None for a in stack.attention):
        raise RopeleakError("a parameter-free stack has no latent attention: set latent=none")
    if stack.n_heads * stack.d_head != stack.d_model:
        raise RopeleakError(
            f"a parameter-free stack needs n_heads x d_head = d_model, not {stack.n_heads} x"
            f" {stack.d_head} = {stack.d_model}: change d_head"
        )
    if any(mlp.kind != "none" for mlp in stack.mlp):
        raise RopeleakError("a parameter-free stack has no MLP: set mlp.kind=none")


def _sizes(
    stack: Stack, contents: int, seed: int, parameter_free: bool, common: bool, controls: bool
) -> NDArray[np.void]:
    norm, sets = stack.norm, 2 if stack.bos.is_constant and common else 1
    reads_sinks = any(attention.sink_bias for attention in stack.attention)
    values = {
        "context": stack.context, "width": padded(stack.context), "ld": leading(stack.context),
        "d": stack.d_model, "contents": contents, "sets": sets,
        "reference": contents if reads_sinks and not stack.bos.is_constant else 0,
        "heads": stack.n_heads,
        "bos": BOS[stack.bos.kind], "vocab": stack.vocab_size or 0, "norm": NORMS[norm.kind],
        "before_branch": norm.before_branch, "after_branch": norm.after_branch,
        "after_sum": norm.after_sum, "parallel": norm.parallel, "parameter_free": parameter_free,
        "controls": controls, "seed": seed, "v0": stack.embedding_var, "alpha": stack.alpha,
        "eps": norm.eps, "residual": stack.residual_multiplier,
    }  # fmt: skip
    return _record(SIZES, values)


def _record(dtype: np.dtype[np.void], values: Mapping[str, Any]) -> NDArray[np.void]:
    record = np.zeros(1, dtype)
    for name in dtype.names or ():
        record[name] = values[name]
    return record


def _block(stack: Stack, number: int, distinct: list[Attention]) -> NDArray[np.void]:
    """Return the record of one block: the standard deviations of its weights among it."""
    attention, mlp, d = stack.attention[number], stack.mlp[number], stack.d_model
    latent, size = attention.latent, stack.head_size(attention)
    scale = stack.weight_scale
    sigma = stack.score_std(number)
    drawn = stack.replace(init=stack.init.replace(score_std=None)).score_std(number)
    q_scale = sigma / drawn if attention.qk_norm == "none" else 1.0
    fan_in = latent.kv_rank if latent else d
    d_value = latent.d_value if latent else stack.d_head
    width, experts = stack.block_d_ff(number), mlp.experts
    gaussian = (  # scores are, given the inputs, and independent of what the softmax divides by
        not attention.alignment and not attention.sink_bias and latent is None
        and attention.qk_norm == "none" and attention.softmax.softcap is None
    )  # fmt: skip
    values = {
        "layer": distinct.index(attention),
        "mlp": MLPS[mlp.kind], "activation": ACTIVATIONS[mlp.activation], "d_ff": width,
        "experts": experts.count if experts else 0, "active": experts.active if experts else 0,
        "shared": experts.shared if experts else 0,
        "router": ROUTERS[experts.router] if experts else 0,
        "q_std": scale.query * q_scale, "k_std": scale.key, "v_std": 1 / sqrt(fan_in),
        "o_std": sqrt(stack.attention_gain(number) / (stack.n_heads * d_value)),
        "alignment": attention.alignment / (sigma * sqrt(size)) if attention.alignment else 0.0,
        "score_var": sigma**2 if gaussian else 0.0,
        "up_std": sqrt(stack.preactivation_var() / d),
        "down_std": sqrt(stack.mlp_gain(number) / width),
        "activation_scale": mlp.activation_scale, "offset": mlp.offset,
        "limit": mlp.limit or 0.0,
        "router_scale": experts.scale if experts else 1.0,
    }  # fmt: skip
    return _record(BLOCK, values)
