"""Build the documentation into out/site, ``python -m tools.docs``: any warning is an error.

The pages are copied to out/docs first, where their blocks run: outputs are fresh, and figures lie
beside the pages that show them.
"""

import shutil
import subprocess
import sys

from ropeleak.theory.theorems import TABLE, load
from ropeleak.theory.theorems.latex import equation

from .pages import ROOT, pages, rendered

SOURCE, STAGE, SITE = ROOT / "docs", ROOT / "out" / "docs", ROOT / "out" / "site"
BESIDE = ("README.md", "CHANGELOG.md")
"""What pages include from the folder above."""

INTRODUCTION = """# Theorems

Every step of every proof is verified by SymPy, and the right side of each claim is the formula that
the numbers use. `ropeleak theorems NAME --latex` prints the proof, `--verify` does it again."""

FAMILIES = {
    "rope": "Rotary position embeddings",
    "softmax": "One softmax",
    "uniform": "Uniform attention",
    "origin": "Position 0",
    "reach": "Reach of a window",
    "ruler": "Telling positions apart",
    "precision": "Finite precision",
    "residual": "The residual leak",
}


def theorems() -> str:
    """Return the page that states every theorem."""
    lines, before = [INTRODUCTION], ""
    for row in TABLE.values():
        theorem = load(row.name)
        if row.family != before:
            lines += ["", f"## {FAMILIES.get(row.family, row.family.capitalize())}"]
        before = row.family
        lines += ["", f"### {theorem.title}", "", f"`{theorem.name}`. {theorem.statement}"]
        lines += ["", "$$", equation(theorem.claim), "$$"]
        if theorem.hypotheses:
            lines += ["", f"Assumed: {'; '.join(theorem.hypotheses)}."]
        if theorem.validity:
            lines += ["", theorem.validity]
    return "\n".join(lines) + "\n"


def stage() -> None:
    """Copy the pages, with fresh outputs and figures, to where Sphinx reads them."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(SOURCE, STAGE)
    for name in BESIDE:
        shutil.copy(ROOT / name, STAGE.parent)
    for page in pages():
        if page.is_relative_to(SOURCE):
            copy = STAGE / page.relative_to(SOURCE)
            copy.write_text(rendered(page, copy.parent), encoding="utf-8")
    (STAGE / "theorems.md").write_text(theorems(), encoding="utf-8")


def main() -> None:
    """Build the site."""
    stage()
    shutil.rmtree(SITE, ignore_errors=True)
    options = ["--fail-on-warning", "--keep-going", "--quiet", "--builder", "html"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(STAGE), str(SITE)], check=False
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    print(f"wrote {SITE.relative_to(ROOT)}/index.html")


if __name__ == "__main__":
    main()
