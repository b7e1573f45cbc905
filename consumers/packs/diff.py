"""`pack diff`: what a rehearsal found, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from consent_ledger.consumers import show
from consent_ledger.consumers.opening import naming, read_pack
from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.times import FOREVER, format_time
from consent_ledger.projections.analysis.regions import ABROAD
from consent_ledger.projections.decision.question import parse_question
from consent_ledger.projections.replay.asking import CHANNELS, Asking
from consent_ledger.projections.replay.rehearsal import Changed, Compared, Rehearsal, Said

Row = dict[str, Any]
SHORT: Final = 12  # digits of a digest that are shown
_KINDS: Final = {("permit", "deny"): "permit->deny", ("deny", "permit"): "deny->permit"}
_OTHER: Final = "other"
_COUNTED: Final = ("permit->deny", "deny->permit", _OTHER)


@dataclass(slots=True)
class _Clause:
    """The changes that a clause decided on one side."""

    clause: str
    side: str
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    people: int = 0


@dataclass(slots=True)
class Report:
    """What a rehearsal found, counted. Of changes and of other clauses so many lines are kept as `keep` says."""

    rehearsal: Rehearsal
    keep: int | None  # None: all
    people: int = 0
    people_changed: int = 0
    questions: int = 0
    changed: int = 0
    other_clauses: int = 0
    clauses: dict[tuple[str, str], _Clause] = field(default_factory=dict)
    lines: list[tuple[str, Changed]] = field(default_factory=list)
    same: list[tuple[str, Changed]] = field(default_factory=list)

    def add(self, compared: Compared) -> None:
        """Count one person."""
        self.people += 1
        self.people_changed += bool(compared.changes)
        self.questions += compared.questions
        self.changed += len(compared.changes)
        self.other_clauses += len(compared.clauses)
        seen: set[tuple[str, str]] = set()
        for one in compared.changes:
            kind = _KINDS.get((one.old.outcome, one.new.outcome), _OTHER)
            for side, said in (("new", one.new), ("old", one.old)):
                for clause in said.clauses:
                    key = clause, side
                    row = self.clauses.setdefault(key, _Clause(clause, side))
                    row.counts[kind] += 1
                    row.people += key not in seen
                    seen.add(key)
        for kept, changes in ((self.lines, compared.changes), (self.same, compared.clauses)):
            if self.keep is None or len(kept) < self.keep:
                kept += [(compared.person, one) for one in changes]

    def by_clause(self) -> list[Row]:
        """The table by clause: those of the new pack in its order, then those of the old one."""
        order = {"new": list(self.rehearsal.new.ids), "old": list(self.rehearsal.old.ids)}
        rows = sorted(self.clauses.values(), key=lambda one: (one.side, order[one.side].index(one.clause)))
        return [{"clause": one.clause, "side": one.side, **one.counts, "people": one.people} for one in rows]


def packs_of(old: Path, new: Path, switched: Sequence[str]) -> tuple[Pack, Pack]:
    """Both packs, the new one with other readings: `CLAUSE=READING`. Raises PackError, InvalidQuestion."""
    readings = {}
    for one in switched:
        clause, equals, reading = one.partition("=")
        if not (clause and equals and reading):
            raise InvalidQuestion("reading", f"{one!r} is not of the form CLAUSE=READING")
        readings[clause] = reading
    return _load(old, {}), _load(new, readings)


def _load(file: Path, readings: dict[str, str]) -> Pack:
    with naming(file):
        return load_pack(read_pack(file), readings)


def moments_of(at: str | None, known_at: str | None, now: int) -> tuple[int, int]:
    """(the moment asked about, the knowledge asked by). Raises InvalidQuestion."""
    given = {name: value for name, value in (("at", at), ("known_at", known_at)) if value is not None}
    question = parse_question({"action": "use", **given})
    return (
        now if question.at is None else question.at,
        FOREVER if question.known_at is None else question.known_at,
    )


def report_on(rehearsal: Rehearsal, keep: int | None, progress: Callable[[int], None] | None = None) -> Report:
    """Run a rehearsal and count what it finds."""
    report = Report(rehearsal, keep)
    for compared in rehearsal.run(progress):
        report.add(compared)
    return report


# -- JSON --------------------------------------------------------------------------------------------------------------


def as_json(report: Report, *, clauses: bool) -> Row:
    """Everything. A `question` can be put to `decide` as it stands."""
    rehearsal = report.rehearsal
    document: Row = {
        "controller": rehearsal.old.controller,
        "old": {"sha256": rehearsal.old.sha256, "readings": {}},
        "new": {"sha256": rehearsal.new.sha256, "readings": _switched(rehearsal.new)},
        "at": format_time(rehearsal.at),
        "known_at": format_time(rehearsal.known_at) if rehearsal.known_at < FOREVER else None,
        "size": rehearsal.size,
        "people": report.people,
        "people_changed": report.people_changed,
        "questions": report.questions,
        "changed": report.changed,
        "other_clauses": report.other_clauses,
        "clauses": report.by_clause(),
        "changes": [_change(rehearsal, person, one) for person, one in report.lines],
    }
    if clauses:
        document["same_answer"] = [_change(rehearsal, person, one) for person, one in report.same]
    return document


def _switched(pack: Pack) -> dict[str, str]:
    return dict(one.split("=", 1) for one in pack.edition.removeprefix(pack.sha256).split())


def _change(rehearsal: Rehearsal, person: str, one: Changed) -> Row:
    question = {"controller": rehearsal.old.controller, "subject": person, **one.asking.body()}
    row = {"person": person, "question": question, "old": _said(one.old), "new": _said(one.new)}
    return row if one.since is None else {**row, "since": format_time(one.since)}


FLAT: Final = ("person", "since", "question", "old", "old_clauses", "new", "new_clauses")


def flat(report: Report, *, clauses: bool) -> list[Row]:
    """A row for each person and question whose answer changes; `clauses`: also where only the clauses do."""
    return [
        {
            "person": person,
            "since": None if one.since is None else format_time(one.since),
            "question": in_words([one.asking]),
            "old": one.old.outcome,
            "old_clauses": list(one.old.clauses),
            "new": one.new.outcome,
            "new_clauses": list(one.new.clauses),
        }
        for person, one in (*report.lines, *(report.same if clauses else ()))
    ]


def _said(said: Said) -> Row:
    return {"outcome": said.outcome, "clauses": list(said.clauses)}


# -- tables ------------------------------------------------------------------------------------------------------------


def print_report(report: Report, limit: int, *, clauses: bool) -> None:
    """Counts, then clauses, then people."""
    rehearsal = report.rehearsal
    out = show.console()
    switched = ", ".join(f"{clause}={reading}" for clause, reading in _switched(rehearsal.new).items())
    out.print(f"[bold]{show.marked(rehearsal.old.controller)}[/bold], at {format_time(rehearsal.at)}")
    out.print(f"old  {rehearsal.old.sha256[:SHORT]}")
    out.print(f"new  {rehearsal.new.sha256[:SHORT]}{show.marked(f'  reading {switched}') if switched else ''}")
    out.print(f"{report.people_changed:,} of {report.people:,} people have a changed answer")
    out.print(f"{report.changed:,} of {report.questions:,} questions are answered differently")
    out.print(f"{report.other_clauses:,} more have the same answer by other clauses")
    if report.changed:
        out.print()
        show.print_rows("by clause", report.by_clause(), ("clause", "side", *_COUNTED, "people"))
        _print_lines("people", report.lines, limit, report.changed)
    if clauses and report.other_clauses:
        _print_lines("same answer, other clauses", report.same, limit, report.other_clauses)


def _print_lines(title: str, lines: Sequence[tuple[str, Changed]], limit: int, count: int) -> None:
    out = show.console()
    shown = lines[:limit]
    people: dict[str, list[Row]] = {}
    for person, one, askings in _by_channels(shown):
        row = {
            "question": in_words(askings),
            "answer": _arrow(one.old.outcome, one.new.outcome),
            "since": "" if one.since is None else format_time(one.since),
            "clauses": _arrow(_joined(one.old.clauses), _joined(one.new.clauses)),
        }
        people.setdefault(person, []).append(row)
    out.print()
    out.print(f"[bold]{title}[/bold]")
    for person, rows in people.items():
        columns = ("question", "answer", "since", "clauses")
        show.print_rows(person, rows, tuple(name for name in columns if any(row[name] for row in rows)))
    if count > len(shown):
        out.print(f"and {count - len(shown):,} more (--limit, or --json for all)")


def _arrow(old: str, new: str) -> str:
    return old if old == new else f"{old} -> {new}"


def _joined(clauses: Iterable[str]) -> str:
    return ", ".join(clauses) or "none"


def _by_channels(lines: Iterable[tuple[str, Changed]]) -> list[tuple[str, Changed, list[Asking]]]:
    """Lines that differ in their channel alone, put into one."""
    found: dict[tuple[str, Changed], list[Asking]] = {}
    for person, one in lines:
        alike = Changed(one.asking._replace(channel=None), one.old, one.new, one.since)
        found.setdefault((person, alike), []).append(one.asking)
    return [(person, alike, askings) for (person, alike), askings in found.items()]


def in_words(askings: Sequence[Asking]) -> str:
    """What is asked, in words: questions that differ in their channel alone."""
    one = askings[0]
    words = [one.action]
    words += ["to", one.recipient] if one.recipient else []
    words += ["to the public"] if one.action == "disclose" and not one.recipient else []
    words += ["for", one.purpose] if one.purpose else []
    words += ["of", ", ".join(sorted(one.categories))] if one.categories else []
    named = (("list", one.list), ("item", one.item), ("ground", one.ground), ("from", one.origin), ("in", one.transfer))
    words += [f"{lead} {value}" for lead, value in named if value]
    abroad = "another country" if one.country == ABROAD else f"{one.country}, or where the same holds"
    words += [f"in {abroad}"] if one.country else []
    channels = [asking.channel for asking in askings if asking.channel]
    if channels:
        words.append("by any channel" if len(channels) == len(CHANNELS) else f"by {', '.join(channels)}")
    return " ".join(words)
