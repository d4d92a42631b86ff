"""``ropeleak theorems``: the results that the numbers come from, and their proofs."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ropeleak.errors import RopeleakError

if TYPE_CHECKING:
    from ropeleak.theory.theorems.theorem import Theorem


def theorems(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="One theorem; all of them unless given.",
                       show_default=False),
    ] = None,
    latex: Annotated[
        bool, typer.Option("--latex", help="Print LaTeX: a theorem and its proof, or a document.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Prove every step again, with SymPy.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:  # fmt: skip
    """List, print or verify the theorems."""
    from ropeleak.theory.theorems import TABLE, load

    if latex and (verify or as_json):
        raise RopeleakError("--latex prints LaTeX and nothing else: leave --verify and --json out")
    chosen = [load(name)] if name is not None else []
    if latex:
        _print_latex(chosen)
    elif verify:
        _verify([theorem.name for theorem in chosen] or list(TABLE), as_json)
    elif name is None:
        _list(as_json)
    else:
        _show(chosen[0], as_json)


def _list(as_json: bool) -> None:
    from rich.table import Table

    from ropeleak.theory.theorems import TABLE, load

    from ._report import print_json, show

    rows = [(row.family, load(row.name)) for row in TABLE.values()]
    if as_json:
        print_json([{"name": t.name, "family": family, "title": t.title} for family, t in rows])
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for column in ("family", "name", "title"):
        table.add_column(column, no_wrap=column != "title")
    before = ""
    for family, theorem in rows:
        table.add_row("" if family == before else family, theorem.name, theorem.title)
        before = family
    show([table])


def _show(theorem: "Theorem", as_json: bool) -> None:
    import sympy as sp
    from rich.text import Text

    from ropeleak.theory.theorems.latex import plain
    from ropeleak.theory.theorems.steps import Cited, Step

    from ._report import print_json, show

    if as_json:
        print_json(_as_data(theorem))
        return
    pages: list[Any] = [
        Text(f"{theorem.title} ({theorem.name})", style="bold"),
        Text(plain(theorem.statement)),
        Text(f"  {_quantity(theorem)}\n  {plain(f'${theorem.relation}$')}"
             f" {sp.sstr(theorem.formula)}"),
        Text("\n".join(f"{sp.sstr(row.symbol)}: {plain(row.meaning)} ({plain(row.values)})"
                       for row in theorem.symbols)),
    ]  # fmt: skip
    if theorem.hypotheses:
        pages.append(Text("\n".join(f"assumed: {plain(words)}" for words in theorem.hypotheses)))
    if theorem.validity:
        pages.append(Text(plain(theorem.validity)))
    steps = []
    for number, step in enumerate(theorem.steps, start=1):
        how = "cited" if isinstance(step, Cited) else "definition"
        if isinstance(step, Step):
            how = step.rule
        steps.append(f"{number}. [{how}] {plain(step.text)}")
        if isinstance(step, Cited):
            steps[-1] += f" ({step.source})"
        else:
            steps.append(f"   {sp.sstr(step.lhs)} = {sp.sstr(step.rhs)}")
    show([*pages, Text("\n".join(steps))])


def _quantity(theorem: "Theorem") -> str:
    import sympy as sp

    from ropeleak.theory.theorems.latex import plain

    return plain(f"${theorem.quantity}$") if theorem.quantity else str(sp.sstr(theorem.claim.lhs))


def _as_data(theorem: "Theorem") -> dict[str, Any]:
    import sympy as sp

    from ropeleak.theory.theorems.latex import plain
    from ropeleak.theory.theorems.steps import Cited

    return {
        "name": theorem.name,
        "title": theorem.title,
        "statement": plain(theorem.statement),
        "hypotheses": [plain(words) for words in theorem.hypotheses],
        "symbols": {
            sp.sstr(row.symbol): f"{plain(row.meaning)} ({plain(row.values)})"
            for row in theorem.symbols
        },
        "claim": {
            "quantity": _quantity(theorem),
            "relation": plain(f"${theorem.relation}$"),
            "lhs": sp.sstr(theorem.claim.lhs),
            "rhs": sp.sstr(theorem.formula),
        },
        "arguments": [sp.sstr(symbol) for symbol in theorem.arguments],
        "validity": plain(theorem.validity),
        "proven": [plain(step.text) for step in theorem.proof],
        "cited": [
            f"{plain(step.text)} ({step.source})"
            for step in theorem.steps
            if isinstance(step, Cited)
        ],
        "references": dict(theorem.references),
    }


def _print_latex(chosen: "list[Theorem]") -> None:
    from ropeleak.theory.theorems import TABLE, load
    from ropeleak.theory.theorems.latex import document

    if chosen:
        print(chosen[0].latex(), end="")
    else:
        print(document([load(name) for name in TABLE]), end="")


def _verify(names: list[str], as_json: bool) -> None:
    from ropeleak.theory.theorems import load

    from ._report import print_json

    found = []
    for name in names:
        result = load(name).verify()
        found.append(result)
        if as_json:
            continue
        verdict = "proven" if result.holds else "NOT PROVEN"
        print(f"{name:28} {len(result.outcomes):2} steps  {verdict}  {result.seconds:.1f} s")
        for outcome in result.failed:
            print(f"    {outcome.rule}: {outcome.text}")
    if as_json:
        print_json(
            [{"name": r.name, "steps": len(r.outcomes), "holds": r.holds, "seconds": r.seconds,
              "failed": [outcome.text for outcome in r.failed]} for r in found]
        )  # fmt: skip
    wrong = [result.name for result in found if not result.holds]
    if wrong:
        raise RopeleakError(f"SymPy does not prove {', '.join(wrong)}")
