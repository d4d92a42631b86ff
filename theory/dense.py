"""A recursion of kernels on all positions in the wide limit, whatever attention does to them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ropeleak.observables import dataset
from ropeleak.spec import Attention, Stack

from .grid import RESOLUTIONS, Positions, dense_grid, log_grid
from .leak import widest_offset
from .mean_field import AUTO_DENSE, Keep, Recorder
from .memory import check_memory
from .mlp import horner, mlp_kernel
from .provenance import of_any_method, package_version
from .reach import reaches
from .recursion import initial_state

Array = NDArray[np.float64]
Kernels = dict[str, Array]
"""``K``, ``Q`` and ``Q_common`` (T, T), by name; their diagonals included."""

_TINY = 1e-300


class Rows(NamedTuple):
    """What a block's attention shows: per query (T,), and mean squares over the band."""

    log_z: Array
    sink: Array
    n_keys: Array
    mask: float
    residual: float
    cross: float


class Band:
    """The entries of offsets ``1 ≤ Δ ≤ Δ_max``, each counting the same, offset by offset."""

    def __init__(self, stack: Stack, block: int) -> None:
        offsets = np.arange(1, widest_offset(stack, block) + 1)
        sizes = stack.context - offsets
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]) if offsets.size else offsets
        self._sizes = sizes
        self.query = np.concatenate([np.arange(d, stack.context) for d in offsets] or [offsets])
        self.key = self.query - np.repeat(offsets, sizes)

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(self.query.size)

    def centred(self, entries: Array) -> Array:
        """Return entries (…, N) less their mean at the same offset."""
        means = np.add.reduceat(entries, self._starts, axis=-1) / self._sizes
        return np.asarray(entries - np.repeat(means, self._sizes, axis=-1))

    def mean_square(self, per_query: Array) -> float:
        """Return the centred mean square of what depends on the query alone (T,)."""
        return float((self.centred(per_query[self.query]) ** 2).mean()) if self.size else 0.0


Attend = Callable[[int, Kernels], tuple[Kernels, Rows]]
"""From a block and the kernels that its attention reads, to those that it writes, and its rows."""


def start(stack: Stack) -> Kernels:
    """Return the kernels of the embedding."""
    state = initial_state(stack, dense_grid(stack.context))
    return {
        "K": state.same.matrix,
        "Q": state.other["bos"].pairs,
        "Q_common": state.other["common"].pairs,
    }


def scaled(kernels: Kernels, factor: Array | float) -> Kernels:
    """Return the kernels of ``factor_i x_i``."""
    both = np.multiply.outer(factor, factor)
    return {name: kernel * both for name, kernel in kernels.items()}


def normalised(kernels: Kernels, eps: float) -> Kernels:
    """Return the kernels after a norm."""
    return scaled(kernels, 1 / np.sqrt(np.maximum(np.diag(kernels["K"]) + eps, _TINY)))


def summed(stream: Kernels, branch: Kernels) -> Kernels:
    """Return the kernels of the sum of two independent streams."""
    return {name: kernel + branch[name] for name, kernel in stream.items()}


def mlp_kernels(stack: Stack, block: int, u: Kernels) -> Kernels:
    """Return what an MLP of infinite width writes."""
    size = np.maximum(np.diag(u["K"]), _TINY)
    polynomial = mlp_kernel(stack, block, size).between(slice(None), slice(None))
    inverse = 1 / np.sqrt(size)
    scale = np.outer(inverse, inverse)
    return {
        name: horner(polynomial, np.clip(kernel * scale, -1.0, 1.0)) for name, kernel in u.items()
    }


