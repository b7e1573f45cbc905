"""Which version of a statement is in force for a person, and since what.

Source: contract, section 2; the clauses on policy changes. Nothing is scheduled: the moment is computed from facts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from consent_ledger.ledger.policy.pack import Change, Pack, Pattern, StoredChange
from consent_ledger.ledger.times import DAY
from consent_ledger.projections.decision.choices import PLAIN, No, Yes, word
from consent_ledger.projections.decision.patterns import first_of
from consent_ledger.projections.decision.question import Question
from consent_ledger.projections.fold.record import Notice, State
from consent_ledger.projections.fold.refs import Ref
from consent_ledger.projections.fold.world import Version, World

Packs = Callable[[Version], Pack]


@dataclass(frozen=True, slots=True)
class InForce:
    """A version, with the entry by which it came into force for the person."""

    version: Version
    by: Ref


@dataclass(frozen=True, slots=True)
class NewUse:
    """How a new use stands for a person: open or not, under which clauses, because of what."""

    open: bool
    clauses: list[str]
    because: list[Ref]
    says: str


def in_force(state: State, world: World, packs: Packs) -> list[InForce]:
    """All versions in force for the person, oldest first; the last is the current one. Empty: nothing published."""
    found: list[InForce] = []
    for number, version in enumerate(world.versions):
        if number == 0:
            found.append(InForce(version, version.ref))
            continue
        change = packs(world.versions[number - 1]).change
        by = _effect(state, world, version, number, change, previous=found)
        if by is not None:
            in_between = [InForce(earlier, by) for earlier in world.versions[len(found) : number]]
            found += [*in_between, InForce(version, by)]
    return found


def _effect(
    state: State, world: World, version: Version, number: int, change: Change | None, *, previous: list[InForce]
) -> Ref | None:
    """The entry by which a version came into force for the person, or None."""
    if change is None:
        return version.ref
    since = joined(state, change.joined_by)
    if since is None or since.order >= version.ref.order:
        return version.ref  # who first comes after a change comes to the changed statement
    if version.stored and not change.stored.by_choice:
        return _stored_effect(state, world, version, change.stored)
    if len(previous) < number:
        return None  # it builds on one that is not in force for this person
    if version.material and change.material.effective == "posting":
        return world.posted.get(version.version)
    if not version.material and change.other.effective == "posting":
        return world.posted.get(version.version)
    return version.ref


def joined(state: State, patterns: list[Pattern]) -> Ref | None:
    """The first entry by which the person came under a statement: since a deletion, if they came back."""
    for fresh in (True, False):
        refs = [ref for pattern in patterns if (ref := first_of(state, pattern, pattern.value, fresh=fresh))]
        if refs:
            return min(refs, key=lambda ref: ref.order)
    return None


def _stored_effect(state: State, world: World, version: Version, rule: StoredChange) -> Ref | None:
    found = []
    if rule.acknowledged and (acknowledged := state.acknowledged.get(version.version)):
        found.append(acknowledged)
    use = _use_after_notice(state, world, version, rule)
    if use is not None:
        found.append(use)
    return min(found, key=lambda ref: ref.order) if found else None


def _use_after_notice(state: State, world: World, version: Version, rule: StoredChange) -> Ref | None:
    """The first use late enough after the notice that had reached the person as of that use."""
    spans = _notice_spans(state.notices.get(version.version, []))
    posted = world.posted.get(version.version)
    for start, end, email in spans:
        base = email.ref if email is not None else posted
        days = rule.use_days_after_email if email is not None else rule.use_days_after_posting
        if days is None or base is None:
            continue
        use = _first_use(state.uses, max((base.time + days * DAY, -1), start))
        if use is not None and (end is None or use.order < end):
            return use
    return None


def _notice_spans(
    notices: list[Notice],
) -> list[tuple[tuple[int, int], tuple[int, int] | None, Notice | None]]:
    """(from, to, the first e-mail notice that stands) in order of time; the last span has no end."""
    spans: list[tuple[tuple[int, int], tuple[int, int] | None, Notice | None]] = []
    start, standing = (-(2**62), -1), None
    for notice in notices:
        became = standing
        if notice.channel == "email":
            became = standing or notice
        elif notice.channel == "bounced":
            became = None
        if became is not standing:
            spans.append((start, notice.ref.order, standing))
            start, standing = notice.ref.order, became
    spans.append((start, None, standing))
    return spans


def _first_use(uses: list[Ref], order: tuple[int, int]) -> Ref | None:
    number = bisect_left(uses, order, key=lambda ref: ref.order)
    return uses[number] if number < len(uses) else None


def email_notice(state: State, version: str, before: tuple[int, int] | None = None) -> Notice | None:
    """The first e-mail notice of a version that stands, as of now or of an order."""
    notices = state.notices.get(version, [])
    if before is not None:
        notices = [notice for notice in notices if notice.ref.order < before]
    return _notice_spans(notices)[-1][2]


def new_use(
    state: State, world: World, packs: Packs, question: Question, now: int, versions: list[InForce]
) -> NewUse | None:
    """How the question's purpose stands, where some version names it as a new use. None: no version does."""
    last: NewUse | None = None
    for number, version in enumerate(world.versions):
        if number == 0 or question.purpose not in version.new_uses:
            continue
        pack = packs(world.versions[number - 1])
        if pack.change is None:
            continue
        if pack.change.stored.by_choice:
            last = _by_yes(state, world, version, pack, question, now)
        else:
            last = _by_version(state, version, pack.change, versions)
        if last.open:
            return last
    return last


