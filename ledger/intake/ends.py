"""What ends in deletion, of a person who was never joined with others: brought up by what came since, not read again.

Each request, deletion and hold of a person asks for it, so that reading all of them each time would take the square.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.log.entry import Entry, decode
from consent_ledger.ledger.store.contract import Transaction
from consent_ledger.ledger.store.tables import entries

# also a request told late, or taken back late: the completion that was told before it takes effect now, or none
DECIDES: Final = (
    "deletion.requested", "request.taken_back", "deletion.completed", "hold.placed", "hold.released",
)  # fmt: skip
KEPT: Final = 1_000  # persons
Order = tuple[int, int]


@dataclass(slots=True)
class Ends:
    """What a stream says of it up to a version: requests that stand, holds that do, the last deletion."""

    version: int = 0
    newest: Order = (-(2**62), -1)
    asked: set[str] = field(default_factory=set)
    holds: set[str] = field(default_factory=set)
    deleted: Order | None = None

    @property
    def until(self) -> Order | None:
        """The last deletion: None before, and while a hold stands."""
        return None if self.holds else self.deleted

    def evolve(self, entry: Entry) -> None:
        """Take in an entry. Requires that it is in force after those taken in."""
        self.newest = entry.order
        match entry.data:
            case ev.DeletionRequested(request=request):
                self.asked.add(request)
            case ev.RequestTakenBack(request=request):
                self.asked.discard(request)
            case ev.DeletionCompleted(request=request):
                if request is None or request in self.asked:
                    self.deleted = entry.order
            case ev.HoldPlaced(hold=hold):
                self.holds.add(hold)
            case ev.HoldReleased(hold=hold):
                self.holds.discard(hold)
            case _:
                pass


def brought_up(known: dict[str, Ends], c: Transaction, person: str) -> tuple[Order | None, Ends]:
    """(`until` when it was last looked at, what there is now). Requires that all entries are written."""
    version, _ = entries.tip(c, person)  # 0: only ever mentioned
    ends = known.pop(person, None) or Ends()
    before = ends.until
    since = _read(c, person, ends.version)
    if since and since[0].order < ends.newest:  # told late: it may change what came after it
        ends, since = Ends(), _read(c, person, 0)
    for entry in since:
        ends.evolve(entry)
    ends.version = version
    if len(known) >= KEPT:
        known.pop(next(iter(known)))
    known[person] = ends
    return before, ends


def _read(c: Transaction, person: str, version: int) -> list[Entry]:
    found = [decode(position, state) for position, state in entries.of_types(c, person, DECIDES, after=version)]
    return sorted((entry for entry in found if entry.role == "controller"), key=lambda entry: entry.order)
