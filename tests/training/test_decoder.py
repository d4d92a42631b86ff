"""The PyTorch decoder is the model that the theory and the kernels speak of."""

import re

import numpy as np
import pytest
import torch

from paper.training.architectures import CHANGES, architecture
from paper.training.decoder import Decoder
from paper.training.leaks import leaks
from paper.training.text import BOS_ID
from ropeleak import Stack
from ropeleak.errors import RopeleakError
from ropeleak.simulate import weights
from ropeleak.simulate.layers import widest_offset
from ropeleak.simulate.plan import make_plan
from tests.simulate import reference
from tests.simulate.test_contract import BASE, VARIANTS

SEED, CONTENTS = 5, 3
REFUSED = {
    **dict.fromkeys(("bidirectional", "ring", "prefix", "prefix of all"), "attention[0] sees"),
    **dict.fromkeys(("latent", "latent without query rank"), "attention[0].latent"),
    **dict.fromkeys((n for n in VARIANTS if "experts" in n), "mlp[0].experts"),
    "bos mean": "bos=mean",
}
"""Variants of the kernels' contract that cannot be trained, and what the error names."""


def stack_of(name: str) -> Stack:
    return Stack.build(**{**BASE, **VARIANTS[name]})


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in REFUSED])
def test_a_new_decoder_equals_the_reference(name: str) -> None:
    stack = stack_of(name)
    plan = make_plan(stack, contents=CONTENTS, seed=SEED)
    wanted = reference.run(stack, plan, 0)
    model = Decoder(stack, SEED).requires_grad_(False)
    x = torch.as_tensor(weights.embeddings(plan, 0).copy())
    # scores are known to a share of their size
    tolerance = 1e-5 * max(stack.score_std(0) / 30, 1.0)
    for number, layer in enumerate(model.layers):
        scores, log_z = (part[:CONTENTS] for part in layer.look(x))
        sink = layer.self_attn.weights(scores, log_z)[..., 0]
        found = leaks(
            scores.numpy(), log_z.numpy(), widest_offset(stack.attention[number], stack.context)
        )
        square = max(wanted["leak_size"][number].max(), 1.0)
        for value, expected, size in (
            (log_z.numpy().mean((0, 1)), wanted["log_z"][number], np.sqrt(square)),
            (sink.numpy().mean((0, 1)), wanted["sink"][number], 1.0),
            ([found.square(part) for part in ("mask", "residual", "cross")],
             wanted["leak"][number], square),
        ):  # fmt: skip
            assert np.abs(value - expected).max() < tolerance * size
        x = layer(x)
    assert np.abs(x.numpy() - wanted["x"]).max() < tolerance * np.abs(wanted["x"]).max()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused(name: str) -> None:
    with pytest.raises(RopeleakError, match=re.escape(REFUSED[name])):
        Decoder(stack_of(name), SEED)


@pytest.mark.parametrize("name", CHANGES)
def test_no_token_sees_what_comes_after_it(name: str) -> None:
    stack = architecture(name, vocab_size=9)
    model = Decoder(stack, SEED).requires_grad_(False)
    torch.nn.init.normal_(model.lm_head.weight, generator=torch.manual_seed(0))
    tokens = torch.arange(stack.context)[None] % 7
    other = tokens.clone()
    other[:, 50:] += 1
    assert torch.equal(model(tokens)[:, :50], model(other)[:, :50])
    assert not torch.equal(model(tokens)[:, 50:], model(other)[:, 50:])


@pytest.mark.parametrize("name", CHANGES)
def test_every_parameter_is_trained_and_saved(name: str) -> None:
    stack = architecture(name, vocab_size=9)
    model, other = Decoder(stack, SEED), Decoder(stack, SEED + 1)
    torch.nn.init.normal_(model.lm_head.weight, generator=torch.manual_seed(0))
    tokens = torch.arange(2 * stack.context).reshape(2, -1) % 90
    torch.logsumexp(model(tokens), -1).sum().backward()
    still = [name for name, p in model.named_parameters() if not p.grad.abs().max() > 0]
    assert still == []
    other.load_checkpoint(model.checkpoint())
    assert torch.equal(model(tokens), other(tokens))


def test_a_zero_bos_stays_zero() -> None:
    model = Decoder(architecture("zero BOS", vocab_size=9), SEED)
    tokens = torch.full((1, 128), BOS_ID)
    torch.logsumexp(model(tokens), -1).sum().backward()
    assert model.embed_tokens.weight[BOS_ID].abs().max() == 0
    assert model.embed_tokens.weight.grad[BOS_ID].abs().max() == 0
    assert all(state[:, 0].abs().max() == 0 for state in model.residual_stream(tokens))
