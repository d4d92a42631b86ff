"""Training one decoder: fixed seeds, saved as it goes, the same numbers when it is resumed."""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from ropeleak.errors import RopeleakError
from ropeleak.output import atomic
from ropeleak.spec import Stack

from .decoder import Decoder
from .queue import Say
from .recipe import Recipe
from .runs import LOG, STACK, STATE, Run, weights_file
from .text import Batch, Text, standard_library


@dataclass
class Trainer:
    """One decoder in training.

    Parameters
    ----------
    stack
        The architecture.
    seed
        Decides the initial weights and the batches.
    text
        What it learns to predict.
    recipe
        How it is trained.
    folder
        Where weights, state and log are kept; what is there already is taken up.

    Raises
    ------
    RopeleakError
        If the stack cannot be trained, or the folder holds another training.
    """

    stack: Stack
    seed: int
    text: Text
    recipe: Recipe
    folder: Path
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.model = Decoder(self.stack, self.seed)
        groups = [
            {"params": [p for p in self.model.parameters() if (p.ndim > 1) == decays],
             "weight_decay": self.recipe.decay if decays else 0.0}
            for decays in (True, False)
        ]  # fmt: skip
        self._optimiser = torch.optim.AdamW(
            groups, lr=self.recipe.rate, betas=self.recipe.betas, fused=True
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    @property
    def step(self) -> int:
        """Steps made so far."""
        return len(self.losses)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes this training the same as another."""
        return {
            "stack": self.stack.model_dump(mode="json"), "seed": self.seed,
            "text": self.text.sha256, "recipe": json.loads(json.dumps(asdict(self.recipe))),
        }  # fmt: skip

    def run(self, progress: Callable[["Trainer"], None] | None = None) -> None:
        """Go on to the end; killed at any time, another `Trainer` of the folder goes on."""
        if (self.folder / LOG).exists():
            return
        if self.step == 0:
            self._keep()
        start = time.process_time() - self.seconds
        while self.step < self.recipe.steps:
            self.losses.append(self._advance())
            self.seconds = time.process_time() - start
            if self.step in self.recipe.saved:
                self._keep()
            if self.step % self.recipe.save_every == 0 or self.step == self.recipe.steps:
                self._save()
            if progress is not None:
                progress(self)
        self._finish()

    def _advance(self) -> float:
        """Make a step and return its loss (nats a byte)."""
        recipe, step = self.recipe, self.step
        for group in self._optimiser.param_groups:
            group["lr"] = recipe.rate_at(step)
        batch = self.text.batch(self.stack.bos, self.seed, step, recipe.rows, self.stack.context)
        loss = losses(self.model(torch.as_tensor(batch.inputs)), batch).mean()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        self._optimiser.step()
        found = float(loss.item())
        if not math.isfinite(found):
            raise RopeleakError(
                f"{self.stack.name}: the loss is {found} at step {step}: lower rate"
            )
        return found

    def _keep(self) -> None:
        """Keep the weights of this step."""
        with atomic(self.folder / STACK) as temporary:
            temporary.write_text(self.stack.model_dump_json(indent=1), encoding="utf-8")
        with atomic(weights_file(self.folder, self.step)) as temporary:
            save_file(self.model.checkpoint(), temporary)

    def _save(self) -> None:
        """Save what is needed to go on."""
        state = {
            "identity": json.dumps(self.identity), "losses": self.losses, "seconds": self.seconds,
            "model": self.model.state_dict(), "optimiser": self._optimiser.state_dict(),
        }  # fmt: skip
        with atomic(self.folder / STATE) as temporary, open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())

    def _resume(self) -> None:
        """Take up a training that was stopped, or one that is done."""
        state, log = self.folder / STATE, self.folder / LOG
        if state.exists():
            found = torch.load(state, weights_only=True)
            self._check(json.loads(found["identity"]))
            self.model.load_state_dict(found["model"])
            self._optimiser.load_state_dict(found["optimiser"])
        elif log.exists():
            found = json.loads(log.read_text(encoding="utf-8"))
            self._check(found["identity"])
            self.model.load_checkpoint(load_file(weights_file(self.folder, self.recipe.steps)))
        else:
            return
        self.losses, self.seconds = list(found["losses"]), found["seconds"]

    def _check(self, identity: dict[str, Any]) -> None:
        # a stack of an older version lacks fields that it has the defaults of
        identity["stack"] = Stack.model_validate(identity["stack"]).model_dump(mode="json")
        differing = [name for name, value in self.identity.items() if identity.get(name) != value]
        if differing:
            raise RopeleakError(
                f"{self.folder} holds a training with another {differing[0]}: give another folder"
                " with --out, or remove it"
            )

    def _finish(self) -> None:
        """Write the log; the state is needed no more."""
        log = {
            "identity": self.identity, "losses": [round(x, 5) for x in self.losses],
            "seconds": round(self.seconds, 1), "torch": torch.__version__,
        }  # fmt: skip
        with atomic(self.folder / LOG) as temporary:
            temporary.write_text(json.dumps(log), encoding="utf-8")
        (self.folder / STATE).unlink(missing_ok=True)


def train(run: Run, folder: Path, say: Say) -> None:
    """Train a run to the end: a job for `paper.training.queue`."""
    recipe = Recipe()

    def tell(trainer: Trainer) -> None:
        say(trainer.step / recipe.steps, f"step {trainer.step}, loss {trainer.losses[-1]:.3f}")

    trainer = Trainer(run.stack, run.seed, standard_library(), recipe, folder)
    trainer.run(tell)
    tell(trainer)


def losses(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Return the cross-entropy of every next byte (rows, T), nats."""
    following = torch.as_tensor(batch.following)
    return functional.cross_entropy(logits.transpose(1, 2), following, reduction="none")
