r"""The sampled mean field: ``Φ`` averaged over random heads instead of closed forms.

As the closed recursion, in the limit of many heads and infinite width, but nothing about the
softmax is approximated: scores of all rows are drawn together, from Gaussian processes with the
kernels as covariance, RoPE, alignment, head size, caps and sink logits included. Chains are run
apart from each other, each with its own heads; their spread gives the standard errors.
"""

from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError
from ropeleak.spec import Stack

from .dense import Kernels, Rows, check, finished, observables
from .grid import Positions
from .heads import Draw, Heads, factor
from .mean_field import Keep

Array = NDArray[np.float64]

METHOD = "sampled"
_LEAKS = ("leak_mask", "leak_residual", "leak_total")
_BATCH_BYTES = 2**26
"""Memory of the attention weights of one batch of heads."""


def predict(
    stack: Stack,
    *,
    keep: Keep = "summary",
    positions: Positions = "auto",
    progress: Callable[[int], None] | None = None,
    heads: int = 64,
    chains: int = 8,
    replicas: int = 2,
    seed: int = 0,
) -> xr.Dataset:
    """Return every observable of ``stack`` from sampled heads, with standard errors.

    Parameters
    ----------
    stack
        The architecture.
    keep
        ``full`` adds the matrices ``K``, ``Q`` and ``Q_common`` (depth, query, key).
    positions
        What is reported: all positions (``dense``) or a log-spaced choice (``grid``). All are
        computed.
    progress
        Called with the number of finished blocks, all chains taken together.
    heads
        Heads that each chain draws in every block.
    chains
        Recursions that are run apart from each other, at least 2.
    replicas
        Inputs that go through the same heads, at least 2.
    seed
        Of the random numbers.

    Returns
    -------
    xarray.Dataset
        With the variables of `ropeleak.observables`, and ``<name>_se`` for each but ``reach``.

    Raises
    ------
    RopeleakError
        If a number of samples is too small, or all positions need more memory than may be used.

    Notes
    -----
    The kernels of a chain are averages over ``heads`` heads and carry their noise into the next
    block, whose scores do not depend on them linearly: a bias of the order of one over ``heads``.
    """
    for name, value, least in (
        ("heads", heads, 1), ("chains", chains, 2), ("replicas", replicas, 2),
    ):  # fmt: skip
        if value < least:
            raise RopeleakError(f"{name}={value} is too few samples: give at least {least}")
    check(stack, keep)
    made = [Heads.of(stack, block) for block in range(stack.n_blocks)]
    found: list[dict[str, Array]] = []
    for number, stream in enumerate(np.random.default_rng(seed).spawn(chains)):

        def attend(
            block: int, u: Kernels, rng: np.random.Generator = stream
        ) -> tuple[Kernels, Rows]:
            return attention(made[block], u, heads, replicas, rng)

        def passed(block: int, chain: int = number) -> None:
            if progress is not None:
                progress((chain * stack.n_blocks + block) // chains)

        found.append(observables(stack, attend, keep, passed))
    values: dict[str, Array] = {}
    for name in found[0]:
        values |= _summary(name, np.array([chain[name] for chain in found]))
    return finished(stack, values, positions, METHOD, [])


def attention(
    heads: Heads, u: Kernels, n_heads: int, replicas: int, rng: np.random.Generator
) -> tuple[Kernels, Rows]:
    """Return what sampled heads write for unit gain, and their rows.

    ``Φ[K]`` averages ``a K aᵀ`` over heads and inputs, ``Φ[Q]`` averages ``a Q bᵀ`` over pairs of
    inputs.
    """
    own = u["K"] - u["Q"]
    roots = factor(u["Q"]), factor(own)
    context = own.shape[0]
    batch = max(1, min(n_heads, _BATCH_BYTES // (8 * replicas * context**2)))
    same, other = np.zeros_like(own), np.zeros_like(own)
    log_z, sink = np.zeros(context), np.zeros(context)
    squares = np.zeros(3)
    for first in range(0, n_heads, batch):
        count = min(batch, n_heads - first)
        drawn = heads.draw(own, *roots, count, replicas, rng, with_bos=heads.stack.bos.is_constant)
        same += _within(drawn.weights, u["K"]) / (n_heads * replicas)
        other += _between(drawn.weights, u["Q"]) / (n_heads * replicas * (replicas - 1))
        log_z += drawn.log_z.mean(1).sum(0) / n_heads
        sink += drawn.weights[..., 0].mean(1).sum(0) / n_heads
        squares += _leaks(heads, drawn) * (count / n_heads)
    written = {"K": same, "Q": other, "Q_common": u["Q_common"]}
    if np.array_equal(u["Q_common"], u["Q"]):
        written["Q_common"] = other
    elif u["Q_common"].any():
        written["Q_common"] = _common(heads, u, n_heads, replicas, batch, rng)
    rows = Rows(log_z, sink, heads.mask.n_keys, *squares.tolist())
    return written, rows


def _common(
    heads: Heads, u: Kernels, n_heads: int, replicas: int, batch: int, rng: np.random.Generator
) -> Array:
    """Return ``Φ[Q∅]``: as for ``Q``, from inputs that share ``Q∅`` only."""
    shared = u["Q_common"]
    own = u["K"] - shared
    roots = factor(shared), factor(own)
    written = np.zeros_like(own)
    for first in range(0, n_heads, batch):
        count = min(batch, n_heads - first)
        weights = heads.draw(own, *roots, count, replicas, rng, with_bos=False).weights
        written += _between(weights, shared) / (n_heads * replicas * (replicas - 1))
    return written


def _within(weights: Array, kernel: Array) -> Array:
    """Return ``Σ a kernel aᵀ`` over heads and inputs (T, T)."""
    flat = weights.reshape(-1, *kernel.shape)
    return np.asarray(np.tensordot(flat @ kernel, flat, axes=((0, 2), (0, 2))))


def _between(weights: Array, kernel: Array) -> Array:
    """Return ``Σ a kernel bᵀ`` over heads and pairs of different inputs (T, T)."""
    every = _within(weights.sum(1, keepdims=True), kernel)
    return np.asarray(every - _within(weights, kernel))


def _leaks(heads: Heads, drawn: Draw) -> Array:
    """Return the mean squares of the mask and the residual leak, and their cross term (3,)."""
    band = heads.band
    if not band.size:
        return np.zeros(3)
    log_z = band.centred(drawn.log_z[..., band.query])
    if drawn.shared is not None:
        score = band.centred(drawn.shared)
        residual = (score**2).mean()
        cross = (score[:, None] * log_z).mean()
    else:
        score = band.centred(drawn.band)
        residual, cross = _distinct(score, score), _distinct(score, log_z)
    return np.array([_distinct(log_z, log_z), residual, cross])


def _distinct(x: Array, y: Array) -> float:
    """Return the mean of ``x^a y^b`` over heads, entries and pairs of different inputs."""
    inputs = x.shape[1]
    total = (x.sum(1) * y.sum(1)).mean() - (x * y).sum(1).mean()
    return float(total / (inputs * (inputs - 1)))


def _summary(name: str, chains: Array) -> dict[str, Array]:
    """Return the mean over chains and its standard error; leaks as roots of mean squares."""
    mean = chains.mean(0)
    error = chains.std(0, ddof=1) / np.sqrt(chains.shape[0])
    if name in _LEAKS:
        root = np.sqrt(np.maximum(mean, 0.0))
        # near 0 the error of the root is the root of the error
        return {name: root, f"{name}_se": error / np.maximum(2 * root, np.sqrt(error) + 1e-300)}
    return {name: mean, f"{name}_se": error}
