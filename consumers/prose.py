"""A pack as prose that a lawyer reads and signs: one section a clause."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.pack import Clause, Duty, Forbid, Match, Objection, Pack, Permit


def pack_as_prose(pack: Pack) -> str:
    """The whole pack in Markdown."""
    lines = [f"# {pack.title}", "", f"Controller: {pack.controller}. Pack: SHA-256 {pack.sha256}.", ""]
    for clause in pack.clause:
        lines += _section(clause)
    return "\n".join(lines)


def _section(clause: Clause) -> list[str]:
    lines = [f"## {clause.id}: {clause.title}", "", clause.rule, ""]
    if clause.interpretation:
        lines += [f"Interpretation: {clause.interpretation}", ""]
    points = [_permit(row) for row in clause.permit] + [_forbid(row) for row in clause.forbid]
    points += [f"In addition, for {_about(row)}: {_needs(row.needs)}." for row in clause.gate]
    points += [_objection(row) for row in clause.objection]
    points += [f"An event {door.event} without {door.needs} is refused." for door in clause.door]
    points += [_duty(duty) for duty in clause.duty]
    points += [f"A finding: {expect.event} without {expect.field or expect.until}." for expect in clause.expect]
    if clause.identification:
        points.append(f"A deletion request must name {', '.join(clause.identification.needs)}.")
    if clause.hold:
        points.append("A hold defers deletion; one carried out all the same is a finding.")
    if clause.tell:
        points.append(f"Recipients of class {', '.join(clause.tell.recipient_class)} are told of every no.")
    if clause.note:
        points.append(f"This is {clause.note}.")
    return [*lines, *(f"- {point}" for point in points), ""]


def _about(row: Match) -> str:
    words = ["/".join(row.action)]
    named = (
        ("for", row.purpose), ("other than for", row.not_purpose), ("of", row.categories), ("with", row.any_category),
        ("to", row.recipient_class), ("to", row.recipient), ("by", row.channel), ("on ground", row.ground),
        ("from", row.origin),
    )  # fmt: skip
    words += [f"{lead} {', '.join(one)}" for lead, one in named if one]
    if row.information != "personal":
        words.append(f"({row.information} information)")
    words += [text for flag, text in ((row.public, "to the public"), (row.country, "across a border")) if flag]
    return " ".join(words)


def _needs(needs: Sequence[object]) -> str:
    texts = [str(getattr(need, "need", "")).replace("-", " ") for need in needs]
    return "needs " + " and ".join(texts) if texts else "nothing more is needed"


def _permit(row: Permit) -> str:
    despite = "; no opt-out stops it" if row.despite_no else ""
    law = "; the law requires it, against every other clause" if row.law else ""
    return f"Permitted: {_about(row)}; {_needs(row.needs)}{despite}{law}."


def _forbid(row: Forbid) -> str:
    when = f" when {' and '.join(need.need for need in row.when)}" if row.when else ""
    door = "; a collection is refused" if row.door else ""
    return f"Forbidden: {_about(row)}{when}{door}."


def _objection(row: Objection) -> str:
    spared = f", sparing {', '.join(row.spares)}" if row.spares else ""
    how = f" by {', '.join(row.channels)}" if row.channels else ""
    what = "marketing messages" if row.marketing_only else "messages"
    return f"An opt-out of scope {row.scope} stops {what}{how}{spared}."


def _duty(duty: Duty) -> str:
    clock = f"within {duty.due_in_days} days" if duty.due_in_days else "without a clock"
    return f"Owed {clock}: {duty.kind}."
