"""Files and pipes of NDJSON: decode, batch, record; what is no event goes to dead letters with the reason.

Running it again on the same file adds nothing that is there already, so an interrupted run is resumed by repeating it.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Final

from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import InvalidEvent
from consent_ledger.ledger.intake.application import Outcome
from consent_ledger.ledger.intake.dead_letters import KEPT_BYTES, Undeliverable, keep
from consent_ledger.ledger.intake.parse import known_field, parse_line, too_long
from consent_ledger.ledger.limits import LINE_LIMIT_BYTES
from consent_ledger.projections.ledger import Ledger

BATCH: Final = 1_000


@dataclass(slots=True)
class Tally:
    """What became of the lines."""

    accepted: int = 0
    duplicate: int = 0
    refused: int = 0
    conflict: int = 0
    invalid: int = 0
    problems: list[str] = field(default_factory=list)  # the first few, readable

    def to_dict(self) -> dict[str, int]:
        names = ("accepted", "duplicate", "refused", "conflict", "invalid")
        return {name: getattr(self, name) for name in names}


@dataclass(slots=True)
class _Line:
    number: int
    raw: bytes  # of a line over the limit the beginning
    size: int
    cut: bool  # the stream ended in it


def ingest(ledger: Ledger, stream: IO[bytes], origin: str, *, progress: Callable[[int], None] | None = None) -> Tally:
    """Record every line of a stream. Raises StoreError where the store fails; what was recorded until then is there."""
    tally = Tally()
    batch: list[_Line] = []
    for line in _lines(stream):
        batch.append(line)
        if len(batch) == BATCH:
            _record(ledger, batch, origin, tally)
            if progress:
                progress(line.number)
            batch = []
    if batch:
        _record(ledger, batch, origin, tally)
        if progress:
            progress(batch[-1].number)
    return tally


def _lines(stream: IO[bytes]) -> Iterator[_Line]:
    number = 0
    while raw := stream.readline(LINE_LIMIT_BYTES + 1):
        number += 1
        if number == 1:
            raw = raw.removeprefix(BOM_UTF8)  # what some editors begin a file with; it is no part of the event
        size, ended = len(raw), raw.endswith(b"\n")
        if size > LINE_LIMIT_BYTES and not ended:
            raw = raw[:KEPT_BYTES]
            while more := stream.readline(LINE_LIMIT_BYTES):
                size += len(more)
                if more.endswith(b"\n"):
                    size -= 1  # a line's bytes do not count its end, here as below
                    break
            yield _Line(number, raw, size, cut=False)
            continue
        body = raw.strip()
        if body:
            yield _Line(number, body, len(body), cut=not ended)


def _record(ledger: Ledger, lines: list[_Line], origin: str, tally: Tally) -> None:
    outcomes = ledger.record([_parsed(line) for line in lines])
    dead = []
    for line, outcome in zip(lines, outcomes, strict=True):
        _count(tally, line, outcome)
        if outcome.kind == "invalid":
            dead.append(
                Undeliverable(line.raw, line.size, line.number, known_field(outcome.field), outcome.reason or "")
            )
    if dead:
        keep(ledger.app, origin, dead, ledger.clock())
        crashpoints.reached("dead letters kept")


def _parsed(line: _Line) -> Any:
    if line.size > LINE_LIMIT_BYTES:
        return too_long(line.size)
    try:
        return parse_line(line.raw)
    except InvalidEvent as error:
        if line.cut:
            return InvalidEvent("event", "the stream ends in the middle of this line: send it again, whole")
        return error


def _count(tally: Tally, line: _Line, outcome: Outcome) -> None:
    name = "duplicate" if outcome.duplicate and outcome.kind == "accepted" else outcome.kind
    setattr(tally, name, getattr(tally, name) + 1)
    if name in ("invalid", "refused", "conflict") and len(tally.problems) < 20:
        what = outcome.clause or (known_field(outcome.field) if outcome.field else "source, id")
        tally.problems.append(f"line {line.number}: {name} ({what}): {outcome.reason}")
