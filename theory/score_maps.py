r"""Score maps of parameter-free stacks in the wide limit: mean scores from the mask alone.

Where every head reads its slice of the residual stream, ``q = k = v``, overlaps of tokens stop
fluctuating as heads grow, with ``scale · d_head`` held: a score is ``scale d_head κ(i-j) C_ij``,
attention is what the softmax makes of that, and a block maps ``K`` to ``W K Wᵀ`` with ``W`` the
identity plus attention to normalised tokens.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.spec import Softmax, Stack

from .dense import Mask, check
from .grid import dense_grid
from .layer import rotations
from .provenance import package_version
from .recursion import initial_state

Array = NDArray[np.float64]

_TINY = 1e-300


def score_maps(stack: Stack) -> xr.Dataset:
    """Return the score of every query and key of a parameter-free stack in the wide limit.

    The twin of `ropeleak.simulate.score_maps`, which it differs from by terms of order
    ``1/d_head``.

    Parameters
    ----------
    stack
        The architecture; all blocks the same attention, without an MLP. Contents share the part
        ``alpha`` of their own tokens' variance.

    Returns
    -------
    xarray.Dataset
        ``score`` (nats), (``block``, ``query``, ``key``); NaN where a query does not see a key.

    Raises
    ------
    RopeleakError
        If the stack has parameters that cannot be left out, blocks that differ, or a vocabulary.
    """
    _check(stack)
    attention, norm, eps = stack.attention[0], stack.norm, stack.norm.eps
    kernel = initial_state(stack, dense_grid(stack.context)).same.matrix
    frequencies, share = rotations(stack, attention)
    position = np.arange(stack.context)
    turned = np.cos(np.subtract.outer(position, position)[..., None] * frequencies) @ share
    rope = attention.rope
    gain = stack.score_scale(attention) * stack.d_head / attention.softmax.temperature
    gain *= 1.0 if rope is None else rope.attention_scale(stack.context) ** 2
    mask = Mask(attention, stack.context)

    found = []
    for _ in range(stack.n_blocks):
        size = np.diag(kernel)
        read = np.ones_like(size)
        if norm.before_branch:
            read = 1 / np.sqrt(np.maximum(size + eps, _TINY))
        score = gain * turned * kernel * np.outer(read, read)
        found.append(np.where(mask.visible, score, np.nan))
        top = np.where(mask.visible, score, -np.inf)
        weight = np.exp(top - top.max(1, keepdims=True))
        written = weight / weight.sum(1, keepdims=True) * read
        if norm.after_branch:
            written = _normalised(written, kernel, eps)
        step = np.eye(stack.context) + stack.residual_multiplier * written
        if norm.after_sum:
            step = _normalised(step, kernel, eps)
        kernel = step @ kernel @ step.T
    return xr.Dataset(
        {"score": (("block", "query", "key"), np.array(found), {"units": "nats"})},
        {"block": np.arange(1, stack.n_blocks + 1), "query": position, "key": position},
        {"stack": stack.model_dump_json(), "method": "wide limit", "ropeleak": package_version()},
    )


def _normalised(step: Array, kernel: Array, eps: float) -> Array:
    """Return the map to tokens ``step x`` after a norm."""
    size = np.einsum("ij,jk,ik->i", step, kernel, step)
    return np.asarray(step / np.sqrt(np.maximum(size + eps, _TINY))[:, None])


def _check(stack: Stack) -> None:
    attention = stack.attention[0]
    soft = attention.softmax
    rope = attention.rope
    partial = rope is not None and rope.attention_scale(stack.context) != 1 and rope.fraction != 1
    reasons = (
        (len(set(stack.attention)) > 1, "the same attention in every block"),
        (soft != Softmax(temperature=soft.temperature), "plain softmax attention"),
        (attention.qk_norm != "none", "attention.qk_norm=none"),
        (attention.mask == "ring", "attention.mask=causal or bidirectional"),
        (attention.sink_bias != 0, "attention.sink_bias=0"),
        (attention.latent is not None, "attention.latent=none"),
        (any(mlp.kind != "none" for mlp in stack.mlp), "mlp.kind=none"),
        (stack.vocab_size is not None, "vocab_size=none: words that repeat do not average out"),
        (partial, "rope.fraction=1 where cos and sin have an attention factor"),
    )
    for applies, needed in reasons:
        if applies:
            raise RopeleakError(f"score maps in the wide limit need {needed}")
    check(stack, "summary")
