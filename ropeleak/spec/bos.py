"""What stands at position 0."""

from typing import Literal

from ._base import Spec

BosKind = Literal["constant", "other", "random", "absent", "zero", "mean"]


class Bos(Spec):
    """The token at position 0, as two inputs see it.

    ======== ===================================================================================
    constant the same embedding in every input (a BOS token)
    other    another constant than the one that the weights saw: statistically the same
    random   ordinary content, drawn afresh for every input
    absent   no BOS: position 0 holds the first content token (same statistics as ``random``)
    zero     the zero vector: constant, but without a direction of its own
    mean     the mean of the content embeddings: the shared component ``embedding.alpha`` alone
    ======== ===================================================================================
    """

    kind: BosKind = "constant"

    @property
    def is_constant(self) -> bool:
        """Whether every input has the same token at position 0."""
        return self.kind not in ("random", "absent")
