"""Existing consents from CSV: each row becomes a consent.granted, with an id that the same row always has.

    origin,date,subject,controller,purpose,list,basis,proof,personal.email
    crm-2019,2019-05-01,crm:4711,shop,newsletter,news,express,form 118,ann@example.com

It is tried first: what would be recorded, and what is wrong with which column of which row. `docs/reference/import.md`
has the columns.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Final

from consent_ledger.ledger.errors import InvalidEvent, InvalidQuestion
from consent_ledger.ledger.events.catalogue import TYPES
from consent_ledger.ledger.intake.dry_run import would_record
from consent_ledger.ledger.intake.parse import known_field
from consent_ledger.ledger.outcome import Outcome
from consent_ledger.ledger.times import format_time, parse_time
from consent_ledger.projections.ledger import Ledger

Row = dict[str, Any]
TYPE: Final = "consent.granted"
BATCH: Final = 1_000
SHOWN: Final = 1_000  # problems that are kept
GROUPED: Final = ("controller", "purpose", "list", "basis", "actor", "rows", "from", "to")
NEEDED: Final = ("subject", "date", "purpose")
_ENVELOPE: Final = ("id", "origin", "date", "subject", "controller", "actor")
_LISTS: Final = ("categories", "recipients", "channels")  # cells that hold several, with a semicolon between
_PERSONAL: Final = "personal."
_NESTED: Final = "shown."
_NO_TIME: Final = "wants an RFC 3339 time"  # of what is no time at all; a day will do here
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_COLUMN: Final = {"time": "date", "source": "origin", "personal": "personal.*"}  # by the field that an outcome names


def columns() -> list[str]:
    """The columns there can be, but for those of personal fields."""
    fields = TYPES[TYPE].model_fields
    more = ("text_sha256", "language", "method", "form") if "shown" in fields else ()
    plain = [name for name in fields if name not in ("shown", "answers")]
    return [*_ENVELOPE, *plain, "proof", *(f"{_NESTED}{name}" for name in more)]


@dataclass(slots=True)
class Report:
    """What became, or would become, of the rows. Rows are counted by their line in the file, from 1."""

    write: bool
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("accepted", "duplicate", "refused", "conflict", "invalid"), 0)
    )
    problems: list[Row] = field(default_factory=list)
    _groups: dict[tuple[Any, ...], Row] = field(default_factory=dict)

    def __str__(self) -> str:
        counted = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return counted if self.write else f"would be: {counted} (nothing is written without --write)"

    def groups(self) -> list[Row]:
        """What was, or would be, recorded: rows that are alike, counted, with the first and the last date."""
        return [self._groups[key] for key in sorted(self._groups, key=str)]

    def to_dict(self) -> Row:
        return {"written": self.write, **self.counts, "rows": self.groups(), "problems": self.problems}

    def problem(self, row: int, column: str, text: str) -> None:
        if len(self.problems) < SHOWN:
            self.problems.append({"row": row, "column": column, "problem": text})

    def count(self, row: int, event: Any, outcome: Outcome) -> None:
        """Count a row."""
        name = "duplicate" if outcome.kind == "accepted" and outcome.duplicate else outcome.kind
        self.counts[name] += 1
        if name == "accepted":
            data, time = event["data"], format_time(parse_time(event["time"]))
            key = (event["controller"], data.get("purpose"), data.get("list"), data["basis"], event["actor"])
            group = self._groups.setdefault(key, {**dict(zip(GROUPED, key, strict=False)), "rows": 0, "from": time})
            group["rows"] += 1
            group["from"], group["to"] = min(group["from"], time), max(group.get("to", time), time)
        elif name != "duplicate":
            column, said = _column(outcome), outcome.reason or "another row has this origin and id"
            if column == "date" and said.startswith(_NO_TIME):
                said = _DATE
            self.problem(row, column, said)


def run(
    ledger: Ledger,
    stream: IO[bytes],
    controller: str | None,
    delimiter: str = ",",
    *,
    write: bool,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Try every row, or record it (`write`). Raises InvalidQuestion for a header that cannot be meant.

    Recording again what was recorded adds nothing. What is wrong with a row keeps none of the others out.
    """
    report = Report(write)
    seen: set[tuple[str, str]] = set()
    batch: list[tuple[int, Any]] = []
    for row in _events(ledger, stream, controller, delimiter):
        batch.append(row)
        if len(batch) == BATCH:
            _through(ledger, batch, report, seen)
            batch = []
            if progress:
                progress(row[0])
    if batch:
        _through(ledger, batch, report, seen)
    return report


def _through(ledger: Ledger, batch: list[tuple[int, Any]], report: Report, seen: set[tuple[str, str]]) -> None:
    events = [event for _, event in batch]
    outcomes = ledger.record(events) if report.write else would_record(ledger.app, events, ledger.clock())
    for (row, event), outcome in zip(batch, outcomes, strict=True):
        key = (event["source"], event["id"]) if isinstance(event, dict) else ("", "")
        again = key in seen and outcome.kind == "accepted"  # tried in another batch, of which nothing is left
        report.count(row, event, outcome._replace(duplicate=True) if again else outcome)
        if outcome.kind == "accepted":
            seen.add(key)


