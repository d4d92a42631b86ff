"""Put the ledger of the claims into README.md: ``python -m tools.ledger [--quick]``.

It stands between the comments ``<!-- ledger -->`` and ``<!-- end of ledger -->``. What is measured
is kept under ``out/claims``, so that a run that was stopped goes on.
"""

import re
import sys
from collections.abc import Sequence

from ropeleak.claims import ledger, load, names
from ropeleak.claims.claim import Finding
from ropeleak.claims.lab import Lab

from .pages import README

BLOCK = re.compile(r"(<!-- ledger -->\n).*?(<!-- end of ledger -->)", re.S)
FOLDER = README.parent / "out" / "claims"


def rendered(text: str, findings: Sequence[Finding], lab: Lab) -> str:
    """Return a README with the ledger of some findings."""
    budget = lab.budget
    words = (
        f"\nStacks of {budget.n_blocks} attention blocks at context {budget.context}"
        f" (d_model 128, 4 heads, σ = γ = 1), {budget.draws} draws of weights; ± is one standard"
        " error; theory without “exact” is the mean-field recursion.\n\n"
    )
    block = words + ledger.markdown(findings) + "\n"
    new, count = BLOCK.subn(lambda found: found[1] + block + found[2], text)
    if count != 1:
        raise SystemExit("README.md: there must be one place for the ledger")
    return new


def main(arguments: Sequence[str]) -> None:
    """Run all claims and rewrite README.md."""
    lab = Lab("quick" if "--quick" in arguments else "full", folder=FOLDER)
    findings = []
    for name in names():
        findings.append(load(name).run(lab))
        print(f"{name}: {findings[-1].verdict} ({findings[-1].seconds:.0f} s)")
    text = README.read_text(encoding="utf-8")
    README.write_text(rendered(text, findings, lab), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
