"""Measuring given weights: all contents through one block after another."""

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ropeleak.budget import allowed_bytes
from ropeleak.errors import RopeleakError
from ropeleak.numbers import Numbers
from ropeleak.observables import GIVEN
from ropeleak.output import check_writable
from ropeleak.spec import Stack
from ropeleak.weights import Files, Source, Weights

from . import checkpoint as checkpoints
from .forward import Forward, empty_sample, needed_bytes
from .given import Given
from .inputs import read_inputs
from .measurement import Keep, Precision, in_range, package_version, with_masks
from .plan import Plan, make_plan
from .sampling import available_threads, in_order
from .statistics import Moments

CONTENTS = 36
SAVE_SHARE = 0.05
"""A checkpoint takes at most this share of the time."""


class State(NamedTuple):
    """A batch between two blocks: its residual stream (inputs, d, ld) at some depth."""

    depth: int
    x: NDArray[Any]


class WeightsMeasurement:
    """What contents do in one set of weights, a block at a time; can be stopped between blocks.

    Contents are split into batches, each of which estimates every observable from pairs of its
    own contents; standard errors are those of the mean over batches.

    Parameters
    ----------
    stack
        The architecture of the weights; its BOS policy says what stands at position 0.
    weights
        A ``.safetensors`` file, a folder that holds one or a sharded checkpoint, or arrays by
        name. A ``config.json`` beside them says how their family names tensors; they have Llama's
        names otherwise.
    contents
        How many contents of random tokens; token ids without BOS, one row a content; or the path
        of a text or of a ``.npy`` file of ids.
    bos_token
        Token id of BOS; what the ``config.json`` says unless given.
    seed
        Decides every random token.
    keep
        ``full`` adds the matrices ``K``, ``Q`` and ``Q_common``.
    precision
        Of the forward pass.

    Raises
    ------
    RopeleakError
        If weights or contents cannot be read or do not fit the stack, or the kernels cannot run
        it.
    """

    def __init__(
        self,
        stack: Stack,
        weights: Files,
        *,
        contents: Source = CONTENTS,
        bos_token: int | None = None,
        seed: int = 0,
        keep: Keep = "summary",
        precision: Precision = "float32",
    ) -> None:
        in_range("seed", seed, 0, 2**64 - 1)
        self.stack, self.weights = stack, Weights(stack, weights)
        self._inputs = read_inputs(stack, self.weights, contents, bos_token, seed)
        self._plan = make_plan(stack, self._inputs.contents, seed, precision, drawn=False)
        self._full = keep == "full"
        self._identity: dict[str, Any] = {
            "stack": stack.model_dump(mode="json"), "weights": self.weights.tensors.fingerprint(),
            "contents": self._inputs.fingerprint(), "seed": seed, "keep": keep,
            "precision": precision,
        }  # fmt: skip
        batches = self._inputs.tokens.shape[0]
        self._states: list[State] = [State(-1, np.zeros(0, self._plan.dtype))] * batches
        self._samples = [empty_sample(self._plan, self._full, by_head=True) for _ in range(batches)]

    @property
    def blocks(self) -> int:
        """Number of blocks that all contents have passed; -1 before the embedding."""
        return min(state.depth for state in self._states)

    def resume(self, path: str | os.PathLike[str]) -> None:
        """Take up a checkpoint, if there is one.

        Raises
        ------
        RopeleakError
            If the file cannot be read or written, or is of another measurement.
        """
        check_writable(path)
        arrays = checkpoints.read(path, self._identity)
        if arrays is None:
            return
        for batch, sample in enumerate(self._samples):
            self._states[batch] = State(int(arrays[f"depth:{batch}"]), arrays[f"x:{batch}"])
            for name, values in sample._asdict().items():
                values[:] = arrays[f"{name}:{batch}"]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint, whole or not at all."""
        arrays: dict[str, NDArray[Any]] = {}
        for batch, (state, sample) in enumerate(zip(self._states, self._samples, strict=True)):
            arrays |= {f"depth:{batch}": np.array(state.depth), f"x:{batch}": state.x}
            arrays |= {f"{name}:{batch}": values for name, values in sample._asdict().items()}
        checkpoints.write(path, arrays, self._identity)

    def run(
        self,
        *,
        threads: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Take all contents through the blocks that are left.

        When interrupted, what is done is kept, and in the checkpoint if there is one.

        Parameters
        ----------
        threads
            Batches that run at the same time; as many as there are processors unless given.
        checkpoint
            File that is written between blocks and at the end.
        progress
            Called with the number of finished blocks.

        Raises
        ------
        RopeleakError
            If a number is out of range, or there is too little memory.
        """
        threads = threads or available_threads()
        in_range("threads", threads, 1, 4096)
        threads = min(threads, len(self._states))
        check_memory(self._plan, self._full, len(self._states), threads)
        workers = [Forward(self._plan, self._full, by_head=True) for _ in range(threads)]
        due = time.monotonic()
        try:
            for depth in range(self.blocks, self.stack.n_blocks):
                late = [b for b, state in enumerate(self._states) if state.depth == depth]
                steps = in_order(iter(workers).__next__, self._advance, late, threads)
                for batch, state in zip(late, steps, strict=True):
                    self._states[batch] = state
                self.weights.tensors.release()
                if progress is not None:
                    progress(self.blocks)
                if checkpoint is not None and time.monotonic() >= due:
                    due = self._save_and_schedule(checkpoint)
        finally:
            if checkpoint is not None and self.blocks >= 0:
                self.save(checkpoint)

    def _advance(self, worker: Forward, batch: int) -> "State":
        """Take a batch through its next block, or give it its embeddings."""
        inputs, state = self._inputs, self._states[batch]
        source = Given(self._plan, self.weights, inputs.tokens[batch], inputs.first)
        if state.depth < 0:
            worker.start(source, self._samples[batch])
        else:
            worker.x[:] = state.x
            worker.block(source, state.depth, self._samples[batch])
        return State(state.depth + 1, worker.x.copy())

    def _save_and_schedule(self, path: str | os.PathLike[str]) -> float:
        """Write a checkpoint and return when the next one is due."""
        start = time.monotonic()
        self.save(path)
        end = time.monotonic()
        return end + (end - start) / SAVE_SHARE

    def dataset(self) -> "xr.Dataset":
        """Return the observables with their standard errors, head by head too.

        Raises
        ------
        RopeleakError
            If there are blocks left.
        """
        return self.numbers().dataset()

    def numbers(self) -> Numbers:
        """Return what `dataset` holds, as plain arrays.

        Raises
        ------
        RopeleakError
            If there are blocks left.
        """
        if self.blocks < self.stack.n_blocks:
            raise RopeleakError(
                f"{max(self.blocks, 0)} of {self.stack.n_blocks} blocks are measured: let the"
                " measurement finish"
            )
        moments = Moments()
        for sample in self._samples:
            moments.add(sample)
        values = with_masks(moments.observables(controls=False), self.stack)
        return Numbers(
            values, self.stack.n_blocks, np.arange(self.stack.context), self._attributes()
        )

    def _attributes(self) -> dict[str, str | int | float]:
        batches, size = len(self._states), self._inputs.contents
        return {
            "method": GIVEN,
            "positions": "dense",
            "stack": self.stack.model_dump_json(),
            "ropeleak": package_version(),
            "approximations": "",
            "weights": self.weights.name,
            "content": self._inputs.words,
            "contents": batches * size,
            "standard_error": f"over {batches} batches of {size} contents in the same weights",
            "seed": str(self._identity["seed"]),
            "precision": self._identity["precision"],
        }


