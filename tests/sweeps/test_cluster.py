"""A real Dask cluster of two processes, one of which is killed in the middle."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ropeleak import RopeleakError, sweep
from ropeleak.catalog import load
from ropeleak.cli import main
from ropeleak.sweeps import cluster as cluster_module
from ropeleak.sweeps.api import SweepProgress
from tests.sweeps.support import OVER, STACK, assert_same

distributed = pytest.importorskip("distributed")

MODEL = load("pythia-160m", 8).set("n_blocks", 1)
MANY = {"rope.base": "1e4:1e6:log:200"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50,
        host="127.0.0.1",
    ) as local:  # fmt: skip
        yield local


def workers(address: str) -> list[int]:
    """Return the processes of the cluster's workers."""
    with distributed.Client(address, set_as_default=False) as client:
        return sorted(client.run(os.getpid).values())


def test_a_worker_killed_in_the_middle_loses_nothing(cluster: Any, tmp_path: Path) -> None:
    address, out = cluster.scheduler_address, tmp_path / "a.nc"
    before = workers(address)
    assert len(before) == 2
    told: list[int] = []

    def kill(state: SweepProgress) -> None:
        if not told:
            os.kill(before[0], signal.SIGKILL)
        told.append(state.done)

    found = sweep(MODEL, MANY, out=out, dask=address, progress=kill)
    assert_same(found, sweep(MODEL, MANY, workers=1))
    assert told == sorted(set(told)) and told[-1] == 200  # nothing was saved twice
    assert before[0] not in workers(address)


def test_a_sweep_begun_elsewhere_goes_on_in_the_cluster(cluster: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.nc"

    def stop(state: SweepProgress) -> None:
        if state.done > 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(MODEL, MANY, out=out, workers=1, progress=stop)
    told: list[SweepProgress] = []
    found = sweep(MODEL, MANY, out=out, dask=cluster.scheduler_address, progress=told.append)
    assert told[0].done > 50
    assert_same(found, sweep(MODEL, MANY, workers=1))


def test_points_that_fail_are_recorded(cluster: Any) -> None:
    found = sweep(STACK, OVER, dask=cluster.scheduler_address)
    assert_same(found, sweep(STACK, OVER, workers=1))


def test_the_command_line(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sweep", "pythia-160m", "--context", "8", "--over", "window=2,4"]
    assert main([*arguments, "--dask", cluster.scheduler_address]) == 0
    there = capsys.readouterr().out
    assert main([*arguments, "--workers", "1"]) == 0
    assert capsys.readouterr().out == there


def test_no_scheduler_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "SECONDS", 1)
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        with pytest.raises(RopeleakError, match=f"there is no Dask scheduler at {address}"):
            sweep(STACK, OVER, dask=address)


def test_workers_without_ropeleak_or_with_another_are_refused(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = os.getpid()
    monkeypatch.setattr(
        cluster_module, "package_version", lambda: "0.0.8" if os.getpid() == here else "0.0.9"
    )
    with pytest.raises(RopeleakError, match=r"has ropeleak 0\.0\.9: install ropeleak 0\.0\.8"):
        sweep(STACK, OVER, dask=cluster.scheduler_address)
