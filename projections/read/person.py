"""One person as they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from consent_ledger.ledger.intake.persons import joined_in
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.projections.fold.record import State

Cut = Callable[[Entry], bool]  # whether an entry is in force and known


@dataclass(slots=True)
class Person:
    """A person with everybody ever joined: their entries, read when they are needed, and the newest state."""

    person: str
    controller: str | None  # None: no entry at all
    names: frozenset[str]  # every identifier ever joined
    last_recorded: int
    last_time: int
    read: Callable[[], list[Entry]]
    state: State | None = field(default=None)  # by everything that is recorded
    tip: bytes = b""  # leaf hash of the last entry under this identifier: says which entries these are
    _entries: list[Entry] | None = field(default=None)

    @property
    def entries(self) -> list[Entry]:
        """In the order in which they are in force."""
        if self._entries is None:
            self._entries = self.read()
        return self._entries


def joined_at(person: Person, name: str, cut: Cut) -> frozenset[str]:
    """The identifiers joined with one, by the entries that count."""
    if len(person.names) == 1:
        return person.names
    return joined_in(filter(cut, person.entries), name)