def measure_weights(
    stack: Stack,
    weights: Files,
    *,
    contents: Source = CONTENTS,
    bos_token: int | None = None,
    seed: int = 0,
    keep: Keep = "summary",
    precision: Precision = "float32",
    threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> "xr.Dataset":
    """Return every observable of given weights, over all heads and head by head.

    Parameters
    ----------
    stack, weights, contents, bos_token, seed, keep, precision
        As in `WeightsMeasurement`.
    threads, checkpoint, progress
        As in `WeightsMeasurement.run`; a checkpoint that exists is taken up.

    Returns
    -------
    xarray.Dataset
        As of `measure`, and ``head_leak_mask``, ``head_leak_residual``, ``head_leak_total`` and
        ``head_sink``. Standard errors are over batches of contents: the weights are fixed.

    Raises
    ------
    RopeleakError
        As in `WeightsMeasurement` and its ``run``.
    """
    measurement = WeightsMeasurement(
        stack, weights, contents=contents, bos_token=bos_token, seed=seed, keep=keep,
        precision=precision,
    )  # fmt: skip
    if checkpoint is not None:
        measurement.resume(checkpoint)
    measurement.run(threads=threads, checkpoint=checkpoint, progress=progress)
    return measurement.dataset()


def check_memory(plan: Plan, full: bool, batches: int, threads: int) -> None:
    """Raise `RopeleakError` if the activations need more memory than is allowed."""
    sizes, depths = plan.sizes[0], plan.blocks.size + 1
    d, ld, context, heads = (int(sizes[name]) for name in ("d", "ld", "context", "heads"))
    activations = plan.inputs * d * ld * plan.dtype.itemsize
    sample = 8.0 * depths * context * (8 + heads + (3 * context if full else 0))
    needed = (batches + 2 * threads) * activations + threads * needed_bytes(plan, full)
    needed += (batches + 4) * sample
    allowed = allowed_bytes()
    if needed > allowed:
        raise RopeleakError(
            f"these contents need {needed / 2**30:.1f} GB and {allowed / 2**30:.1f} GB are allowed:"
            " use fewer contents, a shorter context or a larger ROPELEAK_MEMORY_GB"
        )
