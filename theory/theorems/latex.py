"""Theorems in LaTeX (amsmath, amsthm), and their words on a terminal."""

import re
from typing import TYPE_CHECKING

import sympy as sp

from .gaussian import GaussianMean
from .steps import Cited, Definition, Nonnegative, Series, Step

if TYPE_CHECKING:
    from .theorem import Theorem

_WIDE = 84
"""Formulas wider than this many characters are broken into lines."""

PREAMBLE = "\n".join(
    [
        r"\documentclass{article}",
        r"\usepackage[margin=2cm]{geometry}",
        r"\usepackage{amsmath,amssymb,amsthm}",
        r"\newtheorem{theorem}{Theorem}",
    ]
)

_SYMBOLS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "Delta": "Δ", "epsilon": "ε",
    "theta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "pi": "π", "rho": "ρ",
    "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
    "Gamma": "Γ", "Phi": "Φ", "Psi": "Ψ", "zeta": "ζ", "ell": "ℓ", "le": "≤", "ge": "≥", "ne": "≠",
    "ll": "≪", "gg": "≫", "to": "→", "infty": "∞", "sum": "Σ", "int": "∫", "prod": "Π",
    "cdot": "·", "times": "×", "sim": "~", "approx": "≈", "in": "∈", "ldots": "…", "dots": "…",
    "bar": "mean ", "sqrt": "√", "pm": "±", "lfloor": "⌊", "rfloor": "⌋", "partial": "∂",
    "ln": "ln", "log": "log", "exp": "exp", "cos": "cos", "sin": "sin", "max": "max", "min": "min",
    "mathrm": "", "operatorname": "", "top": "ᵀ", "quad": " ", "emptyset": "∅", "left": "",
    "right": "", "infinity": "∞", "propto": "∝", "binom": "C", "mid": "|", "tfrac": "", "frac": "",
}  # fmt: skip


def plain(text: str) -> str:
    """Return words with ``$…$`` formulas as a terminal shows them."""

    def formula(match: re.Match[str]) -> str:
        inside = re.sub(r"\\[tdc]?frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1)/(\2)", match[1])
        inside = re.sub(r"\\binom\{([^{}]*)\}\{([^{}]*)\}", r"C(\1, \2)", inside)
        inside = re.sub(r"\\([A-Za-z]+)\s?", lambda m: _SYMBOLS.get(m[1], m[1]), inside)
        inside = re.sub(r"\^\{([^{}]{2,})\}", r"^(\1)", inside)
        inside = re.sub(r"\\[,;! ]", " ", inside)
        return re.sub(r"[{}]", "", inside)

    return re.sub(r"\$([^$]*)\$", formula, text)


def equation(step: Step | Definition) -> str:
    """Return the equation of a step as a LaTeX formula, broken into lines where it is long."""
    end = ""
    if isinstance(step, Series):
        end = rf" + O\!\left({sp.latex(step.variable**step.power)}\right)"
    if isinstance(step, Nonnegative):
        end = r" \ge 0"
    relation = ":=" if isinstance(step, Definition) else step.relation
    left, right = sp.latex(step.lhs), sp.latex(step.rhs)
    whole = f"{left} {relation} {right}{end}"
    if _width(whole) <= _WIDE:
        return whole
    first = [f"& {line}" for line in _lines(step.lhs)]
    second = [rf"& \quad {line}" for line in _lines(step.rhs)]
    second[0] = second[0].replace(r"\quad", rf"\quad {relation}", 1)
    second[-1] += end
    return r"\begin{aligned} " + r" \\ ".join([*first, *second]) + r" \end{aligned}"


def _width(text: str) -> int:
    """Return about how many characters wide a formula is in print."""
    text = re.sub(r"\\(left|right|Bigl|Bigr|limits|displaystyle|operatorname)\b", "", text)
    text = re.sub(r"\\(begin|end)\{[^}]*\}|[{}&]", "", text)
    fractions = len(re.findall(r"\\frac", text))
    return len(re.sub(r"\\[A-Za-z]+ ?", "x", text).replace(" ", "")) - 2 * fractions


def _lines(expression: sp.Basic) -> list[str]:
    """Return a formula as lines, broken between terms."""
    text = sp.latex(expression)
    if _width(text) <= _WIDE - 4:
        return [text]
    if isinstance(expression, sp.Add):
        lines = [""]
        for term in expression.as_ordered_terms():
            for part in _lines(term):
                sign = "" if part.startswith("-") or lines == [""] else "+ "
                if lines[-1] and _width(lines[-1] + part) > _WIDE - 4:
                    lines.append("")
                lines[-1] += f"{sign}{part} "
        return lines
    if isinstance(expression, (sp.Sum, sp.Integral)):
        mark = sp.Symbol("MARK")
        head, tail = sp.latex(type(expression)(mark, *expression.limits)).split("MARK")
        return _enclosed(head, sp.expand(expression.function), tail)
    if isinstance(expression, GaussianMean):
        return _enclosed(r"\mathbb{E}", expression.args[0], "")
    if isinstance(expression, sp.Mul):
        long = max(expression.args, key=lambda part: _width(sp.latex(part)))
        rest = sp.Mul(*(part for part in expression.args if part != long))
        if isinstance(long, (sp.Add, sp.Sum, sp.Integral, GaussianMean)):
            return _enclosed(sp.latex(rest), long, "")
    return [text]


def _enclosed(head: str, inside: sp.Expr, tail: str) -> list[str]:
    lines = _lines(inside)
    if len(lines) == 1:
        return [head + lines[0] + tail]
    return [head + r"\Bigl(" + lines[0], *lines[1:-1], lines[-1] + r"\Bigr)" + tail]


def _display(formula: str) -> str:
    return "\\[\n" + formula + "\n\\]"


def _step_latex(step: Step | Cited | Definition) -> str:
    if isinstance(step, Cited):
        return rf"{step.text} \emph{{({step.source})}}"
    return f"{step.text}\n{_display(equation(step))}"


def theorem_latex(theorem: "Theorem") -> str:
    """Return a ``theorem`` environment, symbols and hypotheses included, and its ``proof``."""
    lines = [rf"\begin{{theorem}}[{theorem.title}]", rf"\label{{thm:{theorem.name}}}"]
    lines += [theorem.statement, _display(equation(theorem.claim))]
    meanings = [
        f"${sp.latex(row.symbol)}$ is {row.meaning} ({row.values})" for row in theorem.symbols
    ]
    if meanings:
        lines.append("Here " + "; ".join(meanings) + ".")
    if theorem.hypotheses:
        lines.append("Assumed: " + "; ".join(theorem.hypotheses) + ".")
    if theorem.validity:
        lines.append(theorem.validity)
    lines += [r"\end{theorem}", r"\begin{proof}"]
    lines += [_step_latex(step) for step in theorem.steps]
    lines.append(r"\end{proof}")
    if theorem.references:
        shown = "; ".join(f"arXiv:{number} ({what})" for number, what in theorem.references)
        lines.append(f"Related: {shown}.")
    return "\n".join(lines) + "\n"


def document(bodies: list[str]) -> str:
    """Return a whole LaTeX document that holds theorems."""
    return "\n".join([PREAMBLE, r"\begin{document}", *bodies, r"\end{document}", ""])
