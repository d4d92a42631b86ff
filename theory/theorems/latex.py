"""Theorems in LaTeX (amsmath, amsthm), and their words on a terminal."""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter

from .gaussian import MEAN, GaussianMean, averaged_over_normal
from .steps import Cited, Definition, Nonnegative, Series, Step

if TYPE_CHECKING:
    from .theorem import Theorem

WIDE = 84
"""Formulas wider than this many characters are broken into lines on a page; a column has half."""

PREAMBLE = "\n".join(
    [
        r"\documentclass{article}",
        r"\usepackage[margin=2cm]{geometry}",
        r"\usepackage{amsmath,amssymb,amsthm}",
        r"\newtheorem{theorem}{Theorem}",
        r"\emergencystretch=2em",
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


class _Printer(LatexPrinter):  # type: ignore[misc]
    """Prints integrals over a normal density as means, polygamma functions as ``ψ_k``, primes."""

    def _deal_with_super_sub(self, string: str, style: str = "plain") -> str:
        before, prime, after = string.partition("'")
        whole = super()._deal_with_super_sub
        if not prime:
            return str(whole(string, style))
        return str(whole(before, style)) + prime + (f"_{{{after[1:]}}}" if after else "")

    def _print_Integral(self, expr: sp.Integral) -> str:  # noqa: N802
        inside = averaged_over_normal(expr)
        if inside is None:
            return str(super()._print_Integral(expr))
        return rf"{MEAN}_z\left[{self._print(inside)}\right]"

    def _print_polygamma(self, expr: sp.Expr, exp: str | None = None) -> str:
        order, x = map(self._print, expr.args)
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\psi_{{{order}}}{power}\left({x}\right)"


def tex(expression: sp.Basic) -> str:
    """Return a SymPy expression as a LaTeX formula."""
    settings = {"ln_notation": True, "inv_trig_style": "full"}
    return str(_Printer(settings).doprint(expression))


def equation(step: Step | Definition, width: int = WIDE) -> str:
    """Return the equation of a step as a LaTeX formula, broken into lines where it is long."""
    end = ""
    if isinstance(step, Series):
        end = rf" + O\!\left({tex(step.variable**step.power)}\right)"
    if isinstance(step, Nonnegative):
        end = r" \ge 0"
    relation = ":=" if isinstance(step, Definition) else step.relation
    return _related(_lines(step.lhs, width), relation, step.rhs, end, width)


def claim(theorem: "Theorem", width: int = WIDE) -> str:
    """Return what a theorem claims as a LaTeX formula: its quantity, named, and its formula."""
    if not theorem.quantity:
        return equation(theorem.claim, width)
    return _related([theorem.quantity], theorem.relation, theorem.formula, "", width)


def _related(left: list[str], relation: str, right: sp.Basic, end: str, width: int) -> str:
    whole = f"{' '.join(left)} {relation} {tex(right)}{end}"
    if len(left) == 1 and _width(whole) <= width:
        return whole
    first = [f"& {line}" for line in left]
    second = [rf"& \quad {line}" for line in _lines(right, width)]
    second[0] = second[0].replace(r"\quad", rf"\quad {relation}", 1)
    second[-1] += end
    return r"\begin{aligned} " + r" \\ ".join([*first, *second]) + r" \end{aligned}"


def _width(text: str) -> int:
    """Return about how many characters wide a formula is in print."""
    text = re.sub(r"\\(left|right|Bigl|Bigr|limits|displaystyle|operatorname)\b", "", text)
    text = re.sub(r"\\(begin|end)\{[^}]*\}|[{}&]", "", text)
    fractions = len(re.findall(r"\\frac", text))
    return len(re.sub(r"\\[A-Za-z]+ ?", "x", text).replace(" ", "")) - 2 * fractions


def _lines(expression: sp.Basic, width: int) -> list[str]:
    """Return a formula as lines, broken between terms."""
    text = tex(expression)
    if _width(text) <= width - 4:
        return [text]
    if isinstance(expression, sp.Add):
        return _terms(expression, width)
    if isinstance(expression, (sp.Sum, sp.Integral)):
        mean = averaged_over_normal(expression) if isinstance(expression, sp.Integral) else None
        if mean is not None:
            return _enclosed(rf"{MEAN}_z", mean, "", width)
        mark = sp.Symbol("MARK")
        head, tail = tex(type(expression)(mark, *expression.limits)).split("MARK")
        return _enclosed(head, sp.expand(expression.function), tail, width)
    if isinstance(expression, GaussianMean):
        return _enclosed(MEAN, expression.args[0], "", width)
    if isinstance(expression, sp.Mul):
        long = max(expression.args, key=lambda part: _width(tex(part)))
        rest = sp.Mul(*(part for part in expression.args if part != long))
        if isinstance(long, (sp.Add, sp.Sum, sp.Integral, GaussianMean)):
            before = rf"\left({tex(rest)}\right)" if rest.is_Add else tex(rest)
            return _enclosed(before, long, "", width)
    return [text]


def _terms(total: sp.Add, width: int) -> list[str]:
    lines = [""]
    for term in total.as_ordered_terms():
        for part in _lines(term, width):
            sign = "" if part.startswith("-") or lines == [""] else "+ "
            if lines[-1] and _width(lines[-1] + part) > width - 4:
                lines.append("")
            lines[-1] += f"{sign}{part} "
    return lines


def _enclosed(head: str, inside: sp.Expr, tail: str, width: int) -> list[str]:
    lines = _lines(inside, width)
    lines[0] = rf"{head}\Bigl({lines[0]}"
    lines[-1] += rf"\Bigr){tail}"
    return lines


def _display(formula: str) -> str:
    return "\\[\n" + formula + "\n\\]"


def _step_latex(step: Step | Cited | Definition, width: int) -> str:
    if isinstance(step, Cited):
        return rf"{step.text} \emph{{({step.source})}}"
    return f"{step.text}\n{_display(equation(step, width))}"


def definitions(theorem: "Theorem") -> list[Definition]:
    """Return what the formula of a theorem is made of, in the order of its steps."""
    defined = [step for step in theorem.steps if isinstance(step, Definition)]
    used, formulas = set[int](), [theorem.formula]
    while formulas:
        formula = formulas.pop()
        for number, step in enumerate(defined):
            if number not in used and _uses(formula, step.lhs):
                used.add(number)
                formulas.append(step.rhs)
    return [step for number, step in enumerate(defined) if number in used]


def _uses(formula: sp.Expr, name: sp.Expr) -> bool:
    return bool(formula.has(name.func if isinstance(name, AppliedUndef) else name))


def theorem_latex(theorem: "Theorem", among: Collection[str] = (), width: int = WIDE) -> str:
    """Return a ``theorem`` environment, symbols and hypotheses included, and its ``proof``.

    Theorems ``among`` those of the same document are referred to by number, others by title.
    Formulas are broken into lines of a ``width`` in characters.
    """
    lines = [rf"\begin{{theorem}}[{theorem.title}]", rf"\label{{thm:{theorem.name}}}"]
    lines += [theorem.statement, _display(claim(theorem, width))]
    where = [f"${equation(step)}$" for step in definitions(theorem)]
    if where:
        lines.append("where " + ", ".join(where) + ".")
    meanings = [f"${tex(row.symbol)}$ is {row.meaning} ({row.values})" for row in theorem.symbols]
    if meanings:
        lines.append("Here " + "; ".join(meanings) + ".")
    if theorem.hypotheses:
        lines.append("Assumed: " + "; ".join(theorem.hypotheses) + ".")
    if theorem.validity:
        lines.append(theorem.validity)
    lines += [r"\end{theorem}", r"\begin{proof}"]
    lines += [_step_latex(step, width) for step in theorem.steps]
    lines.append(r"\end{proof}")
    if theorem.references:
        shown = "; ".join(f"arXiv:{number} ({what})" for number, what in theorem.references)
        lines.append(f"Related: {shown}.")
    return _referring("\n".join(lines) + "\n", among)


def _referring(text: str, among: Collection[str]) -> str:
    """Return a text whose references to theorems by name are by number or by title."""
    from . import TABLE, load

    def reference(match: re.Match[str]) -> str:
        name = match[0]
        return rf"\ref{{thm:{name}}}" if name in among else f"``{load(name).title}''"

    name = "|".join(sorted(TABLE, key=len, reverse=True))
    several = rf"Theorems? (?:{name})(?:(?:, |,? and )(?:{name}))*"
    return re.sub(several, lambda found: re.sub(name, reference, found[0]), text)


def document(theorems: Collection["Theorem"]) -> str:
    """Return a whole LaTeX document that holds theorems."""
    names = [theorem.name for theorem in theorems]
    bodies = [theorem.latex(among=names) for theorem in theorems]
    return "\n".join([PREAMBLE, r"\begin{document}", *bodies, r"\end{document}", ""])
