"""A Dask cluster as an executor."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from ropeleak.errors import RopeleakError
from ropeleak.theory.provenance import package_version

SECONDS = 20
"""How long to wait for the scheduler, and for a first worker."""


@contextmanager
def cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """Give the executor of a Dask cluster, and how many batches run there at the same time.

    Parameters
    ----------
    address
        Of the scheduler, e.g. ``tcp://10.0.0.1:8786``.

    Raises
    ------
    RopeleakError
        If ``distributed`` is missing, there is no cluster, or its workers have no ropeleak or
        another version of it.
    """
    try:
        from distributed import Client
    except ImportError:
        raise RopeleakError(
            f"--dask {address} needs distributed: pip install 'ropeleak[cluster]'"
        ) from None
    try:
        client = Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RopeleakError(f"there is no Dask scheduler at {address}: {reason}") from None
    with client:
        _check_workers(client, address)
        yield client.get_executor(pure=False), sum(client.nthreads().values())


def _check_workers(client: Any, address: str) -> None:
    """Raise `RopeleakError` unless there are workers, all with the ropeleak of this process."""
    try:
        client.wait_for_workers(1, timeout=SECONDS)
    except TimeoutError:
        raise RopeleakError(f"the Dask cluster at {address} has no workers: start some") from None
    here = package_version()
    for worker, found in client.run(package_version, on_error="return").items():
        if found != here:
            told = f"ropeleak {found}" if isinstance(found, str) else "no ropeleak"
            raise RopeleakError(
                f"the Dask worker {worker} has {told}: install ropeleak {here} where it runs"
            )
