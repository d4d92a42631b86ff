"""What a dataset says of how it was made, and of what it leaves out."""

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from ropeleak.spec import Stack

DRIFT = {
    1.6: "in plain attention at σ = 1.6 the residual leak is 4% too low in block 2; all else is"
    " within 3%",
    2.5: "in plain attention at σ = 2.5 the residual leak is 8% too low in block 2 and 4% in block"
    " 4; all else is within 3%",
}
"""How far the closed recursion is from the sampled one where scores are larger than σ = 1."""


def attributes(stack: Stack, largest: float, positions: str) -> dict[str, str]:
    """Return what a dataset says of how it was made."""
    return {
        "method": "mean-field",
        "positions": positions,
        "stack": stack.model_dump_json(),
        "ropeleak": package_version(),
        "approximations": "\n".join([*stack.approximations, *approximations(stack, largest)]),
    }


@cache
def package_version() -> str:
    """Return the version that is installed."""
    try:
        return installed_version("ropeleak")
    except PackageNotFoundError:
        return "uninstalled"


def approximations(stack: Stack, largest: float) -> list[str]:
    """Return, in words, what the recursion only approximates for this stack.

    ``largest`` is the largest standard deviation that it met for a score.
    """
    rows = (
        (
            any(a.alignment for a in stack.attention),
            "alignment m is treated to leading order in the scores",
        ),
        (largest > 2.0, f"scores are large (σ = {largest:.3g}): {DRIFT[2.5]}"),
        (1.0 < largest <= 2.0, f"scores reach σ = {largest:.3g}: {DRIFT[1.6]}"),
        (
            not stack.norm.before_branch and not stack.norm.after_sum,
            "scores and values of tokens with different norms are averaged with mean-field weights",
        ),
        (
            any(a.sink_bias for a in stack.attention),
            "sink bias: attention to token 0 is up to 10% too low in deep blocks of few heads",
        ),
        (
            any(a.sink_bias and a.softmax.softcap for a in stack.attention),
            "the soft cap takes a sink bias by its mean",
        ),
        (
            any(a.softmax.kind == "sigmoid" for a in stack.attention),
            "sigmoid attention: correlations between the weights of two queries are left out",
        ),
        (
            any(a.softmax.softcap is not None for a in stack.attention),
            "what scores of a row or of two contents share is capped through its variance alone",
        ),
    )
    return [*of_any_method(stack), *(text for applies, text in rows if applies)]


def of_any_method(stack: Stack) -> list[str]:
    """Return, in words, what all predictions of this stack leave out."""
    clamped = any(mlp.limit is not None for mlp in stack.mlp)
    return ["gated MLP: the clamp of its branches is left out"] * clamped
