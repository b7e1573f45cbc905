"""What a pattern of events finds on record of a person."""

from __future__ import annotations

from consent_ledger.ledger.policy.pack import PARTICULARS, Pattern
from consent_ledger.projections.fold.record import State
from consent_ledger.projections.fold.refs import Ref


def first_of(state: State, pattern: Pattern, word: str | None, *, fresh: bool) -> Ref | None:
    """The first event of a pattern with that telling word (None: any). `fresh`: since the last deletion."""
    if not pattern.where:
        return (state.fresh if fresh else state.facts).get((pattern.type, word))
    names = PARTICULARS.get(pattern.type, ())
    facts, told_with = (state.fresh, state.fresh_with) if fresh else (state.facts, state.told_with)
    found = []
    for (kind, *particulars), ref in (told_with if len(names) > 1 else facts).items():
        if kind == pattern.type and None not in particulars[:1] and word in (None, particulars[0]):
            shown = dict(zip(names, particulars, strict=True))
            found += [ref] if pattern.where.items() <= shown.items() else []
    return min(found, key=lambda ref: ref.order, default=None)
