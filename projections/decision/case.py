"""What an answer may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from consent_ledger.projections.decision.versions import InForce, Packs, in_force
from consent_ledger.projections.fold.record import State
from consent_ledger.projections.fold.refs import Ref
from consent_ledger.projections.fold.world import World


@dataclass(frozen=True, slots=True)
class Bound:
    """Noes that bind an address of the person, as the state of whoever said them, without their other noes.

    `channels`: those of the address. `since`: the moment since which it is the person's own, too.
    """

    state: State
    channels: tuple[str, ...]
    since: int


@dataclass(slots=True)
class Case:
    """Everything an answer may look at: the person and the controller as of a moment, and who can be asked."""

    state: State
    world: World
    packs: Packs
    customer: Callable[[str], State | None] = lambda _: None  # another person, as of the same moment
    person_of: Callable[[str], str | None] = lambda _: None  # the identifier of a name
    latest: Callable[[], State] | None = None  # the person by all that is known, whenever it happened
    others: Callable[[], list[Bound]] = list  # noes of others that bind an address of the person
    stopped: Callable[[], dict[str, Ref]] = dict  # channels by which nothing reaches the person any more
    _versions: list[InForce] | None = field(default=None)

    @property
    def versions(self) -> list[InForce]:
        if self._versions is None:
            self._versions = in_force(self.state, self.world, self.packs)
        return self._versions