def _by_version(state: State, version: Version, change: Change, versions: list[InForce]) -> NewUse:
    clause = change.stored.clause if version.stored else change.material.clause
    clauses = [clause] if clause else []
    if version.stored and change.stored.no_email and email_notice(state, version.version) is None:
        clauses.append(change.stored.no_email)
    effect = next((one for one in versions if one.version is version), None)
    if version.stored and change.joined_by and joined(state, change.joined_by) is None:
        return NewUse(False, clauses, [version.ref], "the person never came under the statement")
    if effect is None:
        return NewUse(False, clauses, [version.ref], f"version {version.version} is not in force for this person")
    return NewUse(True, clauses, [effect.by], f"version {version.version} is in force for this person")


def _by_yes(state: State, world: World, version: Version, pack: Pack, question: Question, now: int) -> NewUse:
    assert pack.change is not None
    clauses = [pack.change.stored.clause]
    if not _stored_before(state, version, pack.change, question):
        return NewUse(True, clauses, [version.ref], "this use was stated when the information was collected")
    said = word(state, question, now, pack, PLAIN, world)
    if pack.change.stored.silence_is_yes:
        return _by_silence(state, version, said, clauses)
    if not isinstance(said, Yes):
        return NewUse(False, clauses, said.refs if said else [version.ref], "no express yes to the different use")
    notices = [notice for notice in state.notices.get(version.version, []) if notice.ref.order < said.ref.order]
    reached = [notice for notice in _reached(notices) if notice.offers_choice]
    if not reached:
        told = "no e-mail notice that offered the choice reached the person before the yes"
        return NewUse(False, clauses, [*said.refs, version.ref], told)
    return NewUse(True, clauses, [*said.refs, reached[0].ref], "said yes after the notice")


def _by_silence(state: State, version: Version, said: Yes | No | None, clauses: list[str]) -> NewUse:
    """The other reading: whoever was offered the choice and did not say no agrees."""
    if isinstance(said, No):
        return NewUse(False, clauses, said.refs, "said no to the different use")
    reached = [notice for notice in _reached(state.notices.get(version.version, [])) if notice.offers_choice]
    if not reached:
        return NewUse(False, clauses, [version.ref], "no e-mail notice that offered the choice reached the person")
    return NewUse(True, clauses, [reached[0].ref], "did not say no after the notice")


def _reached(notices: list[Notice]) -> list[Notice]:
    """The e-mail notices that no later bounce voids."""
    last_bounce = max((n for n, notice in enumerate(notices) if notice.channel == "bounced"), default=-1)
    return [notice for notice in notices[last_bounce + 1 :] if notice.channel == "email"]


def _stored_before(state: State, version: Version, change: Change, question: Question) -> bool:
    """Whether what is asked about was collected before the version stated the use."""
    since = joined(state, change.joined_by)
    before = since is not None and since.order < version.ref.order
    if not question.personal:
        return before
    for category in question.personal:
        on_record = state.collected.get(category)
        if (on_record.first.order < version.ref.order) if on_record else before:
            return True
    return False
