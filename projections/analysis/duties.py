"""What a pack says of duties, of what a deletion leaves and of ages, and that can never count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from consent_ledger.ledger.policy import conditions as cn
from consent_ledger.ledger.policy import pack as pk
from consent_ledger.ledger.policy.check.lines import Path
from consent_ledger.ledger.policy.check.words import Problem
from consent_ledger.ledger.policy.interpretations import rows_of
from consent_ledger.projections.decision.decide import conditions_of

# duties that an answer, or next steps, meets, and those that holds defer: see `projections.reports.obligations`
ANSWERED: Final = ("correction", "access")
NOTIFIED: Final = ("authority-notice",)
HELD: Final = ("deletion",)
_EXTENSIONS: Final = ("extended_by_months", "extended_by_days")


def duty(path: Path, clause: str, row: pk.Duty) -> Iterator[Problem]:
    """Two clocks for one duty, settings of a clock that there is not, and what a duty of its kind does not have."""
    clocks = [name for name in pk.CLOCKS if getattr(row, name) is not None]
    for name in clocks[1:]:
        yield Problem((*path, name), clause, f"{name}: the clock is {clocks[0]} (one of them can count)")
    settings = {
        "late_answer_is_finding": (row.late_answer_is_finding, (*ANSWERED, *NOTIFIED)),
        "next_steps": (row.next_steps, ANSWERED),
        "hold_stops_clock": (not row.hold_stops_clock, HELD),
        "activity": (row.activity is not None, HELD),
        "owed_when": (row.owed_when is not None, HELD),
        "every_breach": (row.every_breach, NOTIFIED),
        **{name: (getattr(row, name) is not None, (*HELD, *ANSWERED)) for name in _EXTENSIONS},
    }
    for name, (said, kinds) in settings.items():
        shown = f" = {str(getattr(row, name)).lower()}" if isinstance(getattr(row, name), bool) else ""
        if said and row.kind not in kinds:
            about = " and ".join(kinds)
            text = f"{name}{shown} says nothing for a duty of kind {row.kind} (it is about {about})"
            yield Problem((*path, name), clause, text)
        elif said and not clocks and name not in ("owed_when", "every_breach"):
            text = f"{name}{shown} is about a clock, and this duty has none (due_in_days would start one)"
            yield Problem((*path, name), clause, text)
    yield from _unasked(path, clause, row)


def _unasked(path: Path, clause: str, row: pk.Duty) -> Iterator[Problem]:
    """What opens a duty in two ways, or is about a request where none opens it."""
    if row.activity is not None and row.owed_when is not None:
        text = "owed_when: activity says since when this is owed (one of them can count: write a duty for each)"
        yield Problem((*path, "owed_when"), clause, text)
    if row.activity is not None and not row.activity:
        yield Problem((*path, "activity"), clause, "activity: names no event, so this is never owed (name some)")
    if row.kind in HELD and not row.by_request:
        for name in _EXTENSIONS:
            if getattr(row, name) is not None:
                text = f"{name}: no request opens this duty, so nothing can extend it (leave it out)"
                yield Problem((*path, name), clause, text)


def keep(path: Path, clause: str, row: pk.Keep, pack: pk.Pack) -> Iterator[Problem]:
    """What is kept from no deletion, for nothing that is permitted, or though it never goes."""
    rows = [rule for one in pack.clause for rule in (*one.permit, *one.forbid, *one.gate)]
    if not any(isinstance(need, cn.Deleted) for rule in rows for need in conditions_of(rule)):
        text = "keep changes nothing: no row looks at what was deleted (a forbid when deleted would)"
        yield Problem(path, clause, text)
    for number, category in enumerate(row.categories):
        if category in pack.anonymous:
            text = f"{category!r} is anonymous: no deletion takes it (leave it out)"
            yield Problem((*path, "categories", number), clause, text)
    for number, purpose in enumerate(row.purpose):
        permits = [rule for one in pack.clause for rule in one.permit if _is_for(rule, purpose, row.categories)]
        if purpose in pack.known_purposes and not permits:
            text = f"nothing is permitted for {purpose!r} with what is kept for it (a permit would be used)"
            yield Problem((*path, "purpose", number), clause, text)


def _is_for(rule: pk.Permit, purpose: str, categories: list[str]) -> bool:
    named = (rule.purpose is None or purpose in rule.purpose) and purpose not in (rule.not_purpose or ())
    named = named and not {"use", "contact", "disclose", "transfer"}.isdisjoint(rule.action)
    return named and (rule.categories is None or not set(rule.categories).isdisjoint(categories))


def without_deletion(place: Path, clause: pk.Clause, pack: pk.Pack) -> Iterator[Problem]:
    """What is about deletions in a pack that owes none."""
    duties = [one for other in pack.clause for one in other.duty if one.kind == "deletion"]
    if clause.identification is not None and not any(one.by_request for one in duties):
        text = 'identification is asked for nothing: a duty with kind = "deletion" would be opened by a request'
        yield Problem((*place, "identification"), clause.id, text)
    if clause.hold is not None and not duties:
        text = 'hold has nothing to defer: a duty with kind = "deletion" would be deferred by one'
        yield Problem((*place, "hold"), clause.id, text)
    if clause.keep and not duties:
        text = 'keep has nothing to be kept from: a duty with kind = "deletion" would take the rest'
        yield Problem((*place, "keep", 0), clause.id, text)


def settings(pack: pk.Pack) -> Iterator[Problem]:
    """Ages that grow where nobody's age counts, and groups of countries that no row names."""
    needs: list[cn.Need] = []
    rows: list[pk.Match] = []
    for clause in pack.clause:
        for _, _, row in rows_of(clause):
            if isinstance(row, pk.Match):
                rows.append(row)
                needs += conditions_of(row)
            elif isinstance(row, pk.Duty) and row.owed_when is not None:
                needs.append(row.owed_when)
    if pack.ages.grow and not any(isinstance(need, cn.Minor) for need in needs):
        text = "ages: grow = true is about no row: none has a condition minor (leave it out)"
        yield Problem(("ages", "grow"), None, text)
    named = {group for row in rows for group in (*(row.country_in or ()), *(row.country_not_in or ()))}
    for group, countries in pack.countries.items():
        if group not in named:
            text = f"countries: no row names the group {group!r} (country_in = [{group!r}] would; or leave it out)"
            yield Problem(("countries", group), None, text)
        elif not countries:
            yield Problem(("countries", group), None, f"countries: the group {group!r} is empty (name its countries)")