def _column(outcome: Outcome) -> str:
    if outcome.clause is not None:
        return outcome.clause
    if outcome.kind == "conflict":
        return "id"
    name = outcome.field or ""
    return _COLUMN.get(name) or (name if name in columns() else known_field(name))


# -- rows --------------------------------------------------------------------------------------------------------------


def _events(ledger: Ledger, stream: IO[bytes], controller: str | None, delimiter: str) -> Iterator[tuple[int, Any]]:
    """(line, the event of that row or what is wrong with it)."""
    whose = controller if controller is not None else _only(ledger)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = _header(next(reader, []))
    except csv.Error as error:
        raise InvalidQuestion("header", f"is no CSV ({error})") from None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, InvalidEvent("event", f"is no CSV ({error}): is a quotation mark left open?")
            continue
        if not any(cell.strip() for cell in cells):
            continue
        try:
            yield reader.line_num, _event(ledger, header, cells, whose)
        except InvalidEvent as error:
            yield reader.line_num, error


def _only(ledger: Ledger) -> str | None:
    """The controller, where the ledger has but one."""
    controllers = list(ledger.app.controller_packs())
    return controllers[0] if len(controllers) == 1 else None


def _header(cells: list[str]) -> list[str]:
    """The columns of a file. Raises InvalidQuestion naming the one that there is not, or that is missing."""
    names = [cell.strip() for cell in cells]
    known = columns()
    for name in names:
        if name not in known and not (name.startswith(_PERSONAL) and len(name) > len(_PERSONAL)):
            raise InvalidQuestion("header", f"{name[:64]!r} is no column: {_meant(name, known)}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidQuestion("header", f"the column {twice!r} is there twice")
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise InvalidQuestion("header", f"the column {missing[0]} is missing (a file needs {', '.join(NEEDED)})")
    return names


_SEPARATORS: Final = {";": "';'", "\t": "$'\\t'", "|": "'|'"}  # as a shell is told them
_DATE: Final = "wants a day such as 2026-01-02, or an RFC 3339 time with an offset, such as 2026-01-02T03:04:05Z"


def _meant(name: str, known: list[str]) -> str:
    """What may be wrong with a header in which this is no column."""
    if "\0" in name or "\udcff\udcfe" in name or "\udcfe\udcff" in name:
        return "the file is UTF-16: save it as CSV in UTF-8"
    for separator, typed in _SEPARATORS.items():
        if any(one.strip() in known for one in name.split(separator)) and separator in name:
            return f"its cells are separated otherwise: give --delimiter {typed}"
    return f"there are {', '.join(known)}, and personal.NAME for the rest"


def _event(ledger: Ledger, header: list[str], cells: list[str], controller: str | None) -> Row:
    """The event of a row. Raises InvalidEvent naming the column."""
    if len(cells) > len(header):
        raise InvalidEvent(
            "event", f"has {len(cells)} cells, the header {len(header)}: put quotation marks around text"
        )
    row = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if cell.strip()}
    row.setdefault("actor", "system")
    row.setdefault("basis", "express")
    whose = row.pop("controller", controller)
    if whose is None:
        raise InvalidEvent("controller", "is needed: this ledger has several (a column, or --controller)")
    origin = row.pop("origin", "csv")
    identity = row.pop("id", None) or _derived(ledger, whose, origin, row)
    date = row.pop("date", None)
    event = {
        "specversion": "1.0", "type": TYPE, "id": identity, "source": f"urn:import:{origin}", "controller": whose,
        "subject": row.pop("subject", None), "time": f"{date}T00:00:00Z" if date and _DAY.fullmatch(date) else date,
        "actor": row.pop("actor"),
    }  # fmt: skip
    return {**event, "data": _data(row)}


def _data(row: Row) -> Row:
    """`data` of an event of the cells that are left."""
    data: Row = {}
    if "proof" in row:
        row = {**row, f"{_PERSONAL}proof": row["proof"]}
        del row["proof"]
    for name, cell in row.items():
        if name.startswith(_PERSONAL):
            data.setdefault("personal", {})[name.removeprefix(_PERSONAL)] = cell
        elif name.startswith(_NESTED):
            data.setdefault("shown", {})[name.removeprefix(_NESTED)] = cell
        elif name in _LISTS:
            data[name] = [one.strip() for one in cell.split(";") if one.strip()]
        else:
            data[name] = cell
    if "shown" in data:
        data["shown"].setdefault("method", "import")
    return data


def _derived(ledger: Ledger, controller: str, origin: str, row: Row) -> str:
    """The id that the same row always has in this store: a keyed hash, in letters, so that it looks like no number.

    Without the keys nobody can try out whose row it was.
    """
    said = [f"{name}\0{row[name]}".encode(errors="surrogateescape") for name in sorted(row)]
    tag = ledger.app.vault.bound(
        b"import", controller.encode(errors="surrogateescape"), origin.encode(errors="surrogateescape"), *said
    )
    return "".join("abcdefghijklmnop"[half] for byte in tag for half in (byte >> 4, byte & 15))
