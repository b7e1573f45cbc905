"""What an answer looks at beside a person's state: others with the same address, messages that came back.

Most persons have neither, and nothing is read for them: see `People.ties`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from consent_ledger.ledger.events import catalogue as ev
from consent_ledger.ledger.intake.addresses import CHANNELS, Had, binding
from consent_ledger.ledger.log.entry import Entry
from consent_ledger.projections.decision.case import Bound
from consent_ledger.projections.fold.record import State
from consent_ledger.projections.fold.refs import Ref
from consent_ledger.projections.fold.state import fold
from consent_ledger.projections.read.bounces import reached, stopped
from consent_ledger.projections.read.person import Cut, Person


class Others(Protocol):
    """Who can say what addresses somebody had, and who else has one."""

    def had(self, entries: Iterable[Entry], names: frozenset[str]) -> list[Had]:
        """The addresses that these entries brought. Raises CorruptEntry."""
        ...

    def sharing(
        self, tag: bytes, names: frozenset[str], cut: Cut
    ) -> Iterator[tuple[frozenset[str], list[Entry], list[Had]]]:
        """Others with an address who may have said a no that binds one: names, entries that count, addresses."""
        ...


@dataclass(frozen=True, slots=True)
class Ties:
    """The addresses of a person that somebody else has, too (tag -> kind), and whether an entry is to be looked at."""

    shared: dict[bytes, str]
    beside: bool

    def __bool__(self) -> bool:
        return bool(self.shared) or self.beside


class Beside:
    """The same of one person as of one moment and one knowledge, read when it is asked for."""

    def __init__(self, people: Others, person: Person, ties: Ties, names: frozenset[str], cut: Cut) -> None:
        self._people = people
        self._person = person
        self._ties = ties
        self._names = names
        self._cut = cut
        self._others: list[Bound] | None = None

    @cached_property
    def _entries(self) -> list[Entry]:
        return [one for one in self._person.entries if one.stream in self._names and self._cut(one)]

    @cached_property
    def _had(self) -> list[Had]:
        return self._people.had(self._entries, self._names)

    def others(self) -> list[Bound]:
        """The noes of others that bind an address of the person."""
        if self._others is None:
            self._others = [*self._kept(), *self._of_others()]
        return self._others

    def _kept(self) -> list[Bound]:
        """Those of somebody who was erased: the person is under them as before."""
        found = []
        for entry in self._entries if self._ties.beside else ():
            data = entry.data
            if isinstance(data, ev.SuppressionCarried) and data.marketing:
                # an opt-out names its own channel; what this one is limited to is asked of `Bound`
                named = data.channels if data.said == "consent.refused" else None
                whole = entry._replace(data=data.model_copy(update={"marketing": None, "channels": named}))
                found.append(Bound(fold([whole], [entry.stream]), tuple(data.channels or ()), entry.time))
        return found

    def _of_others(self) -> list[Bound]:
        found = []
        for tag, kind in self._ties.shared.items():
            since = min((one.since for one in self._had if one.tag == tag and one.how != "bounced"), default=None)
            if since is None or kind not in CHANNELS:
                continue
            for group, entries, had in self._people.sharing(tag, self._names, self._cut):
                noes = binding(entries, had, tag, kind)
                if noes:
                    found.append(Bound(fold(noes, group), CHANNELS[kind], since))
        return found

    def stopped(self) -> dict[str, Ref]:
        """The channels by which nothing reaches the person any more."""
        if not self._ties.beside:
            return {}
        return {channel: _ref(entry) for channel, entry in stopped(self._entries, self._had).items()}

    def reached(self, state: State) -> State:
        """The state without the notices that did not reach the person."""
        if not self._ties.beside or not state.notices:
            return state
        return reached(state, self._entries, self._had)


def _ref(entry: Entry) -> Ref:
    return Ref(entry.time, entry.position, entry.type, entry.source, entry.id)
