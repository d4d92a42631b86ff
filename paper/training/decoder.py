"""`Decoder`: a PyTorch model of a `Stack`, its weights a draw of the ensemble that is predicted."""

from collections.abc import Callable
from math import pi, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ropeleak.errors import RopeleakError
from ropeleak.simulate import weights
from ropeleak.simulate.plan import make_plan

from .text import BOS_ID, BYTES, VOCABULARY

if TYPE_CHECKING:
    from ropeleak.simulate.plan import Plan
    from ropeleak.spec import Attention, Mlp, Rope, Stack

TINY = 1e-30
"""Keeps the RMS of a zero vector from being 0."""
EMBEDDING = 4
"""Sets the embedding's random numbers apart from all others of a seed."""
ACTIVATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "silu": lambda x, k: x * torch.sigmoid(k * x),
    "gelu": lambda x, k: x * (1 + torch.erf(k * x / sqrt(2))) / 2,
    "gelu_tanh": lambda x, k: x * (1 + torch.tanh(k * sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2,
    "quick_gelu": lambda x, k: x * torch.sigmoid(1.702 * k * x),
    "relu": lambda x, k: torch.relu(x),
    "relu2": lambda x, k: torch.relu(x) ** 2,
    "tanh": lambda x, k: torch.tanh(k * x),
    "linear": lambda x, k: x,
}
NORMS = {
    "pre": (("input_layernorm", "", ""), ("post_attention_layernorm", "", "")),
    "parallel": (("input_layernorm", "", ""), ("post_attention_layernorm", "", "")),
    "res-post": (
        ("", "post_attention_layernorm", ""),
        ("", "post_feedforward_layernorm", ""),
    ),
    "post": (
        ("", "", "post_attention_layernorm"),
        ("", "", "post_feedforward_layernorm"),
    ),
    "sandwich": (
        ("input_layernorm", "post_attention_layernorm", ""),
        ("pre_feedforward_layernorm", "post_feedforward_layernorm", ""),
    ),
    "none": (("", "", ""), ("", "", "")),
}
"""Names of the norms before attention, after it and after adding it, and those of the MLP."""


def check(stack: "Stack") -> None:
    """Raise `RopeleakError` if a stack cannot be trained to predict the next byte."""
    for block, (attention, mlp) in enumerate(zip(stack.attention, stack.mlp, strict=True)):
        query = np.arange(stack.context)
        if (attention.key_range(query, stack.context).stop > query + 1).any():
            raise RopeleakError(
                f"attention[{block}] sees the token that is to be predicted: use mask=causal"
                " without a prefix"
            )
        if attention.latent is not None:
            raise RopeleakError(f"attention[{block}].latent is not trained here: use latent=none")
        if mlp.experts is not None:
            raise RopeleakError(f"mlp[{block}].experts are not trained here: use experts=none")
    if stack.bos.kind == "mean":
        raise RopeleakError("bos=mean has no token of its own to train: use bos=constant")


class Decoder(nn.Module):
    """A byte-level language model: token embedding, the stack's blocks, a norm and a linear head.

    Its parameters have the names of a Llama checkpoint. The blocks' weights are a draw of
    `ropeleak.simulate`, so that what is measured before the first step is what is predicted; norms
    start at gain 1 and the head at 0.

    Parameters
    ----------
    stack
        The architecture.
    seed
        Decides every initial weight.

    Raises
    ------
    RopeleakError
        If the stack cannot be trained.
    """

    def __init__(self, stack: "Stack", seed: int) -> None:
        super().__init__()
        check(stack)
        plan = make_plan(stack, contents=2, seed=seed)
        still = BOS_ID if stack.bos.kind == "zero" else None
        self.embed_tokens = nn.Embedding(VOCABULARY, stack.d_model, padding_idx=still)
        self.layers = nn.ModuleList(Block(stack, plan, number) for number in range(stack.n_blocks))
        self.norm = _norm(stack)
        self.lm_head = nn.Linear(stack.d_model, BYTES, bias=False)
        nn.init.zeros_(self.lm_head.weight)
        _fill(self.embed_tokens.weight, _embedding(stack, seed))

    def residual_stream(self, tokens: Tensor) -> list[Tensor]:
        """Return the residual stream before the first and after every block, (rows, T, d) each."""
        states = [self.embed_tokens(tokens)]
        for block in self.layers:
            states.append(block(states[-1]))
        return states

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of the next byte (rows, T, 256)."""
        return self.logits(self.residual_stream(tokens)[-1])

    def logits(self, x: Tensor) -> Tensor:
        """Return what is read off the residual stream after the last block."""
        found: Tensor = self.lm_head(self.norm(x))
        return found

    def checkpoint(self) -> dict[str, Tensor]:
        """Return the weights under the names of a Llama checkpoint."""
        return {
            name if name.startswith("lm_head") else f"model.{name}": value.detach().contiguous()
            for name, value in self.named_parameters()
        }

    def load_checkpoint(self, tensors: dict[str, Tensor]) -> None:
        """Take weights that have the names of `checkpoint`."""
        self.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items()})


class Block(nn.Module):
    """Attention and MLP, which read the residual stream and write to it."""

    def __init__(self, stack: "Stack", plan: "Plan", number: int) -> None:
        super().__init__()
        self._multiplier, self._parallel = stack.residual_multiplier, stack.norm.parallel
        self._branches = ["self_attn"]
        self.self_attn = SelfAttention(stack, plan, number)
        if stack.mlp[number].kind != "none":
            self._branches.append("mlp")
            self.mlp = FeedForward(stack.mlp[number], plan, number)
        self._names = NORMS[stack.norm.placement]
        for _, names in zip(self._branches, self._names, strict=False):
            for name in filter(None, names):
                self.add_module(name, _norm(stack))

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual stream after the block (rows, T, d)."""
        start = x
        for branch, (before, after, total) in zip(self._branches, self._names, strict=False):
            y = getattr(self, branch)(self._normed(before, start if self._parallel else x))
            x = self._normed(total, x + self._multiplier * self._normed(after, y))
        return x

    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what attention makes of the residual stream: see `SelfAttention.look`."""
        found: tuple[Tensor, Tensor] = self.self_attn.look(self._normed(self._names[0][0], x))
        return found

    def _normed(self, name: str, x: Tensor) -> Tensor:
        return getattr(self, name)(x) if name else x


class SelfAttention(nn.Module):
    """One attention layer, as `ropeleak.spec.Attention` describes it."""

    cos: Tensor
    sin: Tensor
    visible: Tensor
    factor: Tensor
    bias: Tensor

    def __init__(self, stack: "Stack", plan: "Plan", number: int) -> None:
        super().__init__()
        attention = stack.attention[number]
        drawn = weights.attention_weights(plan, number, 0)
        for name in "qkvo":
            self.add_module(f"{name}_proj", _linear(drawn[name]))
        self._spec, self._rope = attention, attention.rope
        self._heads, self._groups, size = stack.n_heads, stack.n_kv_heads, stack.d_head
        self._eps = _eps(stack)
        if attention.qk_norm in ("head", "projection"):
            whole = attention.qk_norm == "projection"
            heads = (stack.n_heads, stack.n_kv_heads) if whole else (1, 1)
            self.q_norm, self.k_norm = (nn.RMSNorm(n * size, eps=_eps(stack)) for n in heads)
        if attention.softmax.sink_logit is not None:
            self.sinks = nn.Parameter(torch.as_tensor(drawn["null"], dtype=torch.float32))
        self._scale = stack.score_scale(attention)
        if attention.qk_norm != "none":
            self._scale = stack.score_std(number) / sqrt(size * stack.rotary_gain(attention))
        for name, value in _by_position(stack, attention).items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, u: Tensor) -> Tensor:
        """Return what the heads write to the residual stream (rows, T, d)."""
        rows, tokens, _ = u.shape
        q, k, v = self._projections(u)
        if self._spec.softmax.kind == "softmax" and not self._null and not self._cap:
            q = q * (self._scale * self.factor)
            o = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.visible, scale=1.0)
        else:
            scores = self._scores(q, k)
            o = self.weights(scores, self._log_z(scores)) @ v
        written: Tensor = self.o_proj(o.transpose(1, 2).reshape(rows, tokens, -1))
        return written

    @property
    def _null(self) -> bool:
        return self._spec.softmax.null_logit is not None

    @property
    def _cap(self) -> float | None:
        return self._spec.softmax.softcap

    def _projections(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return rotated queries and keys, and values, each (rows, heads, T, size)."""
        q, k, v = self.q_proj(u), self.k_proj(u), self.v_proj(u)
        kind = self._spec.qk_norm
        if kind == "projection":
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = _split(q, self._heads), _split(k, self._groups), _split(v, self._groups)
        if kind == "head":
            q, k = self.q_norm(q), self.k_norm(k)
        if self._rope is not None:
            q, k = (rotate(x, self.cos, self.sin, self._rope) for x in (q, k))
        if kind == "l2":
            q, k = (functional.rms_norm(x, x.shape[-1:], eps=self._eps) for x in (q, k))
        repeats = self._heads // self._groups
        return q, k.repeat_interleave(repeats, dim=1), v.repeat_interleave(repeats, dim=1)

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        """Return scores (rows, heads, T, T)."""
        scores = self._scale * q @ k.transpose(-1, -2)
        if self._cap is not None:
            scores = self._cap * torch.tanh(scores / self._cap)
        return scores * self.factor

    def _log_z(self, scores: Tensor) -> Tensor:
        """Return log denominators (rows, heads, T)."""
        if self._spec.softmax.kind == "sigmoid":
            return -self.bias.squeeze(-1).expand(scores.shape[:-1])
        log_z = scores.masked_fill(~self.visible, -torch.inf).logsumexp(-1)
        if not self._null:
            return log_z
        logits = self.sinks if self._spec.softmax.sink_logit is not None else log_z.new_zeros(1)
        return torch.logaddexp(log_z, logits[:, None])

    def look(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and their log denominators, (rows, heads, T, T) and (rows, heads, T)."""
        q, k, _ = self._projections(u)
        scores = self._scores(q, k)
        return scores, self._log_z(scores)

    def weights(self, scores: Tensor, log_z: Tensor) -> Tensor:
        """Return attention weights (rows, heads, T, T) from what `look` returns."""
        above = (scores - log_z.unsqueeze(-1)).masked_fill(~self.visible, -torch.inf)
        weigh = torch.sigmoid if self._spec.softmax.kind == "sigmoid" else torch.exp
        found: Tensor = weigh(above)
        return found


class FeedForward(nn.Module):
    """A plain or gated MLP."""

    def __init__(self, mlp: "Mlp", plan: "Plan", number: int) -> None:
        super().__init__()
        self._spec, self._activation = mlp, ACTIVATIONS[mlp.activation]
        drawn = weights.mlp_weights(plan, number, 0)
        for name in ("gate", "up", "down") if mlp.kind == "gated" else ("up", "down"):
            self.add_module(f"{name}_proj", _linear(drawn[name]))

    def forward(self, u: Tensor) -> Tensor:
        """Return what the MLP writes to the residual stream (rows, T, d)."""
        up, scale, limit = self.up_proj(u), self._spec.activation_scale, self._spec.limit
        if self._spec.kind == "gated":
            gate = self.gate_proj(u)
            if limit is not None:
                up, gate = up.clamp(-limit, limit), gate.clamp(max=limit)
            hidden = self._activation(gate, scale) * (up + self._spec.offset)
        else:
            hidden = self._activation(up, scale)
        written: Tensor = self.down_proj(hidden)
        return written


def rotate(x: Tensor, cos: Tensor, sin: Tensor, rope: "Rope") -> Tensor:
    """Return queries or keys (…, T, size), each pair of features turned by (T, pairs) angles."""
    pairs = cos.shape[-1]
    turned, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    if rope.layout == "half":
        a, b = turned[..., :pairs], turned[..., pairs:]
        return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1)
    a, b = turned[..., 0::2], turned[..., 1::2]
    both = torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1)
    return torch.cat([both.flatten(-2), rest], dim=-1)


def _by_position(stack: "Stack", attention: "Attention") -> dict[str, Tensor]:
    """Return what a layer knows of every position: rotations, visible keys, factors, biases."""
    query = np.arange(stack.context)
    keys, soft = attention.key_range(query, stack.context), attention.softmax
    i, j = query[:, None], query
    visible = ((keys.first[:, None] <= j) & (j < keys.stop[:, None])) | (j < keys.sinks[:, None])
    bias = -np.log(keys.n_keys) if soft.bias is None else np.full(i.size, soft.bias)
    found: dict[str, Any] = {
        "visible": visible, "factor": soft.query_scale(query, keys.n_keys)[:, None],
        "bias": bias[:, None],
    }  # fmt: skip
    if attention.rope is not None:
        frequencies = attention.rope.inverse_frequencies(stack.d_head, stack.context)
        scale = attention.rope.attention_scale(stack.context)
        angle = np.outer(query, frequencies)
        found |= {"cos": scale * np.cos(angle), "sin": scale * np.sin(angle)}
    return {k: torch.as_tensor(v, dtype=None if v.dtype == bool else torch.float32)
            for k, v in found.items()}  # fmt: skip


def _split(x: Tensor, heads: int) -> Tensor:
    """(rows, T, heads·size) as (rows, heads, T, size)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _norm(stack: "Stack") -> nn.Module:
    if stack.norm.kind == "layer":
        return nn.LayerNorm(stack.d_model, eps=_eps(stack), bias=False)
    return nn.RMSNorm(stack.d_model, eps=_eps(stack))


def _eps(stack: "Stack") -> float:
    return max(stack.norm.eps, TINY)


def _linear(matrix: Any) -> nn.Linear:
    outputs, inputs = matrix.shape
    layer = nn.Linear(inputs, outputs, bias=False)
    _fill(layer.weight, matrix)
    return layer


def _fill(parameter: Tensor, values: Any) -> None:
    with torch.no_grad():
        parameter.copy_(torch.as_tensor(values, dtype=torch.float32))


def _embedding(stack: "Stack", seed: int) -> Any:
    """Return the embedding (vocabulary, d): variance v0, of which all tokens share ``alpha``."""
    random = np.random.default_rng([seed, EMBEDDING])
    std, d = sqrt(stack.embedding_var), stack.d_model
    own, shared = random.normal(0, std, (VOCABULARY, d)), random.normal(0, std, d)
    own = sqrt(1 - stack.alpha) * own + sqrt(stack.alpha) * shared
    if stack.bos.kind == "zero":
        own[BOS_ID] = 0
    return own
