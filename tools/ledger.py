"""Put the ledger of the claims into README.md and docs: ``python -m tools.ledger [--quick]``.

It stands between comments such as ``<!-- ledger -->`` and ``<!-- end of ledger -->``. What is
measured is kept under ``out/claims``, so that a run that was stopped goes on.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ropeleak.claims import CLAIMS, PREDECESSORS, ledger, load, names
from ropeleak.claims.claim import Finding
from ropeleak.claims.lab import Lab

from .pages import README

FOLDER = README.parent / "out" / "claims"
DETAILS = README.parent / "docs" / "claims.md"
Findings = Mapping[str, Finding]
Render = Callable[[Findings, Lab], str]


def put(text: str, name: str, block: str) -> str:
    """Return a page with a block between its comments."""
    place = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.S)
    new, count = place.subn(lambda found: f"{found[1]}\n{block}\n{found[2]}", text)
    if count != 1:
        raise SystemExit(f"there must be one place for the {name} in a page")
    return new


def verdicts(findings: Findings, lab: Lab) -> str:
    """Return the ledger of the claims, and that of their predecessors."""
    budget = lab.budget
    return (
        f"Stacks of {budget.n_blocks} attention blocks at context {budget.context}"
        f" (d_model 128, 4 heads, σ = γ = 1), {budget.draws} draws of weights; ± is one standard"
        " error; theory is the mean-field recursion unless a number says what it is. The last"
        " column is what small decoders do after training, with 95% intervals over trainings.\n\n"
        f"{_ledger(findings, CLAIMS)}\nWhat earlier papers showed, reproduced by the same"
        f" command:\n\n{_ledger(findings, PREDECESSORS)}"
    )


def _ledger(findings: Findings, modules: Sequence[str]) -> str:
    return ledger.markdown([findings[name] for name in names(modules)])


def details(findings: Findings, lab: Lab) -> str:
    """Return what every experiment says, with the table of its variants where it has one."""
    parts = []
    for name, finding in findings.items():
        found = finding.evidence
        parts.append(f"### {name}\n\n{finding.claim.question} {found.says}\n")
        if found.table:
            parts.append(ledger.variants_markdown(finding))
    return "\n".join(parts)


PAGES: Mapping[Path, tuple[str, Render]] = {
    README: ("ledger", verdicts), DETAILS: ("experiments", details),
}  # fmt: skip
"""Where a name stands in a page, and what belongs there."""


def main(arguments: Sequence[str]) -> None:
    """Run all claims and rewrite the pages."""
    lab = Lab("quick" if "--quick" in arguments else "full", folder=FOLDER)
    findings = {}
    for name in names():
        findings[name] = load(name).run(lab)
        print(f"{name}: {findings[name].verdict} ({findings[name].seconds:.0f} s)", flush=True)
    for page, (name, render) in PAGES.items():
        text = page.read_text(encoding="utf-8")
        page.write_text(put(text, name, render(findings, lab)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
