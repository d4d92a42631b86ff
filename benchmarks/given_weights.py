"""Given weights: all leaks of a checkpoint, against transformers' eager forward with attentions."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .race import Program, race
from .tables import print_table

SIZES = {
    "hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64,
    "intermediate_size": 1408, "num_hidden_layers": 8, "vocab_size": 8192,
    "max_position_embeddings": 1024,
}  # fmt: skip
CONTENTS, CONTEXT = 16, 512


def ropeleak(folder: str) -> Callable[[], object]:
    """Return ropeleak's measurement, with ordinary content at position 0: one pass, all leaks."""
    from ropeleak import Stack
    from ropeleak.simulate import measure_weights

    stack = Stack.from_hf(folder, context=CONTEXT).set("bos", "random")
    return lambda: measure_weights(stack, folder, contents=CONTENTS)


def transformers(folder: str, batch: int) -> Callable[[], object]:
    """Return transformers' forward pass: hidden states and attentions, nothing made of them."""
    import torch
    from transformers import AutoModel

    auto: Any = AutoModel
    torch.set_grad_enabled(False)
    model = auto.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    tokens: Any = torch.randint(0, SIZES["vocab_size"], (CONTENTS, CONTEXT))

    def run() -> None:
        for some in tokens.split(batch):
            model(some, output_attentions=True, output_hidden_states=True, use_cache=False)

    return run


def run() -> None:
    """Print the table."""
    import torch
    from transformers import AutoConfig, AutoModel

    auto: Any = AutoModel
    with tempfile.TemporaryDirectory() as place:
        folder = str(Path(place))
        torch.manual_seed(0)
        auto.from_config(AutoConfig.for_model("llama", **SIZES)).save_pretrained(folder)
        same = {"folder": folder}
        programs = [
            Program("ropeleak", "given_weights", "ropeleak", same),
            *(
                Program(name, "given_weights", "transformers", {**same, "batch": batch})
                for name, batch in (
                    ("transformers, one content", 1), ("transformers, one batch", CONTENTS),
                )
            ),
        ]  # fmt: skip
        timings = race(programs)
    ours = timings["ropeleak"].typical
    rows = [
        (
            name, f"{CONTENTS * CONTEXT / timing.typical:.0f}", f"{timing.typical / ours:.2f}",
            f"{timing.gigabytes:.2f}", timing.remark,
        )
        for name, timing in timings.items()
    ]  # fmt: skip
    shape = f"d_model {SIZES['hidden_size']}, {SIZES['num_hidden_layers']} blocks"
    print_table(
        f"Given weights: llama, {shape}, {CONTENTS} contents of {CONTEXT} tokens",
        ("program", "tokens a second", "seconds over ropeleak's", "GB", "quiet runs"), rows,
    )  # fmt: skip
