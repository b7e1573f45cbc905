"""The word that was probably meant, told with an event that was refused for a word that its pack does not know.

Looking for it takes a while and is nothing that others should wait for, so it is done when the transaction is over. The
word that came is not repeated; the one that is told stands in the pack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from consent_ledger.ledger.errors import InvalidEvent
from consent_ledger.ledger.intake.parse import Prepared
from consent_ledger.ledger.outcome import Outcome
from consent_ledger.ledger.policy.pack import Pack, alike

_COMPARED: Final = 64  # characters of a word: none of a pack's is longer


def hint(field: str, word: str, pack: Pack) -> str:
    """` (did you mean 'product-news'?)`, or nothing where no word of the pack is like it."""
    known = pack.words_of(field) or {}
    near = get_close_matches(alike(field, word[:_COMPARED]), known, 1)
    return f" (did you mean {known[near[0]]!r}?)" if near else ""


def with_hints(
    prepared: Sequence[Prepared | InvalidEvent], outcomes: list[Outcome], packs: Mapping[str, Pack]
) -> list[Outcome]:
    """The same outcomes, those about an unknown word with what was probably meant."""
    said: dict[tuple[str, str, str], str] = {}
    for number, (event, outcome) in enumerate(zip(prepared, outcomes, strict=True)):
        field = outcome.field
        if outcome.kind != "invalid" or field is None or isinstance(event, InvalidEvent) or event.subject is None:
            continue
        pack, word = packs.get(event.controller), event.data.get(field)
        if pack is None or not isinstance(word, str) or pack.knows(field, word):
            continue
        key = event.controller, field, word
        if key not in said:
            said[key] = hint(field, word, pack)
        outcomes[number] = outcome._replace(reason=f"{outcome.reason}{said[key]}")
    return outcomes
