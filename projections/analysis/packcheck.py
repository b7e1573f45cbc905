"""Everything that is wrong with a pack, beyond its words: what never decides, what contradicts, what never starts."""

from __future__ import annotations

from collections.abc import Iterator

from consent_ledger.ledger.errors import PackError
from consent_ledger.ledger.policy import pack as pk
from consent_ledger.ledger.policy.check.words import Problem
from consent_ledger.ledger.policy.interpretations import in_force
from consent_ledger.projections.analysis.clocks import idle
from consent_ledger.projections.analysis.conflicts import ties
from consent_ledger.projections.analysis.reachability import Reach, unreachable, unserved
from consent_ledger.projections.analysis.regions import Space


def check_pack(pack: pk.Pack) -> list[Problem]:
    """All problems of a pack as it is written, with the rows of all readings. Requires a form that is right."""
    barred: list[tuple[str, str]] = []
    problems = list(_readings(pack, barred))
    reach = Reach(Space(pack, barred))
    return [*problems, *unreachable(reach), *unserved(reach), *ties(reach), *idle(pack)]


def _readings(pack: pk.Pack, barred: list[tuple[str, str]]) -> Iterator[Problem]:
    """Readings, the pack's own or one that is switched to, with which it cannot be in force; each is barred."""
    try:
        in_force(pack)
    except PackError as error:
        yield Problem(("change", "stored"), None, str(error))
        return  # what is wrong with the pack's own readings is wrong with most others
    for number, clause in enumerate(pack.clause):
        if clause.interpretation and len(clause.interpretation.readings) == 1:
            text = "interpretation names one reading only (name the others under readings, with rows that follow them)"
            yield Problem(("clause", number, "interpretation"), clause.id, text)
        for reading in clause.interpretation.readings if clause.interpretation else ():
            try:
                in_force(pack, {clause.id: reading})
            except PackError as error:
                barred.append((clause.id, reading))
                yield Problem(("change", "stored"), None, f"with the reading {clause.id}/{reading}: {error}")
