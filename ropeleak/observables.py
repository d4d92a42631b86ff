"""Every quantity that ropeleak reports: its name, dimensions, unit and definition.

The names are the contract: theory and Monte Carlo return the same variables.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Observable:
    """One quantity: what a figure's axis and a file's metadata say of it."""

    name: str
    dims: tuple[str, ...]
    unit: str
    long_name: str
    definition: str


GIVEN = "given-weights"
"""Method of numbers about one set of weights; all others are about random ones."""
HEADS = ("head_leak_mask", "head_leak_residual", "head_leak_total", "head_sink")
"""Observables of single heads, which only given weights have: random heads are all alike."""
VARIANCE = "per-coordinate variance"
OBSERVABLES: dict[str, Observable] = {
    row.name: row
    for row in (
        Observable("k_diag", ("depth", "query"), VARIANCE, "variance of the residual stream",
                   "K_ii = E|x_i|²/d"),
        Observable("q_diag", ("depth", "query"), VARIANCE, "variance shared by all contents",
                   "Q_ii = E[x_i^a·x_i^b]/d for two contents a ≠ b under the same weights"),
        Observable("q_common", ("depth", "query"), VARIANCE, "shared variance without BOS",
                   "Q∅_ii: as q_diag with ordinary content at position 0"),
        Observable("k_bos", ("depth", "query"), VARIANCE, "covariance with token 0",
                   "K_0i = E[x_0·x_i]/d"),
        Observable("beacon", ("depth", "query"), "share of variance", "beacon strength",
                   "(Q_ii - Q∅_ii)/K_ii: the share of the residual stream that is BOS's"
                   " fingerprint"),
        Observable("log_z", ("block", "query"), "nats", "mean log softmax denominator",
                   "E ln Z_i, Z_i = Σ_j exp(s_ij) over the visible keys"),
        Observable("sink", ("block", "query"), "attention weight", "attention to token 0",
                   "E a_i0"),
        Observable("sink_excess", ("block", "query"), "ratio to uniform",
                   "attention to token 0 over uniform attention", "E a_i0 · n_i"),
        Observable("leak_mask", ("block",), "nats RMS", "mask leak",
                   "RMS over the band of E ln Z_i, less its mean at the same offset"),
        Observable("leak_residual", ("block",), "nats RMS", "residual leak",
                   "RMS over the band of the content-averaged score, less its mean at the same"
                   " offset"),
        Observable("leak_total", ("block",), "nats RMS", "total leak",
                   "RMS over the band of score - ln Z, less its mean at the same offset"),
        Observable("head_leak_mask", ("block", "head"), "nats RMS", "mask leak of a head",
                   "as leak_mask, of one head"),
        Observable("head_leak_residual", ("block", "head"), "nats RMS", "residual leak of a head",
                   "as leak_residual, of one head"),
        Observable("head_leak_total", ("block", "head"), "nats RMS", "total leak of a head",
                   "as leak_total, of one head"),
        Observable("head_sink", ("block", "head", "query"), "attention weight",
                   "attention of a head to token 0", "E a_i0 of one head"),
        Observable("reach", ("depth",), "tokens", "reach of BOS",
                   "last position that token 0 can influence"),
        Observable("K", ("depth", "query", "key"), VARIANCE, "kernel of one content",
                   "K_ij = E[x_i^a·x_j^a]/d"),
        Observable("Q", ("depth", "query", "key"), VARIANCE, "kernel of two contents",
                   "Q_ij = E[x_i^a·x_j^b]/d, a ≠ b"),
        Observable("Q_common", ("depth", "query", "key"), VARIANCE,
                   "kernel of two contents without BOS", "Q∅_ij"),
    )
}  # fmt: skip

COORDINATES = {
    "depth": ("blocks", "depth: 0 is the embedding, l is after block l"),
    "block": ("", "block"),
    "head": ("", "head, from 0 on"),
    "query": ("tokens", "query position"),
    "key": ("tokens", "key position"),
}


def dataset(
    variables: Mapping[str, NDArray[np.float64]],
    n_blocks: int,
    positions: NDArray[np.int64],
    attrs: Mapping[str, str | int | float],
) -> "xr.Dataset":
    """Return the labelled dataset of some observables.

    Parameters
    ----------
    variables
        Arrays by name; the shape is that of the observable's dimensions. ``<name>_se`` is the
        standard error of ``<name>``.
    n_blocks
        Depth ``L``.
    positions
        Positions of the ``query`` (and ``key``) entries.
    attrs
        What produced the numbers.
    """
    import xarray as xr

    heads = next((v.shape[1] for name, v in variables.items() if name.startswith("head_")), 0)
    coordinates = {
        "head": np.arange(heads),
        "depth": np.arange(n_blocks + 1),
        "block": np.arange(1, n_blocks + 1),
        "query": positions,
        "key": positions,
    }
    data: dict[str, Any] = {}
    used: set[str] = set()
    for name, values in variables.items():
        data[name] = dims(name), values, metadata(name)
        used.update(dims(name))
    result = xr.Dataset(
        data, {name: coordinates[name] for name in COORDINATES if name in used}, dict(attrs)
    )
    describe_coordinates(result)
    return result


def dims(name: str) -> tuple[str, ...]:
    """Return the dimensions of a variable or of its standard error."""
    return OBSERVABLES[name.removesuffix("_se")].dims


def metadata(name: str) -> dict[str, str]:
    """Return unit, name in words and definition of a variable or of its standard error."""
    row = OBSERVABLES[name.removesuffix("_se")]
    error = "standard error of the " if name.endswith("_se") else ""
    return {"units": row.unit, "long_name": error + row.long_name, "definition": row.definition}


def describe_coordinates(found: "xr.Dataset") -> None:
    """Give the coordinates of a dataset that are observables' dimensions their units and names."""
    for name, (unit, long_name) in COORDINATES.items():
        if name in found.coords:
            found[name].attrs.update({"units": unit, "long_name": long_name})
