"""One draw of weights: all contents through the stack, a kernel at a time."""

from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ropeleak.errors import RopeleakError

from . import _kernels as kernels
from .plan import Plan

Floats = NDArray[np.float64]
Array = NDArray[Any]


class Sample(NamedTuple):
    """What one draw of weights leaves behind.

    Attributes
    ----------
    k_diag, q_diag, q_common, k_bos
        (L+1, T).
    log_z, sink
        (L, T).
    leak
        Mean squares of mask and residual leak and their product (L, 3), nats².
    mean_score, first_score
        Mean score of the visible keys, and what that of token 0 exceeds it by (L, T): their mean
        over weights is 0, so they tell what of ``log_z`` and ``sink`` is chance. 0 where queries
        and keys are not independent or a bias points at a key.
    full
        ``K``, ``Q`` and ``Q∅`` (3, L+1, T, T), or without depths where they are not wanted.
    """

    k_diag: Floats
    q_diag: Floats
    q_common: Floats
    k_bos: Floats
    log_z: Floats
    sink: Floats
    leak: Floats
    mean_score: Floats
    first_score: Floats
    full: Floats


def empty_sample(plan: Plan, full: bool) -> Sample:
    """Return a sample of zeros."""
    blocks, context = plan.blocks.size, int(plan.sizes[0]["context"])
    matrices = (3, blocks + 1, context, context) if full else (3, 0, 0, 0)
    return Sample(
        k_diag=np.zeros((blocks + 1, context)),
        q_diag=np.zeros((blocks + 1, context)),
        q_common=np.zeros((blocks + 1, context)),
        k_bos=np.zeros((blocks + 1, context)),
        log_z=np.zeros((blocks, context)),
        sink=np.zeros((blocks, context)),
        leak=np.zeros((blocks, 3)),
        mean_score=np.zeros((blocks, context)),
        first_score=np.zeros((blocks, context)),
        full=np.zeros(matrices),
    )


