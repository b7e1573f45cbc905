"""`pack check`: all problems of a pack file with their lines, what its scenarios leave out among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from consent_ledger.consumers.opening import read_pack
from consent_ledger.consumers.scenarios import load_scenarios
from consent_ledger.ledger.policy.check.words import Problem, like
from consent_ledger.ledger.policy.load import checked_draft
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.projections.analysis.packcheck import check_pack

SUFFIXES: Final = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Line:
    """One problem, with the line it stands in."""

    line: int
    clause: str | None
    message: str

    def __str__(self) -> str:
        return f"{self.line}: {f'clause {self.clause}: ' if self.clause else ''}{self.message}"


@dataclass(slots=True)
class Report:
    """What the check of one file found. `tested`: whether there were scenarios to look at."""

    file: str
    controller: str | None = None
    clauses: int = 0
    tested: bool = False
    problems: list[Line] = field(default_factory=list)

    def __str__(self) -> str:
        if self.problems:
            return "\n".join(f"{self.file}:{problem}" for problem in self.problems)
        tested = "" if self.tested else " (no scenario file is there or was given: scenarios were not looked at)"
        return f"{self.file}: {self.controller}, {self.clauses} clauses, no problem found{tested}"

    def to_dict(self) -> dict[str, Any]:
        problems = [{"line": one.line, "clause": one.clause, "message": one.message} for one in self.problems]
        return {
            "file": self.file,
            "controller": self.controller,
            "clauses": self.clauses,
            "scenarios": self.tested,
            "problems": problems,
        }


def check_file(file: Path, scenario_files: Sequence[Path] = ()) -> Report:
    """Check one pack file. Without scenario files the one beside it, named like it, is looked at.

    Raises PackError where there is no such file, ScenarioFileError for what is no scenario file.
    """
    draft = checked_draft(read_pack(file))
    report = Report(str(file))
    report.problems = [Line(line, None, f"not TOML: {what}") for line, what in draft.syntax]
    if draft.lines is None:
        return report
    found = list(draft.problems)
    pack = draft.pack
    if pack is not None:
        report.controller, report.clauses = pack.controller, len(pack.clause)
        found += check_pack(pack)
        beside = [path for suffix in SUFFIXES if (path := file.with_suffix(suffix)) != file and path.is_file()]
        paths = list(scenario_files) or beside
        report.tested = bool(paths)
        if paths:
            found += untested(pack, [one for path in paths for one in load_scenarios(path)])
    rows = []
    for problem in dict.fromkeys(found):
        lines = sorted({draft.lines.line(path) for path in problem.see})
        see = f" (see line {', '.join(str(line) for line in lines)})" if lines else ""
        rows.append(Line(draft.lines.line(problem.path), problem.clause, problem.message + see))
    report.problems = sorted(rows, key=lambda row: row.line)
    return report


def untested(pack: Pack, scenarios: Sequence[dict[str, Any]]) -> Iterator[Problem]:
    """Clauses that begin no scenario's id, and readings that no scenario switches to."""
    own = [one for one in scenarios if one["controller"] == pack.controller]
    named = {str(one["id"]).partition("/")[0] for one in own}
    switched = {pair for one in own for pair in one.get("readings", {}).items()}
    for number, clause in enumerate(pack.clause):
        if clause.id not in named:
            hint = like(clause.id, named - set(pack.ids))
            text = f"no scenario is about it{hint}: none has an id that begins with {clause.id}/"
            yield Problem(("clause", number, "id"), clause.id, text)
        one = clause.interpretation
        for reading in one.readings if one else ():
            if one and reading != one.reading and (clause.id, reading) not in switched:
                place = ("clause", number, "interpretation", "readings", reading)
                text = f"no scenario switches to the reading {reading!r} (readings: {{{clause.id}: {reading}}})"
                yield Problem(place, clause.id, text)
