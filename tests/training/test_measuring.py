"""What is measured of a trained decoder equals what `ropeleak.simulate` finds in its weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from paper.training import measuring, summary, trainer
from paper.training.architectures import BASELINE, CHANGES
from paper.training.interventions import INTERVENTIONS
from paper.training.recipe import Recipe
from paper.training.results import TRAINED, Results
from paper.training.runs import LOG, Run, weights_file
from paper.training.text import BOS_ID, standard_library
from paper.training.trainer import Trainer
from ropeleak.errors import RopeleakError
from ropeleak.simulate import measure_weights

RECIPE = Recipe(steps=4, rows=2, warmup=1, rate=0.02, saved=(0, 4), save_every=4)
BATCHES, SIZE = 2, 2


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def trained(name: str, folder: Path) -> Run:
    run = Run(name, 0)
    Trainer(run.stack, run.seed, standard_library(), RECIPE, folder).run()
    return run


@pytest.mark.parametrize("name", CHANGES)
def test_a_checkpoint_is_read_as_it_was_trained(name: str, tmp_path: Path) -> None:
    run = trained(name, tmp_path)
    stack, path = run.stack, weights_file(tmp_path, RECIPE.steps)
    tokens = standard_library().contents(stack.bos, BATCHES * SIZE, stack.context, seed=3).inputs
    fixed = stack.bos.is_constant
    given = measure_weights(
        stack if fixed else stack.set("bos", "absent"), path,
        contents=tokens[:, 1:] if fixed else tokens, bos_token=BOS_ID,
    )  # fmt: skip
    model = measuring.load(stack, path)
    states = model.residual_stream(torch.as_tensor(tokens))
    variance = np.stack([(x.double() ** 2).mean((0, 2)).numpy() for x in states])
    np.testing.assert_allclose(given["k_diag"], variance, rtol=1e-4)
    batches = [measuring.leaks_of(model, stack, [x[i : i + SIZE] for x in states])
               for i in range(0, BATCHES * SIZE, SIZE)]  # fmt: skip
    for hole in ("mask", "residual", "total"):
        square = np.mean([batch[hole][1] for batch in batches], axis=0)
        np.testing.assert_allclose(
            given[f"leak_{hole}"] ** 2, np.maximum(square, 0), rtol=1e-3, atol=1e-5
        )


def test_everything_is_measured_and_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "CONTENTS", 16)
    monkeypatch.setattr(measuring, "FEWER", 8)
    monkeypatch.setattr(measuring, "PROBED", 9)
    monkeypatch.setattr(measuring, "Recipe", lambda: RECIPE)
    monkeypatch.setattr(trainer, "Recipe", lambda: RECIPE)
    few = {name: CHANGES[name] for name in (BASELINE, "2 blocks", "random BOS")}
    monkeypatch.setattr(summary, "CHANGES", few)
    monkeypatch.setattr(summary, "SEEDS", (0, 1))
    said: list[str] = []
    for name in few:
        for seed in (0, 1):
            run = Run(name, seed)
            folder = run.folder(tmp_path)
            folder.mkdir(parents=True)
            with pytest.raises(RopeleakError, match="not trained"):
                measuring.measure(run, folder, lambda share, words: None)
            trainer.train(run, folder, lambda share, words: said.append(words))
            measuring.measure(run, folder, lambda share, words: said.append(words))
    assert said[3].startswith("step 4, loss") and said[-1] == "measured"
    results = summary.collect(tmp_path, tmp_path)
    assert results.architectures == list(few)
    assert results.trained.sizes["step"] == 2
    assert list(results.afterwards["intervention"]) == list(INTERVENTIONS)
    assert results.of("d_prime", "2 blocks").shape == (2, 3)
    assert results.of("mask", BASELINE).shape == (2, 4)
    assert np.isfinite(results.afterwards["late"]).all()
    assert results.trained.attrs["trainings"] == 6
    again = Results.load(tmp_path)
    xr.testing.assert_identical(again.trained, results.trained)
    before = (Run(BASELINE, 0).folder(tmp_path) / TRAINED).stat().st_mtime_ns
    measuring.measure(Run(BASELINE, 0), Run(BASELINE, 0).folder(tmp_path), lambda *_: None)
    assert (Run(BASELINE, 0).folder(tmp_path) / TRAINED).stat().st_mtime_ns == before
    (Run(BASELINE, 1).folder(tmp_path) / LOG).unlink()
    with pytest.raises(RopeleakError, match=r"baseline \(seed 1\) has no log.json"):
        summary.collect(tmp_path, tmp_path)


def test_interventions_change_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "CONTENTS", 12)
    run = trained(BASELINE, tmp_path)
    path = weights_file(tmp_path, RECIPE.steps)
    found = {name: measuring.intervene(run, path, one) for name, one in INTERVENTIONS.items()}
    plain = found.pop("none")
    for other in found.values():
        assert not np.allclose(other["residual"], plain["residual"], rtol=1e-6)
