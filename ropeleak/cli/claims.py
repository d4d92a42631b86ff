"""``ropeleak claims``: the claims about position leakage, each decided by an experiment."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ropeleak.errors import RopeleakError

if TYPE_CHECKING:
    from ropeleak.claims.claim import Finding


def claims(
    name: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="One claim; all of them unless given.",
                       show_default=False),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller stacks and fewer draws: under a minute.")
    ] = False,
    seed: Annotated[
        int, typer.Option(metavar="N", help="The same seed gives the same numbers.")
    ] = 0,
    resume: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Keep what is measured in this folder, and take up what is there.",
        ),
    ] = Path("out/claims"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.pdf|png|svg", show_default=False,
                     help="Save the figure of the one claim."),
    ] = None,
) -> None:  # fmt: skip
    """Put the claims to the test, each with a verdict."""
    from ropeleak.output import check_figure, check_writable

    if plot is not None:
        if name is None:
            raise RopeleakError(f"--plot {plot} draws one claim: name it, e.g. mask-denominator")
        check_figure(plot)
        check_writable(plot)
    # Many small products: threads of the linear algebra would wait for each other.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    from ropeleak.claims import load, names

    chosen = [load(name)] if name is not None else [load(one) for one in names()]

    from ropeleak.claims import ledger
    from ropeleak.claims.lab import Lab

    from ._errors import INTERRUPTED
    from ._report import note, print_json, show

    findings = []
    try:
        with _bar(len(chosen)) as progress:
            lab = Lab("quick" if quick else "full", seed, resume, progress.measuring)
            for number, claim in enumerate(chosen):
                progress.claim(claim.id, number)
                findings.append(claim.run(lab))
    except KeyboardInterrupt:
        typer.echo(f"Stopped: the same command goes on from what is kept in {resume}.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if plot is not None:
        ledger.plot(findings[0], plot)
    if as_json:
        data = [ledger.as_data(finding) for finding in findings]
        print_json({"budget": lab.budget._asdict(), "seed": seed, "claims": data})
        return
    show(list(_pages(findings, full=name is not None)))
    if plot is not None:
        note(f"Wrote {plot}.")


def _pages(findings: "Sequence[Finding]", full: bool) -> "Iterator[Any]":
    """Yield what there is to print: the claims, and apart from them what predecessors showed."""
    from rich.text import Text

    from ropeleak.claims.claim import SOURCE

    paper = ""
    for finding in findings:
        source = finding.claim.paper == SOURCE
        heading = f"Claims of arXiv {SOURCE}" if source else "What its predecessors showed"
        if heading != paper and not full:
            yield Text(heading, style="bold underline")
        paper = heading
        yield from _parts(finding, full)


def _parts(finding: "Finding", full: bool) -> list[Any]:
    """Return what there is to print of a finding: all of it, or what decides."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from ropeleak.claims.claim import SOURCE
    from ropeleak.claims.ledger import after_training, deciding, text

    claim, found = finding.claim, finding.evidence
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for column in ("number", "theory", "measured"):
        table.add_column(
            column, no_wrap=column != "number", ratio=1 if column == "number" else None
        )
    for row in found.rows if full else deciding(finding):
        table.add_row(f"{row.name}: {row.words}", text(row.theory), text(row.measured))
    paper = "" if claim.paper == SOURCE else f" (arXiv {claim.paper})"
    title = Text.assemble((claim.id, "bold"), f": {claim.says}{paper}: ", (finding.verdict, "bold"))
    parts: list[Any] = [Group(title, Text(found.says), table)]
    if full:
        parts.append(Text(f"{claim.question} Rule: {claim.rule}."))
        if claim.id in after_training():
            parts.append(Text(f"After training: {after_training()[claim.id]}."))
    if full and found.table:
        variants = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
        for column in found.table[0]:
            variants.add_column(column)
        for cells in found.table[1:]:
            variants.add_row(*cells)
        parts.append(variants)
    return parts


class _Progress:
    """Where the experiments are, shown by bars or not at all."""

    def __init__(
        self, count: int, all_of_them: Callable[[str, int], None], one: Callable[..., None]
    ) -> None:
        self._count, self._all, self._one = count, all_of_them, one
        self._what, self._begun, self._first = "", 0.0, 0

    def claim(self, name: str, number: int) -> None:
        """Begin a claim."""
        self._all(f"{name}, {number + 1} of {self._count}", number)

    def measuring(self, what: str, done: int, wanted: int) -> None:
        """Tell how far a measurement is, how fast it goes, and how long it will take."""
        from ropeleak.describe import sig

        from ._measuring import duration

        if what != self._what or done <= self._first:
            self._what, self._begun, self._first = what, perf_counter(), done
        words = [f"{done} of {wanted}"]
        made, seconds = done - self._first, perf_counter() - self._begun
        if made > 0 and seconds > 0:
            rate = made / seconds
            words += [f"{sig(rate)} a second", f"{duration((wanted - done) / rate)} left"]
        self._one(f"{what}: {', '.join(words)}", done, wanted)


@contextmanager
def _bar(count: int) -> Iterator[_Progress]:
    """Show what is measured on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    err = Console(file=sys.stderr)
    if not err.is_terminal:
        yield _Progress(count, lambda what, number: None, lambda what, done, wanted: None)
        return
    columns = SpinnerColumn(), BarColumn(bar_width=12), TimeElapsedColumn()
    with Progress(*columns, TextColumn("{task.description}"), console=err, transient=True) as bar:
        claims, measurement = bar.add_task("", total=count), bar.add_task("", total=None)

        def all_of_them(what: str, number: int) -> None:
            bar.update(claims, description=escape(what), completed=number)
            bar.reset(measurement, description="", total=None)

        def one(what: str, done: int, wanted: int) -> None:
            bar.update(measurement, description=escape(what), completed=done, total=wanted)

        yield _Progress(count, all_of_them, one)
