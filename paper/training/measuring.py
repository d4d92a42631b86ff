"""What is measured of a trained decoder: leaks, fingerprint, sink, probes and loss."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from safetensors.torch import load_file
from torch import Tensor

from ropeleak.errors import RopeleakError
from ropeleak.output import ENGINE, atomic
from ropeleak.selection import at_position
from ropeleak.simulate import measure_weights
from ropeleak.simulate.layers import widest_offset
from ropeleak.spec import Bos, Stack

from .architectures import BASELINE, CONTEXT
from .decoder import Decoder
from .interventions import INTERVENTIONS, Intervention
from .leaks import leaks
from .probes import log_position, told_apart
from .queue import Say
from .recipe import Recipe
from .results import AFTERWARDS, PAIR, QUANTITIES, TRAINED
from .runs import LOG, Run, weights_file
from .text import BOS_ID, Batch, standard_library
from .trainer import losses

Variables = dict[str, Any]

CONTENTS, FEWER, PROBED = 512, 128, 192
"""Held-out contents that are measured after training and, where scores spread less, before its
end; and how many a probe gets of each of its two positions."""
PLANTED = ord("e")
"""The byte that a probe finds at either position."""


def measure(run: Run, folder: Path, say: Say) -> None:
    """Measure a run at every kept step, and changes of the baseline: a job for the queue."""
    steps = Recipe().saved
    if not (folder / LOG).exists():
        raise RopeleakError("it is not trained yet: python -m paper.training run")
    if not (folder / TRAINED).exists():
        rows: list[xr.Dataset] = []
        for step in steps:
            say(len(rows) / len(steps), f"measuring step {step}")
            contents = CONTENTS if step == steps[-1] else FEWER
            rows.append(observe(run, weights_file(folder, step), contents))
        _write(xr.concat(rows, pd.Index(steps, name="step")), folder / TRAINED)
    if run.architecture == BASELINE and not (folder / AFTERWARDS).exists():
        ends = []
        for step in (steps[0], steps[-1]):
            rows = []
            for name, change in INTERVENTIONS.items():
                say(1.0, f"measuring {name} at step {step}")
                rows.append(intervene(run, weights_file(folder, step), change))
            ends.append(xr.concat(rows, pd.Index(INTERVENTIONS, name="intervention")))
        both = xr.concat(ends, pd.Index((steps[0], steps[-1]), name="step"))
        _write(both, folder / AFTERWARDS)
    say(1.0, "measured")


def load(stack: Stack, path: Path) -> Decoder:
    """Return the decoder of a checkpoint."""
    model = Decoder(stack, seed=0)
    model.load_checkpoint(load_file(path))
    model.requires_grad_(False)
    return model


def observe(run: Run, path: Path, contents: int) -> xr.Dataset:
    """Return everything that is measured of a run's checkpoint, in so many contents.

    Returns
    -------
    xarray.Dataset
        All `paper.training.results.QUANTITIES`.
    """
    stack = run.stack
    model, text = load(stack, path), standard_library()
    batch = text.contents(stack.bos, contents, stack.context, run.seed)
    states = model.residual_stream(torch.as_tensor(batch.inputs))
    planted = [
        model.residual_stream(torch.as_tensor(
            text.planted(stack.bos, PLANTED, i, PROBED, stack.context, run.seed).inputs
        ))
        for i in PAIR
    ]  # fmt: skip
    pairs = [
        told_apart(*(numbers(x[:, i]) for x, i in zip(at, PAIR, strict=True)))
        for at in zip(*planted, strict=True)
    ]
    return _dataset({
        **leaks_of(model, stack, states), **loss_of(model, states, batch),
        **traces_of(stack, path, batch),
        "d_prime": ("depth", [pair.d_prime for pair in pairs]),
        "accuracy": ("depth", [pair.accuracy for pair in pairs]),
        "log_position": ("depth", [log_position(numbers(x[:, 1:])) for x in states]),
    })  # fmt: skip


def intervene(run: Run, path: Path, change: Intervention) -> xr.Dataset:
    """Return the leaks and losses of a changed checkpoint.

    Returns
    -------
    xarray.Dataset
        Those `paper.training.results.QUANTITIES` that are leaks or losses.
    """
    stack = change.apply(run.stack)
    model = load(stack, path)
    rows = CONTENTS * CONTEXT // stack.context
    batch = standard_library().contents(Bos(kind=change.bos), rows, stack.context, run.seed)
    if change.byte is not None:
        batch.inputs[:, 0] = change.byte
    if change.silent:
        model.embed_tokens.weight[BOS_ID] = 0
    states = model.residual_stream(torch.as_tensor(batch.inputs))
    return _dataset({**leaks_of(model, stack, states), **loss_of(model, states, batch)})


def leaks_of(model: Decoder, stack: Stack, states: list[Tensor]) -> Variables:
    """Return the leaks of every block, nats²."""
    quarter = stack.context // 4
    rows = []
    for layer, attention, x in zip(model.layers, stack.attention, states, strict=False):
        scores, log_z = layer.look(x)
        found = leaks(scores.numpy(), log_z.numpy(), widest_offset(attention, stack.context))
        rows.append({
            **{name: found.square(name) for name in ("mask", "residual", "total")},
            "early": found.square("residual", slice(0, quarter)),
            "late": found.square("residual", slice(3 * quarter, None)),
        })  # fmt: skip
    return {name: ("block", [row[name] for row in rows]) for name in rows[0]}


def loss_of(model: Decoder, states: list[Tensor], batch: Batch) -> Variables:
    """Return the mean loss of the first and of the second half of the queries, nats a byte."""
    early, late = losses(model.logits(states[-1]), batch).chunk(2, dim=1)
    return {"loss_early": early.mean().item(), "loss_late": late.mean().item()}


def traces_of(stack: Stack, path: Path, batch: Batch) -> Variables:
    """Return what token 0 leaves behind: its fingerprint, and attention to it."""
    contents = batch.inputs if stack.bos.kind == "absent" else batch.inputs[:, 1:]
    found = measure_weights(stack, path, contents=contents, bos_token=BOS_ID, seed=0, threads=1)
    late = found.isel(query=slice(3 * stack.context // 4, None))
    return {
        "beacon": ("depth", at_position(found["beacon"], PAIR[1]).values),
        "sink": ("block", late["sink"].mean("query").values),
        "sink_excess": ("block", late["sink_excess"].mean("query").values),
    }


def numbers(x: Tensor) -> Any:
    """Return a tensor as an array of float64."""
    return x.double().numpy()


def _dataset(variables: Variables) -> xr.Dataset:
    found = xr.Dataset(variables)
    for name, values in found.data_vars.items():
        _, unit, words = QUANTITIES[str(name)]
        values.attrs.update({"units": unit, "long_name": words})
    counted = {"block": 1, "depth": 0}
    return found.assign_coords({
        name: np.arange(first, first + found.sizes[name])
        for name, first in counted.items() if name in found.sizes
    })  # fmt: skip


def _write(dataset: xr.Dataset, path: Path) -> None:
    with atomic(path) as temporary:
        dataset.to_netcdf(temporary, engine=ENGINE)
