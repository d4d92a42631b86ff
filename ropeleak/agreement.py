"""Theory beside measurement: how many standard errors, and how large a share, they differ by."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

COMPARED = (
    "leak_mask", "leak_residual", "leak_total", "k_diag", "q_diag", "k_bos", "beacon", "log_z",
    "sink",
)  # fmt: skip
"""What is compared, of everything that both have."""
RMS = ("leak_mask", "leak_residual", "leak_total")
"""Roots of mean squares: compared as squares, whose errors are symmetric."""
EXACT = 1e-5
"""Numbers without a standard error agree if they differ by less than this share of the largest."""


def z_scores(theory: xr.Dataset, measured: xr.Dataset) -> xr.Dataset:
    """Return ``(theory - measured) / standard error`` of every quantity that both have.

    Parameters
    ----------
    theory, measured
        Datasets with the variables of `ropeleak.observables`; ``measured`` has ``<name>_se`` too.
        Only positions that both have are compared.

    Returns
    -------
    xarray.Dataset
        By name. Where the standard error is 0 the score is 0 if the two agree, else infinite.
    """
    found = {}
    for name in COMPARED:
        if name not in theory or f"{name}_se" not in measured:
            continue
        wanted, got, error = xr.align(
            theory[name], measured[name], measured[f"{name}_se"], join="inner"
        )
        if name in RMS:
            error = (got + error) ** 2 - got**2
            wanted, got = wanted**2, got**2
        found[name] = xr.DataArray(
            _scores(wanted.values, got.values, error.values),
            got.coords, got.dims, attrs={"units": "standard errors"},
        )  # fmt: skip
    return xr.Dataset(found)


def _scores(
    wanted: NDArray[np.float64], got: NDArray[np.float64], error: NDArray[np.float64]
) -> NDArray[np.float64]:
    difference = wanted - got
    same = np.abs(difference) <= EXACT * np.abs(got).max(initial=0.0)
    exact = np.where(same, 0.0, np.copysign(np.inf, difference))
    known = error > 0
    return np.where(known, difference / np.where(known, error, 1.0), exact)


def gaps(
    theory: xr.Dataset, measured: xr.Dataset, names: Sequence[str] = COMPARED
) -> dict[str, float]:
    """Return the RMS difference of each quantity as a share of its RMS value."""
    found = {}
    for name in names:
        if name in theory and name in measured:
            wanted, got = xr.align(theory[name], measured[name], join="inner")
            size = float(np.sqrt((got**2).mean()))
            found[name] = float(np.sqrt(((wanted - got) ** 2).mean())) / size if size else 0.0
    return found
