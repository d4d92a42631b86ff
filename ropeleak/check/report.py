"""What a check found, in data and in words."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from textwrap import fill
from typing import Any, Literal

Kind = Literal["position-id offset", "sequence index", "rotation", "frequencies"]


WIDTH = 100
INDENT = 5


@dataclass(frozen=True)
class Cause:
    """What is likely to be wrong.

    Parameters
    ----------
    name
        A short name, the same in every report.
    sentence
        What it is and what to do.
    """

    name: str
    sentence: str


@dataclass(frozen=True)
class Failure:
    """The smallest case that was found to fail.

    Parameters
    ----------
    case
        What the function was given, by name.
    expected, got
        The two numbers that should agree.
    error, tolerance
        How far they are apart, and how far they may be.
    source
        Where the tolerance comes from.
    where
        Which numbers these are.
    """

    case: dict[str, Any]
    expected: float
    got: float
    error: float
    tolerance: float
    source: str
    where: str


@dataclass(frozen=True)
class Finding:
    """The outcome of one check; true if it passed.

    Parameters
    ----------
    check
        Name of the check.
    kind
        Which kind of invariance it is about.
    claim
        What holds if the check passes.
    examples
        How many cases were tried; 0 where nothing is demanded.
    margin
        The largest error of all cases over its tolerance.
    failure
        The smallest failing case, or None.
    causes
        What is likely to be wrong, the likeliest first.
    notes
        What else was seen that is no failure.
    """

    check: str
    kind: Kind
    claim: str
    examples: int
    margin: float
    failure: Failure | None = None
    causes: tuple[Cause, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no case failed."""
        return self.failure is None

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        return self.explain()

    def with_notes(self, *notes: str) -> "Finding":
        """Return the same finding with more notes."""
        return replace(self, notes=(*self.notes, *notes))

    def with_cause(self, cause: Cause) -> "Finding":
        """Return the same finding with one more cause, before the others."""
        others = tuple(other for other in self.causes if other.name != "unknown")
        return replace(self, causes=(cause, *others))

    def explain(self, causes: bool = True) -> str:
        """Return the finding in words: one line if it passed, else a paragraph of facts.

        Parameters
        ----------
        causes
            Whether causes are told in full, or by name.
        """
        facts: list[tuple[str, str]] = []
        if self.failure is not None:
            failure = self.failure
            case = ", ".join(f"{name}={value}" for name, value in failure.case.items())
            facts = [
                ("case", case),
                ("where", failure.where),
                ("expected", f"{failure.expected:.6g}"),
                ("got", f"{failure.got:.6g}"),
                ("error", f"{failure.error:.3g}"),
                ("tolerance", f"{failure.tolerance:.3g} ({failure.source})"),
            ]
            if causes:
                facts += [("likely", f"{cause.name}: {cause.sentence}") for cause in self.causes]
            elif self.causes:
                facts.append(("likely", ", ".join(cause.name for cause in self.causes)))
        facts += [("note", note) for note in self.notes]
        mark = "ok  " if self.passed else "FAIL"
        lines = [_wrapped(f"{mark} {self.check}: {self._outcome()}", "", " " * INDENT)]
        for name, text in facts:
            lines.append(_wrapped(text, f"{'':{INDENT}}{name:<10}", " " * (INDENT + 10)))
        return "\n".join(lines)

    def _outcome(self) -> str:
        if not self.passed:
            return f"not so that {self.claim}"
        if not self.examples:
            return self.claim
        used = f"at most {self.margin:.0%} of the tolerance used, {self.examples} examples"
        return f"{self.claim} ({used})"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain data."""
        return {
            "check": self.check,
            "kind": self.kind,
            "passed": self.passed,
            "claim": self.claim,
            "examples": self.examples,
            "margin": self.margin,
            "failure": None if self.failure is None else vars(self.failure),
            "causes": [vars(cause) for cause in self.causes],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Report:
    """The findings of several checks of one function; true if all passed.

    Parameters
    ----------
    subject
        What was checked, in words.
    findings
        In the order of the checks.
    """

    subject: str
    findings: tuple[Finding, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(self.findings)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Every likely cause once, the likeliest of the first failing check first."""
        return tuple(dict.fromkeys(cause for finding in self for cause in finding.causes))

    def __bool__(self) -> bool:
        return self.passed

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __repr__(self) -> str:
        return self.explain()

    def verdict(self, kind: Kind) -> str:
        """Return one sentence about one kind of invariance."""
        findings = [finding for finding in self if finding.kind == kind]
        if not findings:
            return "not checked"
        failed = [finding.check for finding in findings if not finding]
        if failed:
            return f"broken ({', '.join(failed)})"
        return f"holds, using {max(finding.margin for finding in findings):.0%} of the tolerance"

    def verdicts(self) -> dict[Kind, str]:
        """Return one sentence for every kind of invariance that was checked."""
        return {kind: self.verdict(kind) for kind in dict.fromkeys(f.kind for f in self)}

    def explain(self) -> str:
        """Return the report in words."""
        lines = [_wrapped(self.subject, "", ""), ""]
        lines += [
            _wrapped(text, f"{kind + ':':<20}", " " * 20) for kind, text in self.verdicts().items()
        ]
        lines += ["", *(finding.explain(causes=False) for finding in self)]
        if self.causes:
            lines += ["", "Likely causes"]
            lines += [
                _wrapped(f"{cause.name}: {cause.sentence}", " " * INDENT, " " * 2 * INDENT)
                for cause in self.causes
            ]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        return {
            "subject": self.subject,
            "passed": self.passed,
            "verdicts": self.verdicts(),
            "findings": [finding.as_dict() for finding in self],
        }


def _wrapped(text: str, first: str, others: str) -> str:
    return fill(text, WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False)
