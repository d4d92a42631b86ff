"""One set of weights: all contents through the stack, a kernel at a time."""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ropeleak.errors import RopeleakError

from . import _kernels as kernels
from .controls import content_pairs, linear_chance, ramp
from .mlp import MlpRoom
from .plan import Plan
from .room import aligned
from .source import Drawn, Scale, Source

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
        Mean score of the visible keys, and what that of token 0 exceeds it by (L, T).
    state_chance, leak_chance, full_chance
        Twice the products of the residual stream with what is added to it, as ``k_diag, q_diag,
        q_common, k_bos`` (4, L+1, T) and as ``full``; and parts of ``leak``.
    full
        ``K``, ``Q`` and ``Q∅`` (3, L+1, T, T), or without depths where they are not wanted.
    head_leak, head_sink
        ``leak`` and ``sink`` of every head (L, H, 3) and (L, H, T), or without heads where they
        are not wanted.

    Scores and chances are control variates: their mean over weights is 0 exactly, so they tell what
    of the other statistics is chance. They are 0 where that does not hold, or is not wanted.
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
    state_chance: Floats
    leak_chance: Floats
    full_chance: Floats
    full: Floats
    head_leak: Floats
    head_sink: Floats


def empty_sample(plan: Plan, full: bool, by_head: bool = False) -> Sample:
    """Return a sample of zeros."""
    blocks, context = plan.blocks.size, int(plan.sizes[0]["context"])
    heads = int(plan.sizes[0]["heads"]) if by_head else 0
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
        state_chance=np.zeros((4, blocks + 1, context)),
        leak_chance=np.zeros((blocks, 3)),
        full_chance=np.zeros(matrices),
        full=np.zeros(matrices),
        head_leak=np.zeros((blocks, heads, 3)),
        head_sink=np.zeros((blocks, heads, context)),
    )


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
    """Memory for one attention layer: weights of a group, and what the kernel works in.

    With ``keep`` the scores and weights of every head and content are kept.
    """

    def __init__(self, plan: Plan, index: int, keep: bool = False) -> None:
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
        self.no_vectors = kernels.Vectors(*[np.zeros(0, plan.dtype)] * 5)
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
    rooms = sum(
        prod(shape) for k in range(plan.layers.size) for shape in room_shapes(plan, k).values()
    )
    matrices = ld * (2 * d + ld + 4 * ld * 8 // item) if full else 0
    mlp = MlpRoom.needed_entries(plan)
    streams = 4 if sizes["parallel"] else 3
    return float(item * (streams * plan.inputs * d * ld + rooms + mlp + matrices))


class Forward:
    """Runs sets of weights of one plan, in memory of its own: one for each thread.

    Parameters
    ----------
    plan
        The plan.
    full, by_head
        Whether samples hold the matrices ``K``, ``Q`` and ``Q∅``, and numbers of every head.
    keep
        Whether the scores and weights of the latest block are kept.
    source
        Makes the source of a set of weights from its number; random draws unless given.

    Attributes
    ----------
    x
        Residual stream of every content (contents, d, ld).
    """

    def __init__(
        self,
        plan: Plan,
        full: bool = False,
        by_head: bool = False,
        keep: bool = False,
        source: Callable[[int], Source] | None = None,
    ) -> None:
        sizes = plan.sizes[0]
        shape = (plan.inputs, int(sizes["d"]), int(sizes["ld"]))
        self.plan, self.full, self.by_head = plan, full, by_head
        self._source = source or (lambda draw: Drawn(plan, draw))
        self.x, self._u, self._y = (aligned(*shape, dtype=plan.dtype) for _ in range(3))
        self._u_mlp = aligned(*shape, dtype=plan.dtype) if sizes["parallel"] else self._u
        self._rows = [plan.rows(index) for index in range(plan.layers.size)]
        self._ramps = [
            ramp(keys, int(layer["widest"]))
            for keys, layer in zip(plan.n_keys, plan.layers, strict=True)
        ]
        self._pairs = [
            content_pairs(
                int(sizes["contents"]), plan.inputs, int(sizes["d"]), int(sizes["context"]),
                int(layer["widest"]),
            )
            for layer in plan.layers
        ]  # fmt: skip
        self._rooms = [LayerRoom(plan, index, keep) for index in range(plan.layers.size)]
        self._mlp = MlpRoom(plan)

    def run(self, draw: int) -> Sample:
        """Return the statistics of one draw; its number and the seed decide everything.

        Raises
        ------
        RopeleakError
            If numbers leave the range of the plan's precision.
        """
        source, sample = self._source(draw), empty_sample(self.plan, self.full, self.by_head)
        self.start(source, sample)
        for number in range(self.plan.blocks.size):
            self.block(source, number, sample)
        return sample

    def start(self, source: Source, sample: Sample) -> None:
        """Put the embeddings into the residual stream."""
        source.embed(self.x)
        self._record(sample, 0)

    def block(self, source: Source, number: int, sample: Sample) -> None:
        """Take the residual stream through one block."""
        plan, sizes = self.plan, self.plan.sizes[0]
        self._read(source.norm(number, "before attention"), self._u)
        if sizes["parallel"]:
            self._read(source.norm(number, "before mlp"), self._u_mlp)
        for chance in (sample.state_chance, sample.full_chance):
            chance[:, number + 1 : number + 2] = chance[:, number : number + 1]
        expected = self._expected_residual(number)
        heads, band = self._attention(source, number)
        self._reduce(heads, band, expected, number, sample)
        self._check(sample.log_z[number], f"in block {number + 1}")
        self._write(source.norm(number, "after attention"), sample, number + 1)
        if plan.blocks[number]["mlp"] != kernels.MLP_NONE:
            if not sizes["parallel"]:
                self._read(source.norm(number, "before mlp"), self._u)
            self._mlp.run(source, number, self._u_mlp, self._y)
            self._write(source.norm(number, "after mlp"), sample, number + 1)
        self._record(sample, number + 1)
        self._check(sample.k_diag[number + 1], f"after block {number + 1}")

    def _check(self, values: Floats, where: str) -> None:
        if not np.isfinite(values).all():
            raise RopeleakError(
                f"the numbers of this stack leave the range of {self.plan.dtype} {where}: use"
                " precision='float64', smaller scores or smaller gains"
            )

    def _record(self, sample: Sample, depth: int) -> None:
        sizes, found = self.plan.sizes[0], np.empty((4, sample.k_diag.shape[1]))
        kernels.record_diagonals(sizes, self.x, self.x, found)
        states = (sample.k_diag, sample.q_diag, sample.q_common, sample.k_bos)
        for state, row in zip(states, found, strict=True):
            state[depth] = row
        if self.full:
            kernels.record_matrices(sizes, self.x, self.x, sample.full[:, depth])

    def _record_chance(self, sample: Sample, depth: int) -> None:
        """Record what a branch's output has in common with the stream that it is added to."""
        sizes, found = self.plan.sizes[0], np.empty((4, sample.k_diag.shape[1]))
        twice = 2 * float(sizes["residual"])
        kernels.record_diagonals(sizes, self.x, self._y, found)
        sample.state_chance[:, depth] += twice * found
        if self.full:
            matrices = np.empty_like(sample.full[:, depth])
            kernels.record_matrices(sizes, self.x, self._y, matrices)
            sample.full_chance[:, depth] += twice * matrices

    def _read(self, scale: Scale, out: Array) -> None:
        """Give the next branch its input."""
        if self.plan.sizes[0]["before_branch"]:
            self._normalise(self.x, out, scale)
        else:
            out[:] = self.x

    def _write(self, scale: Scale, sample: Sample, depth: int) -> None:
        """Add a branch's output to the residual stream."""
        sizes = self.plan.sizes[0]
        if sizes["after_branch"]:
            self._normalise(self._y, self._y, scale)
        if sizes["controls"]:
            self._record_chance(sample, depth)
        kernels.add_all(self.x, self._y, sizes["residual"], sizes["width"])
        if sizes["after_sum"]:
            self._normalise(self.x, self.x, scale)

    def _normalise(self, x: Array, out: Array, scale: Scale) -> None:
        sizes = self.plan.sizes[0]
        kernels.normalise_all(x, out, sizes["width"], sizes["norm"], sizes["eps"])
        if scale.gain.size or scale.bias.size:
            kernels.gain_all(out, scale.gain, scale.bias, sizes["width"])

    def _attention(self, source: Source, number: int) -> tuple[kernels.Rowwise, Floats]:
        """Write the output of a block's attention, and return what its heads' rows sum to.

        Besides the sums of every head, the scores of the band by query and by offset (2, T).
        """
        plan, u = self.plan, self._u
        sizes, block = plan.sizes[0], plan.blocks[number]
        layer, rows = plan.layers[block["layer"]], self._rows[block["layer"]]
        place = self._rooms[block["layer"]]
        width, context, n_heads = (int(sizes[name]) for name in ("width", "context", "heads"))
        if layer["has_null"]:
            source.null_logits(number, place.logits)
        if layer["kv_rank"]:
            source.latents(number, place.latent_weights)
            kernels.latents(layer, u, place.latent_weights, place.latents, width)
        if layer["qk_norm"] == kernels.QK_PROJECTION:
            self._whole_projections(source, number, place)
        log_z, sink, score, first_score = np.zeros((4, n_heads, context))
        out = kernels.Rowwise(log_z, sink, np.zeros((n_heads, 3)), score, first_score)
        heads, band = n_heads // int(layer["groups"]), np.zeros((2, context))
        for group in range(int(layer["groups"])):
            vectors = place.no_vectors
            if not sizes["parameter_free"]:
                vectors = source.attention(number, group, place.weights)
            for sums in (place.room.total, place.room.sums):
                sums.fill(0)
            if layer["sink_bias"]:
                kernels.point_at_sink(
                    sizes, layer, rows, group, u, place.weights[1], vectors.key_gain,
                    place.inverse, place.room.k, place.room.sink,
                )  # fmt: skip
            own = slice(group * heads, (group + 1) * heads)
            kernels.attend_group(
                sizes, layer, rows, group, u, place.latents, place.weights, vectors,
                place.logits[own], place.inverse, place.room, self._y,
                kernels.Rowwise(*(sums[own] for sums in out)),
            )  # fmt: skip
            band += place.room.sums[:, 1:].sum(axis=0)
        self._attended(number, place)
        bias = source.bias(number, "attention")
        if bias.size:
            kernels.gain_all(self._y, bias[:0], bias, width)
        return out, band

    def _attended(self, number: int, place: LayerRoom) -> None:
        """Look at what the heads of a block left behind."""

    def _reduce(
        self, heads: kernels.Rowwise, band: Floats, expected: float, number: int, sample: Sample
    ) -> None:
        """Turn the sums of heads over contents into means."""
        block, counted = self.plan.blocks[number], int(self.plan.sizes[0]["contents"])
        layer = self.plan.layers[block["layer"]]
        for sums in (heads.log_z, heads.sink, heads.score, heads.first_score, band):
            sums[:] /= counted
        heads.leak[:] /= max(float(layer["entries"]) * counted * (counted - 1), 1.0)
        sample.log_z[number], sample.sink[number] = heads.log_z.mean(0), heads.sink.mean(0)
        sample.leak[number] = heads.leak.mean(0)
        if self.by_head:
            sample.head_leak[number], sample.head_sink[number] = heads.leak, heads.sink
        pointed = block["alignment"] or layer["sink_bias"]
        if self.plan.sizes[0]["controls"] and not pointed:
            self._centre_scores(number, heads, band / len(heads.leak), expected, sample)

    def _expected_residual(self, number: int) -> float:
        """Return the mean square of the residual leak over heads of the block's inputs."""
        sizes, block = self.plan.sizes[0], self.plan.blocks[number]
        index = int(block["layer"])
        layer, rows, pairs = self.plan.layers[index], self._rows[index], self._pairs[index]
        if not (sizes["controls"] and block["score_var"] and layer["widest"] and pairs):
            return float("nan")
        square: float = kernels.expected_residual(
            self._u, pairs, rows.factor, sizes["context"], layer["widest"],
            sizes["width"], self._rooms[index].room.total[0],
        )  # fmt: skip
        return float(block["score_var"]) * square / float(layer["entries"])

    def _centre_scores(
        self, number: int, heads: kernels.Rowwise, band: Floats, expected: float, sample: Sample
    ) -> None:
        """Record mean scores, whose mean over weights is 0, and what follows from them."""
        plan, index = self.plan, int(self.plan.blocks[number]["layer"])
        query = np.arange(band.shape[1])
        first = (plan.seen_from[index, 0] <= query) & (query < plan.seen_to[index, 0])
        mean = heads.score.mean(0) / plan.n_keys[index]
        sample.mean_score[number] = mean
        sample.first_score[number] = np.where(first, heads.first_score.mean(0) - mean, 0)
        mask, cross = linear_chance(
            self._ramps[index], mean, band[0], band[1], int(plan.layers[index]["entries"])
        )
        residual = 0.0 if np.isnan(expected) else float(sample.leak[number, 1]) - expected
        sample.leak_chance[number] = mask, residual, cross

    def _whole_projections(self, source: Source, number: int, place: LayerRoom) -> None:
        """Find the inverse RMS of all heads' queries together, and of all keys."""
        sizes, block = self.plan.sizes[0], self.plan.blocks[number]
        layer, room = self.plan.layers[block["layer"]], place.room
        place.inverse[:] = 0
        for group in range(int(layer["groups"])):
            vectors = source.attention(number, group, place.weights)
            kernels.add_projection_squares(
                self._u, place.weights, vectors, room.q, room.k, place.inverse, int(sizes["width"])
            )
        for kind, heads in enumerate((int(sizes["heads"]), int(layer["groups"]))):
            mean = place.inverse[kind] / (heads * int(layer["size"])) + float(layer["qk_eps"])
            place.inverse[kind] = 1 / np.sqrt(np.maximum(mean, kernels.TINY))