def run(stack: Stack, attend: Attend) -> Iterator[tuple[Kernels, Rows | None]]:
    """Yield the kernels of the embedding, then after every block, with the block's rows."""
    norm, eps = stack.norm, stack.norm.eps

    def read(stream: Kernels) -> Kernels:
        return normalised(stream, eps) if norm.before_branch else stream

    def write(branch: Kernels) -> Kernels:
        branch = normalised(branch, eps) if norm.after_branch else branch
        return scaled(branch, np.full(stack.context, stack.residual_multiplier))

    def settle(stream: Kernels) -> Kernels:
        return normalised(stream, eps) if norm.after_sum else stream

    stream = start(stack)
    yield stream, None
    for block in range(stack.n_blocks):
        before = stream
        branch, rows = attend(block, read(before))
        gain = np.full(stack.context, np.sqrt(stack.attention_gain(block)))
        stream = settle(summed(before, write(scaled(branch, gain))))
        if stack.mlp[block].kind != "none":
            source = read(before if norm.parallel else stream)
            stream = settle(summed(stream, write(mlp_kernels(stack, block, source))))
        yield stream, rows


def observables(
    stack: Stack, attend: Attend, keep: Keep, progress: Callable[[int], None] | None
) -> dict[str, Array]:
    """Return the observables at all positions by name; leaks are mean squares, nats²."""
    record = Recorder()
    for depth, (kernels, rows) in enumerate(run(stack, attend)):
        k, q, common = (np.diag(kernels[name]).copy() for name in ("K", "Q", "Q_common"))
        fingerprint = (q - common) * stack.bos.is_constant
        record.add(
            k_diag=k,
            q_diag=q,
            q_common=common,
            k_bos=kernels["K"][0].copy(),
            beacon=fingerprint / np.maximum(k, _TINY),
        )
        if keep == "full":
            record.add(**kernels)
        if rows is None:
            continue
        record.add(
            log_z=rows.log_z,
            sink=rows.sink,
            sink_excess=rows.sink * rows.n_keys,
            leak_mask=rows.mask,
            leak_residual=rows.residual,
            leak_total=rows.residual + rows.mask - 2 * rows.cross,
        )
        if progress is not None:
            progress(depth)
    return record.arrays()


def finished(
    stack: Stack,
    values: dict[str, Array],
    positions: Positions,
    method: str,
    approximations: list[str],
) -> xr.Dataset:
    """Return the dataset of observables at all positions, or at a log-spaced choice of them."""
    values = {**values, "reach": np.array(reaches(stack), dtype=float)}
    nodes = np.arange(stack.context)
    beyond = nodes[None, :] > values["reach"][:, None]
    values["beacon"] = np.where(beyond, 0.0, np.clip(values["beacon"], 0.0, 1.0))
    attributes = {
        "method": method,
        "positions": "dense",
        "stack": stack.model_dump_json(),
        "ropeleak": package_version(),
        "approximations": "\n".join(
            [*stack.approximations, *of_any_method(stack), *approximations]
        ),
    }
    whole = dataset(values, stack.n_blocks, nodes, attributes)
    if positions == "dense" or (positions == "auto" and stack.context <= AUTO_DENSE):
        return whole
    positions = "grid" if positions == "auto" else positions
    chosen = log_grid(stack, resolution=RESOLUTIONS[positions]).nodes
    axes = {axis: chosen for axis in ("query", "key") if axis in whole.dims}
    return whole.sel(axes).assign_attrs(positions=positions)


def check(stack: Stack, keep: Keep) -> None:
    """Raise `RopeleakError` if all positions need more memory than is allowed."""
    check_memory(stack, dense_grid(stack.context), keep)


class Mask:
    """The averaging matrix of a layer's mask on all positions, by running sums."""

    def __init__(self, attention: Attention, context: int) -> None:
        self.keys = attention.key_range(np.arange(context), context)
        self.n_keys = self.keys.n_keys.astype(float)

    def average(self, kernel: Array) -> Array:
        """Return ``U kernel Uᵀ`` (T, T)."""
        return self._rows(self._rows(kernel).T).T

    def _rows(self, matrix: Array) -> Array:
        sums = np.zeros((matrix.shape[0] + 1, matrix.shape[1]))
        np.cumsum(matrix, axis=0, out=sums[1:])
        keys = self.keys
        total = sums[keys.stop] - sums[keys.first] + sums[keys.sinks]
        return np.asarray(total / self.n_keys[:, None])

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Which keys each query sees (T, T)."""
        j = np.arange(self.n_keys.size)
        keys = self.keys
        own = (j >= keys.first[:, None]) & (j < keys.stop[:, None])
        return np.asarray(own | (j < keys.sinks[:, None]))
