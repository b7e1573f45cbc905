"""What was done, as the question that should have been asked before it, and whether the decision it names answers that.

Source: contract, section 2: `decision` in an act names an answer; one that said no, that was forged, or that was about
somebody or something else is a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product

from consent_ledger.ledger.events.decision_id import Asked, DecisionId, parse
from consent_ledger.projections.decision.question import Question
from consent_ledger.projections.fold.refs import same_list

Digest = Callable[[Asked, DecisionId], str | None]
"""The digest that an answer with these parts has; None where the person's key is gone."""


def about(question: Question, controller: str, person: str) -> Asked:
    """What an answer to a question is about."""
    return Asked(
        controller, person, question.action, question.purpose, question.channel, same_list(question.list),
        question.item, question.recipient, question.categories,
    )  # fmt: skip


def wrong_with(
    decision: str, question: Question, controller: str, persons: Iterable[str], digest: Digest
) -> str | None:
    """What is wrong with the decision that an act names, in words; None: nothing, or it cannot be checked any more.

    `question`: that of the act. An answer to a question that left something out was about that, too.
    """
    named = parse(decision)
    if named is None:
        return "names a decision in no form that the ledger gives"
    if named.outcome != "permit":
        return f"names a decision that said {named.outcome}"
    keys = False
    for person in persons:
        for asked in _wider(question):
            made = digest(about(asked, controller, person), named)
            if made is None:
                break
            keys = True
            if made == named.digest:
                return None
    return "names a decision that was not given, or not about this" if keys else None


def _wider(question: Question) -> Iterable[Question]:
    """The question, and those that leave out a purpose, a channel or the categories, and so are about all of them."""
    purposes = dict.fromkeys((question.purpose, None))
    channels = dict.fromkeys((question.channel, None))
    categories = dict.fromkeys((question.categories, frozenset[str]()))
    for purpose, channel, named in product(purposes, channels, categories):
        yield replace(question, purpose=purpose, channel=channel, categories=named)
