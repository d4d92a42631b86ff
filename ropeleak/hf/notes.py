"""What the description of a model leaves out, in plain sentences."""

from collections.abc import Callable

from ropeleak.spec import Stack

from .fields import Fields

MIXTURE = "mixture of experts: routing is treated on average over random routers"
LATENT = "multi-head latent attention: low-rank queries and keys enter through their variances"


def of_stack(stack: Stack) -> list[str]:
    """Return what follows from the stack itself, whatever the family."""
    ropes = (attention.rope for attention in stack.attention if attention.rope is not None)
    reasons = dict.fromkeys(rope.breaks_relativity for rope in ropes)
    running = [
        f"{reason}; here every offset is taken at the full context of {stack.context} tokens"
        for reason in reasons
        if reason is not None
    ]
    mixture = [MIXTURE] if any(mlp.experts is not None for mlp in stack.mlp) else []
    latent = [LATENT] if any(attention.latent is not None for attention in stack.attention) else []
    return mixture + latent + running


def of_defaults(fields: Fields, model_type: str) -> list[str]:
    """Return which shapes were not in the config."""
    if not fields.assumed:
        return []
    listed = ", ".join(f"{name}={value}" for name, value in fields.assumed.items())
    return [f"not in the config, so the defaults of {model_type} are used: {listed}"]


def expert_groups(fields: Fields) -> list[str]:
    """DeepSeek chooses groups of experts first."""
    grouped = (fields.maybe_integer("n_group", 0) or 1) > 1
    return ["mixture of experts: the choice among groups of experts is left out"] * grouped


def layer_qk_norm(flag: str) -> Callable[[Fields], list[str]]:
    """QK-norms that are LayerNorms."""
    text = "QK-norm is a LayerNorm in the model and an RMSNorm here"
    return lambda fields: [text] if fields.flag(flag) else []


def gpt_neox(fields: Fields) -> list[str]:
    """Pythia's own initialisation is not Hugging Face's."""
    words = "weights are drawn as Hugging Face does; Pythia and GPT-NeoX-20B were trained from"
    return [f"{words} smaller ones (init.scheme=neox)"]


def ministral3(fields: Fields) -> list[str]:
    """Hugging Face floors the position, `Softmax` the number of keys."""
    return ["query scale: each step comes one token early"]