def aligned(*shape: int, dtype: DTypeLike) -> Array:
    """Return an array of zeros that starts on a cache line."""
    item = np.dtype(dtype).itemsize
    size = prod(shape)
    flat = np.zeros(size + 64 // item, dtype)
    start = (-flat.ctypes.data % 64) // item
    return flat[start : start + size].reshape(shape)


Shape = tuple[int, ...]


def room_shapes(plan: Plan, index: int, keep: bool = False) -> dict[str, Shape]:
    """Return the arrays that a layer's kernel works in, in the plan's precision, by name.

    ``keep`` is whether there is room for the scores and weights of every head and content.
    """
    sizes, layer = plan.sizes[0], plan.layers[index]
    names = ("size", "d_nope", "d_value", "q_rank", "kv_rank", "most_keys", "groups")
    size, d_nope, d_value, q_rank, kv_rank, keys, groups = (int(layer[name]) for name in names)
    d, ld, context = int(sizes["d"]), int(sizes["ld"]), int(sizes["context"])
    heads, rotary = int(sizes["heads"]) // groups, q_rank + kv_rank + size - d_nope
    rows = keys + kernels.TILE
    vectors = ("top", "z", "seen", "by_query_part", "squares")
    return {
        "w_query": (heads * size, q_rank or d),
        "w_key": (d_nope, kv_rank or d),
        "w_value": (d_value, kv_rank or d),
        "w_output": (d, heads * d_value),
        "w_latent": (rotary if kv_rank else 0, d),
        "latents": (plan.inputs, rotary if kv_rank else 0, ld),
        "q": (heads * size, ld),
        "k": (size, ld),
        "v": (d_value, ld),
        "turned": (heads * size, ld),
        "sink": (size if layer["sink_bias"] else 0, ld),
        "mixed": (heads * d_value, ld),
        "scores": (rows, kernels.WIDTH),
        "behind": (rows if layer["ring"] else 1, kernels.WIDTH),
        **dict.fromkeys(vectors, (kernels.WIDTH,)),
        "total": (heads, context, ld),
        "by_offset": (kernels.TILE, 2 * context + kernels.WIDTH),
        "kept": (2, int(sizes["contents"]), int(sizes["heads"]), *((context, ld) * keep or (0, 0))),
    }


class LayerRoom:
    """Memory for one attention layer: weights of a group, and what the kernel works in."""

    def __init__(self, plan: Plan, index: int, keep: bool) -> None:
        arrays = {
            name: aligned(*shape, dtype=plan.dtype)
            for name, shape in room_shapes(plan, index, keep).items()
        }
        sizes, heads = plan.sizes[0], arrays["total"].shape[0]
        context = int(sizes["context"])
        self.weights = tuple(
            arrays.pop(f"w_{name}") for name in ("query", "key", "value", "output")
        )
        self.latent_weights, self.latents = arrays.pop("w_latent"), arrays.pop("latents")
        self.logits = np.zeros(int(sizes["heads"]))
        self.inverse = np.zeros((2, plan.inputs, int(sizes["width"])))
        self.room = kernels.Room(
            **arrays,
            by_offset_all=np.zeros(context),
            by_query=np.zeros(context),
            log_z=np.zeros(context),
            first=np.zeros(context),
            score=np.zeros(context),
            first_score=np.zeros(context),
            sums=np.zeros((heads, 3, context)),
        )


def needed_bytes(plan: Plan, full: bool) -> float:
    """Return about how much memory one thread of draws takes, without its samples."""
    sizes, item = plan.sizes[0], plan.dtype.itemsize
    d, ld = int(sizes["d"]), int(sizes["ld"])
    streams = 3 + (1 if (plan.blocks["shared"] > 0).any() else 0)
    rooms = sum(
        prod(shape) for k in range(plan.layers.size) for shape in room_shapes(plan, k).values()
    )
    hidden = min(int(plan.blocks["d_ff"].max()), kernels.MLP_ROWS)
    experts = int(plan.blocks["experts"].max())
    routed = 2 * plan.inputs * d * ld + experts * (d + ld) if experts else 0
    matrices = ld * (int(sizes["context"]) + d) if full else 0
    mlp = (plan.blocks["mlp"] != kernels.MLP_NONE).any() * hidden * (3 * d + 2 * ld)
    return float(item * (streams * plan.inputs * d * ld + rooms + mlp + routed + matrices))


class Forward:
    """Runs draws of one plan, in memory of its own: one for each thread.

    Parameters
    ----------
    plan
        The plan.
    full
        Whether samples hold the matrices ``K``, ``Q`` and ``Q∅``.
    keep
        Whether the scores and weights of the latest block are kept.

    Attributes
    ----------
    x
        Residual stream of every content after the latest draw (contents, d, ld).
    """

    def __init__(self, plan: Plan, full: bool = False, keep: bool = False) -> None:
        sizes = plan.sizes[0]
        shape = (plan.inputs, int(sizes["d"]), int(sizes["ld"]))
        self.plan, self.full = plan, full
        self.x, self._u, self._y = (aligned(*shape, dtype=plan.dtype) for _ in range(3))
        self._rows = [plan.rows(index) for index in range(plan.layers.size)]
        self._rooms = [LayerRoom(plan, index, keep) for index in range(plan.layers.size)]

    def run(self, draw: int) -> Sample:
        """Return the statistics of one draw; its number and the seed decide everything.

        Raises
        ------
        RopeleakError
            If numbers leave the range of the plan's precision.
        """
        plan, sizes = self.plan, self.plan.sizes[0]
        sample = empty_sample(plan, self.full)
        kernels.embed(sizes, draw, self.x)
        self._record(sample, 0)
        for number in range(plan.blocks.size):
            self._read()
            out = kernels.Rowwise(
                sample.log_z[number], sample.sink[number], sample.leak[number],
                sample.mean_score[number], sample.first_score[number],
            )  # fmt: skip
            self._attention(number, draw, out)
            self._check(out.log_z, f"in block {number + 1}")
            self._centre_scores(number, out)
            self._write()
            if plan.blocks[number]["mlp"] != kernels.MLP_NONE:
                if not sizes["parallel"]:
                    self._read()
                self._mlp(number, draw)
                self._write()
            self._record(sample, number + 1)
            self._check(sample.k_diag[number + 1], f"after block {number + 1}")
        return sample

    def _check(self, values: Floats, where: str) -> None:
        if not np.isfinite(values).all():
            raise RopeleakError(
                f"the numbers of this stack leave the range of {self.plan.dtype} {where}: use"
                " precision='float64', smaller scores or smaller gains"
            )

    def _record(self, sample: Sample, depth: int) -> None:
        sizes = self.plan.sizes[0]
        kernels.record_state(
            sizes, self.x, depth, sample.k_diag, sample.q_diag, sample.q_common, sample.k_bos
        )
        if self.full:
            kernels.record_matrices(sizes, self.x, depth, sample.full)

    def _read(self) -> None:
        """Give the next branch its input."""
        sizes = self.plan.sizes[0]
        if sizes["before_branch"]:
            self._normalise(self.x, self._u)
        else:
            self._u[:] = self.x

    def _write(self) -> None:
        """Add a branch's output to the residual stream."""
        sizes = self.plan.sizes[0]
        if sizes["after_branch"]:
            self._normalise(self._y, self._y)
        kernels.add_all(self.x, self._y, sizes["residual"], sizes["width"])
        if sizes["after_sum"]:
            self._normalise(self.x, self.x)

    def _normalise(self, x: Array, out: Array) -> None:
        sizes = self.plan.sizes[0]
        kernels.normalise_all(x, out, sizes["width"], sizes["norm"], sizes["eps"])

    def _attention(self, number: int, draw: int, out: kernels.Rowwise) -> None:
        plan, u = self.plan, self._u
        sizes, block = plan.sizes[0], plan.blocks[number]
        layer, rows = plan.layers[block["layer"]], self._rows[block["layer"]]
        place = self._rooms[block["layer"]]
        width = int(sizes["width"])
        if layer["has_null"]:
            kernels.draw_null_logits(sizes, layer, number, draw, place.logits)
        if layer["kv_rank"]:
            kernels.draw_latent_weights(sizes, block, layer, number, draw, place.latent_weights)
            kernels.latents(layer, u, place.latent_weights, place.latents, width)
        if layer["qk_norm"] == kernels.QK_PROJECTION:
            self._whole_projections(number, draw, place)
        heads = int(sizes["heads"] // layer["groups"])
        for group in range(int(layer["groups"])):
            if not sizes["parameter_free"]:
                kernels.draw_attention_weights(sizes, block, number, draw, group, place.weights)
            kernels.attend_group(
                sizes, layer, rows, group, u, place.latents, place.weights,
                place.logits[group * heads : (group + 1) * heads], place.inverse, place.room,
                self._y, out,
            )  # fmt: skip
        counted, heads = int(sizes["contents"]), int(sizes["heads"])
        for sums in (out.log_z, out.sink, out.score, out.first_score):
            sums[:] /= heads * counted
        out.leak[:] /= max(float(layer["entries"]) * heads * counted * (counted - 1), 1.0)

    def _centre_scores(self, number: int, out: kernels.Rowwise) -> None:
        """Turn sums of scores into numbers whose mean over weights is 0, or 0 where it is not."""
        plan, block = self.plan, self.plan.blocks[number]
        layer = int(block["layer"])
        biased = block["alignment"] or plan.layers[layer]["sink_bias"]
        if biased or plan.sizes[0]["parameter_free"]:
            out.score[:] = out.first_score[:] = 0
            return
        query = np.arange(out.score.size)
        first = (plan.seen_from[layer, 0] <= query) & (query < plan.seen_to[layer, 0])
        out.score[:] /= plan.n_keys[layer]
        out.first_score[:] = np.where(first, out.first_score - out.score, 0)

    def _whole_projections(self, number: int, draw: int, place: LayerRoom) -> None:
        """Find the inverse RMS of all heads' queries together, and of all keys."""
        sizes, block = self.plan.sizes[0], self.plan.blocks[number]
        layer, room = self.plan.layers[block["layer"]], place.room
        place.inverse[:] = 0
        for group in range(int(layer["groups"])):
            kernels.draw_attention_weights(sizes, block, number, draw, group, place.weights)
            kernels.add_projection_squares(
                self._u, place.weights, room.q, room.k, place.inverse, int(sizes["width"])
            )
        for kind, heads in enumerate((int(sizes["heads"]), int(layer["groups"]))):
            mean = place.inverse[kind] / (heads * int(layer["size"]))
            place.inverse[kind] = 1 / np.sqrt(np.maximum(mean, kernels.TINY))

    def _mlp(self, number: int, draw: int) -> None:
        sizes, block = self.plan.sizes[0], self.plan.blocks[number]
        if block["experts"]:
            kernels.mixture(sizes, block, number, draw, self._u, self._y)
        else:
            width = int(sizes["width"])
            kernels.feed_forward(sizes, block, number, draw, 0, self._u, self._y, width)
