"""A person's state as a document to read."""

from __future__ import annotations

from typing import Any, Final

from consent_ledger.ledger.events.acts import SuppressionCarried
from consent_ledger.ledger.times import format_optional, format_time
from consent_ledger.projections.decision.case import Case
from consent_ledger.projections.fold.record import Choice

CARRIED: Final = SuppressionCarried.type


def state_document(case: Case, now: int) -> dict[str, Any]:
    """The state in words and times, choices under every joined name."""
    state = case.state
    versions = case.versions
    choices = [
        _choice(choice)
        for track in state.tracks.values()
        for named in track.choices.values()
        for words in named.values()
        for choice in words
        if choice.expires is None or choice.expires > now
    ]
    optouts = [
        {
            "scope": scope,
            "name": name,
            "since": format_time(said[-1].ref.time),
            "position": said[-1].ref.position,
            "carried_over": said[-1].ref.type == CARRIED,
        }
        for track in state.tracks.values()
        for (scope, name), said in track.optouts.items()
    ]
    return {
        "kind": state.kind,
        "employee_of": state.of,
        "policy_version": versions[-1].version.version if versions else None,
        "policy_since": format_time(versions[-1].by.time) if versions else None,
        "choices": _distinct(choices),
        "optouts": _distinct(optouts),
        "agreements": {service: format_time(ref.time) for service, ref in state.terms.items()},
        "categories_on_record": sorted(name for name, one in state.collected.items() if one.current),
        "kept": {name: format_time(ref.time) for name, ref in sorted(state.kept.items())},
        "deactivated": format_optional(state.deactivated.time if state.deactivated else None),
        "deleted": format_optional(state.deletions[-1].time if state.deletions else None),
        "holds": state.standing_holds(now),
        "joined_names": len(state.tracks),
        "entries": state.entries,
    }


def _choice(choice: Choice) -> dict[str, Any]:
    named = {
        "purpose": choice.purpose,
        "list": choice.list,
        "item": choice.item,
        "categories": sorted(choice.categories) if choice.categories else None,
        "recipients": sorted(choice.recipients) if choice.recipients else None,
        "channels": sorted(choice.channels) if choice.channels else None,
        "expires_at": format_optional(choice.expires),
    }
    return {
        "word": "yes" if choice.yes else "no",
        "basis": "express" if choice.express else "use",
        "since": format_time(choice.ref.time),
        "position": choice.ref.position,
        **{name: value for name, value in named.items() if value is not None},
    }


def _distinct(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted({row["position"]: row for row in rows}.values(), key=lambda row: (row["since"], row["position"]))
