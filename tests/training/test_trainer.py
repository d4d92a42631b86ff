"""Training: the same numbers whatever happens to it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from paper.training.recipe import Recipe
from paper.training.runs import LOG, STATE, weights_file
from paper.training.text import standard_library
from paper.training.trainer import Trainer, losses
from ropeleak import Stack
from ropeleak.errors import RopeleakError

RECIPE = Recipe(steps=12, rows=2, warmup=4, saved=(0, 4, 12), save_every=4)
STACK = Stack.build(
    context=16, d_model=16, n_heads=2, n_blocks=2, vocab_size=9, mlp={"d_ff": 24},
    attention={"qk_norm": "head", "softmax": {"sink_logit": 0.0}},
    init={"std": 0.25, "embedding_var": 1.0},
)  # fmt: skip
ROOT = Path(__file__).parents[2]
CHILD = """
import sys, time
from pathlib import Path
import torch
from tests.training.test_trainer import trainer
torch.set_num_threads(1)
trainer(Path(sys.argv[1])).run(lambda one: time.sleep(0.05))
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def trainer(folder: Path, recipe: Recipe = RECIPE, seed: int = 0) -> Trainer:
    return Trainer(STACK, seed, standard_library(), recipe, folder)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    trainer(folder).run()
    return folder


def assert_same(folder: Path, unbroken: Path) -> None:
    for step in RECIPE.saved:
        found, wanted = (load_file(weights_file(one, step)) for one in (folder, unbroken))
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    logs = [json.loads((one / LOG).read_text()) for one in (folder, unbroken)]
    assert logs[0]["losses"] == logs[1]["losses"]


@pytest.mark.parametrize("stopped_at", [1, 4, 6, 11])
def test_a_resumed_training_gives_the_same_numbers(
    stopped_at: int, unbroken: Path, tmp_path: Path
) -> None:
    def stop(one: Trainer) -> None:
        if one.step == stopped_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path).run(stop)
    resumed = trainer(tmp_path)
    assert resumed.step == stopped_at // RECIPE.save_every * RECIPE.save_every
    resumed.run()
    assert_same(tmp_path, unbroken)
    assert not (tmp_path / STATE).exists()


def test_a_killed_training_gives_the_same_numbers(unbroken: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT) as child:
        deadline = time.monotonic() + 120
        while not (tmp_path / STATE).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
    assert not (tmp_path / LOG).exists()
    resumed = trainer(tmp_path)
    assert resumed.step in (4, 8)
    resumed.run()
    assert_same(tmp_path, unbroken)


def test_a_finished_training_is_not_done_again(unbroken: Path) -> None:
    before = (unbroken / LOG).stat().st_mtime_ns
    again = trainer(unbroken)
    again.run(lambda one: pytest.fail("a step was made"))
    assert again.step == RECIPE.steps
    assert (unbroken / LOG).stat().st_mtime_ns == before


def test_another_training_is_not_taken_up(unbroken: Path) -> None:
    with pytest.raises(RopeleakError, match="another seed"):
        trainer(unbroken, seed=1)
    with pytest.raises(RopeleakError, match="another recipe"):
        trainer(unbroken, recipe=Recipe(steps=13, rows=2))


def test_a_decoder_learns_more_than_how_frequent_bytes_are(tmp_path: Path) -> None:
    text = standard_library()
    share = np.bincount(text.train, minlength=256) / text.train.size
    guess = -(share[share > 0] * np.log(share[share > 0])).sum()
    recipe = Recipe(steps=300, rows=8, rate=0.01, warmup=10, saved=(0, 300), save_every=300)
    one = trainer(tmp_path, recipe)
    batch = text.contents(STACK.bos, rows=64, tokens=16, seed=0)

    def loss(one: Trainer) -> torch.Tensor:
        return losses(one.model(torch.as_tensor(batch.inputs)), batch)

    assert loss(one).mean().item() == pytest.approx(np.log(256), rel=1e-6)
    one.run()
    assert loss(one)[:, 1:].mean().item() < guess


def test_the_rate_rises_and_falls() -> None:
    recipe = Recipe()
    rates = [recipe.rate_at(step) for step in range(recipe.steps)]
    top = max(range(recipe.steps), key=rates.__getitem__)
    assert abs(top - recipe.warmup) < 3
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(recipe.rate / 10, rel=0.01)
    assert recipe.saved[0] == 0 and recipe.saved[-1] == recipe.steps
