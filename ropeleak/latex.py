"""Plain text and tables in LaTeX."""

from collections.abc import Iterable, Sequence

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$",
    "±": r"$\pm$", "×": r"$\times$", "′": "$'$", "²": "$^2$", "√": r"$\surd$", "≥": r"$\ge$",
    "≤": r"$\le$", "½": r"$\frac12$", "→": r"$\to$", "Δ": r"$\Delta$",
    "α": r"$\alpha$", "γ": r"$\gamma$", "κ": r"$\kappa$", "λ": r"$\lambda$", "σ": r"$\sigma$",
}  # fmt: skip
"""Characters that LaTeX takes for commands, or does not have outside of formulas."""


def escaped(text: str) -> str:
    """Return plain text as LaTeX shows it."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def tabular(columns: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in the style of booktabs, of cells that are LaTeX already.

    ``columns`` is what LaTeX takes, ``lrr`` for instance.
    """
    lines = [" & ".join(cells) + r" \\" for cells in rows]
    head = rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule", " & ".join(header) + r" \\"
    return "\n".join([*head, r"\midrule", *lines, r"\bottomrule", r"\end{tabular}", ""])
