"""A pack as prose that a lawyer reads and signs: one section a clause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from consent_ledger.ledger.policy import conditions as cn
from consent_ledger.ledger.policy import pack as pk


def pack_as_prose(pack: pk.Pack) -> str:
    """The whole pack in Markdown."""
    facts = {define.fact: define.says for clause in pack.clause for define in clause.define}
    lines = [f"# {pack.title}", "", f"Controller: {pack.controller}. Pack: SHA-256 {pack.sha256}.", ""]
    for clause in pack.clause:
        lines += _section(clause, facts)
    lines += [*_settings(pack), ""]
    return "\n".join(lines)


def _settings(pack: pk.Pack) -> list[str]:
    """What holds beside the clauses: changes of the statement, business days, personal fields."""
    lines = ["## Settings", ""]
    if pack.change is not None:
        lines += [f"- {point}" for point in _change(pack.change)]
    holidays = ", ".join(str(day) for day in pack.calendar.holidays)
    zone = "in UTC" if pack.calendar.zone == "UTC" else f"by the clocks of {pack.calendar.zone}"
    lines.append(f"- Business days are Monday to Friday {zone}{f', but for {holidays}' if holidays else ''}.")
    if pack.ages.grow:
        lines.append(
            "- Ages grow: whoever was n years old once is n + k from k years after; an upper bound never grows."
        )
    lines += [f"- The countries of the group {name} are {', '.join(some)}." for name, some in pack.countries.items()]
    for what, words in (
        ("Agreements with recipients are confidentiality", pack.agreements),
        ("Forms that people are shown are", pack.forms),
        ("Requests are extended for", pack.reasons),
    ):
        if words:
            lines.append(f"- {what}{', ' if words is pack.agreements else ' '}{', '.join(words)}.")
    for name, field in pack.personal_fields.items():
        said = [f"is of category {field.category}"] if field.category else []
        said += [f"is an address, compared as {field.address}"] if field.address else []
        said += [] if field.stored else ["is not stored"]
        said += [] if field.numbers else ["is not looked at for numbers"]
        lines.append(f"- The personal field {name} {', '.join(said)}.")
    for kind, category in pack.detected_kinds.items():
        lines.append(f"- A {kind} number in a personal field is of category {category}.")
    if pack.marketing:
        lines.append(f"- Marketing is {', '.join(pack.marketing)}.")
    if pack.advertising_purposes or pack.advertising_classes:
        classes = f", and what goes to {', '.join(pack.advertising_classes)}" if pack.advertising_classes else ""
        lines.append(f"- Advertising is {', '.join(pack.advertising_purposes)}{classes}.")
    return lines


def _change(change: pk.Change) -> list[str]:
    stored = change.stored
    ways = ["their acknowledgement"] if stored.acknowledged else []
    if stored.use_days_after_email is not None:
        ways.append(f"their first use {stored.use_days_after_email} days or more after the e-mail notice")
    if stored.use_days_after_posting is not None:
        days = stored.use_days_after_posting
        ways.append(f"their first use {days} days or more after the posting, where no e-mail notice stands")
    ways += ["an express yes after an e-mail notice that offered the choice"] if stored.express_yes else []
    ways += ["an e-mail notice that offered the choice, and no no"] if stored.silence_is_yes else []
    events = [_pattern(pattern) for pattern in change.joined_by]
    return [
        f"A person comes under the statement by {' or '.join(events)}.",
        f"A change of the use of stored information takes effect by {'; or by '.join(ways)} ({stored.clause}).",
        f"Another material change takes effect at its {change.material.effective}.",
        f"A change that is not material takes effect at its {change.other.effective}.",
        f"Messages about changes and breaches are for {change.notice_purpose}.",
    ]


def _section(clause: pk.Clause, facts: dict[str, str]) -> list[str]:
    lines = [f"## {clause.id}: {clause.title}", "", clause.rule, ""]
    if clause.interpretation:
        lines += [*_interpretation(clause.interpretation), ""]
    points = [_define(define) for define in clause.define]
    points += [_permit(row, facts) for row in clause.permit] + [_forbid(row, facts) for row in clause.forbid]
    points += [f"In addition, for {_about(row)}: {_needs(row.needs, facts)}." for row in clause.gate]
    points += [_objection(row) for row in clause.objection]
    points += [_door(door) for door in clause.door]
    points += [_duty(duty) for duty in clause.duty]
    points += [_keep(keep) for keep in clause.keep]
    points += [_lapse(lapse) for lapse in clause.lapse]
    points += [_expect(expect) for expect in clause.expect]
    if clause.identification:
        points.append(f"A deletion request must name {', '.join(clause.identification.needs)}.")
    if clause.hold:
        points.append(
            f"A hold defers deletion; one carried out all the same is {'a' if clause.hold.finding else 'no'} finding."
        )
    if clause.tell:
        about = {"optout": "every no", "correction": "every correction", "deletion": "a deletion"}
        news = " and ".join(about[one] for one in clause.tell.about)
        points.append(f"Recipients of class {', '.join(clause.tell.recipient_class)} are told of {news}.")
    if clause.note:
        points.append(f"This is {clause.note}.")
    return [*lines, *(f"- {point}" for point in points), ""]


def _interpretation(one: pk.Interpretation) -> list[str]:
    """What is open, the reading in force, and the others."""
    lines = [f"Interpretation: {one.text} This pack reads: {one.readings[one.reading]} ({one.reading})"]
    return lines + [f"Not in force: {words} ({name})" for name, words in one.readings.items() if name != one.reading]


def _about(row: pk.Match) -> str:
    words = ["/".join(row.action)]
    named: tuple[tuple[str, Sequence[str] | None], ...] = (
        ("for", row.purpose), ("other than for", row.not_purpose), ("of", row.categories), ("with", row.any_category),
        ("to a", row.recipient_class), ("to", row.recipient), ("by", row.channel), ("on the ground of", row.ground),
        ("of information from", row.origin),
    )  # fmt: skip
    words += [f"{lead} {', '.join(one)}" for lead, one in named if one]
    if row.information != "personal":
        words.append(f"({row.information} information)")
    if row.public is not None:
        words.append("to the public" if row.public else "to somebody in particular")
    if row.country:
        words.append("in another country")
    if row.country_in is not None:
        words.append(f"in a country of the group {' or '.join(row.country_in)}")
    if row.country_not_in is not None:
        words.append(f"in another country, of no group {' or '.join(row.country_not_in)}")
    if row.transfer:
        words.append("to a new owner")
    if row.on_record_from:
        words.append("of what is on record from other sources only")
    if row.announces:
        change = "the use of stored information" if row.announces == "stored" else "something material otherwise"
        words.append(f"about a version that changes {change}")
    return " ".join(words)


def _needs(needs: Sequence[cn.Need], facts: dict[str, str]) -> str:
    return "it needs " + " and ".join(condition(need, facts) for need in needs) if needs else "nothing more is needed"


def condition(need: cn.Need, facts: dict[str, str]) -> str:  # noqa: C901, PLR0911, PLR0912  one flat match
    """A condition in words."""
    match need:
        case cn.OptIn():
            per = "".join(f", {one} by {one}" for one in (*need.per, *need.named))
            by = f" by the {need.actor}" if need.actor else ""
            days = need.confirmed_within_days
            again = f", given again within {days} days of the question whether it is meant" if days else ""
            return f"{'an express yes' if need.basis == 'express' else 'a yes, also by use'}{by}{per}{again}"
        case cn.AnyOptIn():
            return "an opt-in to some communication"
        case cn.Quiet():
            asked = ", or who was asked and has not answered," if need.unanswered else ""
            return f"a person who said no{asked} less than {need.months} months before"
        case cn.OnRecord():
            return f"that the person {facts[need.fact]}"
        case cn.RecipientAgreement():
            return f"a {need.kind} agreement with the recipient"
        case cn.ServiceAgreement():
            return "a service agreement in force"
        case cn.NamedService():
            return "that it is the service the recipient was named for, within what that service needs"
        case cn.OwnCompany():
            return "that it is the person's own company"
        case cn.TransferNotice():
            return "a posting of the transfer, or a message to the person"
        case cn.ActiveAccount():
            return "no deactivation" + (" before it takes effect" if need.until == "effective" else "")
        case cn.CategoriesListed():
            return "that the categories are listed"
        case cn.Credit():
            return f"that no message for {need.purpose} followed the last {need.category} given"
        case cn.AnyOf():
            return "either " + " or ".join(condition(one, facts) for one in need.of)
        case cn.Minor():
            return f"a person known to be under {need.under}" + (" or to need a guardian" if need.guardian else "")
        case cn.Deleted():
            return "information that was deleted"
        case cn.DeletionAsked():
            return "a person who asked for deletion"
        case _:
            assert_never(need)


def _pattern(pattern: pk.Pattern) -> str:
    said = [pattern.value] if pattern.value else []
    said += [f"of the same {pattern.same}"] if pattern.same else []
    said += [f"{field} {word}" for field, word in pattern.where.items()]
    return pattern.type + (f" ({', '.join(said)})" if said else "")


def _define(define: pk.Define) -> str:
    events = [_pattern(pattern) for pattern in define.events]
    lapses = "; a deletion ends it" if define.lapses else ""
    return f'"The person {define.says}" means {" or ".join(events)} on record{lapses}.'


def _permit(row: pk.Permit, facts: dict[str, str]) -> str:
    despite = "; no opt-out stops it" if row.despite_no else ""
    law = "; the law requires it, against every other clause" if row.law else ""
    law += "; where it is not so, this row says nothing" if row.falls_through else ""
    law += "; no addition of another clause touches it" if row.unrestricted else ""
    told = f' A no to it is answered with: "{row.consequence}"' if row.consequence else ""
    beside = f"; where {' or '.join(row.beside)} is about the same, each must permit" if row.beside else ""
    return f"Permitted: {_about(row)}; {_needs(row.needs, facts)}{despite}{law}{beside}.{told}"


def _forbid(row: pk.Forbid, facts: dict[str, str]) -> str:
    when = f", of {' and '.join(condition(need, facts) for need in row.when)}" if row.when else ""
    unless = f", unless there is {' and '.join(condition(need, facts) for need in row.unless)}" if row.unless else ""
    door = "; a collection is refused" if row.door else ""
    return f"Forbidden: {_about(row)}{when}{unless}{door}."


def _objection(row: pk.Objection) -> str:
    spared = f", sparing {', '.join(row.spares)}" if row.spares else ""
    how = f" by {', '.join(row.channels)}" if row.channels else ""
    what = "marketing messages" if row.marketing_only else "messages"
    days = row.effective_in_business_days
    when = f", from the end of the {_ordinal(days)} business day after it was said" if days else ""
    return f"An opt-out of scope {row.scope} stops {what}{how}{spared}{when}."


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _lapse(lapse: pk.Lapse) -> str:
    what = f" to {', '.join(lapse.purpose)}" if lapse.purpose else ""
    length = f"{lapse.after_months} months" if lapse.after_months else f"{lapse.after_days} days"
    return f"A yes{what} counts for {length}, then as never made."


def _door(door: pk.Door) -> str:
    where = " and ".join(f"{name} {value}" for name, value in door.where.items())
    return f"An event {door.event}{f' with {where}' if where else ''} is refused without {door.needs}."


def _so_many(number: int, unit: str) -> str:
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"


def _keep(keep: pk.Keep) -> str:
    length = _so_many(keep.for_months, "months") if keep.for_months else _so_many(keep.for_days or 0, "days")
    use = f" and is used for {', '.join(keep.purpose)}" if keep.purpose else " and is used where the law requires it"
    return f"A deletion that says so leaves {', '.join(keep.categories)}; it stays for {length} after it{use}."


def _duty(duty: pk.Duty) -> str:
    name = duty.clock
    unit = (name or "").removeprefix("due_in_").replace("_", " ")
    clock = f"within {_so_many(getattr(duty, name), unit)}" if name is not None else "without a clock"
    words = [f"Owed {clock}: {duty.kind.replace('-', ' ')}"]
    longer = [_so_many(duty.extended_by_months, "months")] if duty.extended_by_months else []
    longer += [_so_many(duty.extended_by_days, "days")] if duty.extended_by_days else []
    if longer:
        words.append(f"it can be extended once, by at most {' and '.join(longer)}, if the person is told in time")
    if duty.activity is not None:
        words.append(f"to whoever is not active so long, without a request; activity is {', '.join(duty.activity)}")
    if duty.every_breach:
        words.append("of every breach, also where no notice is required")
    if duty.owed_when:
        words.append(f"to {condition(duty.owed_when, {})}, without a request")
    if not duty.hold_stops_clock:
        words.append("time under a hold counts")
    if duty.next_steps:
        words.append("next steps sent keep it open")
    if duty.late_answer_is_finding:
        words.append("a first answer that comes later is a finding")
    return "; ".join(words) + "."


def _expect(expect: pk.Expect) -> str:
    where = "".join(f" with {name} {value}" for name, value in expect.where.items())
    whom = f" about a {', '.join(expect.recipient_class)}" if expect.recipient_class else ""
    has = f" that {expect.has}" if expect.has else ""
    lacks = f"before a {expect.until} of the same {expect.same}" if expect.until else f"without {expect.field}"
    lacks = lacks if expect.until or expect.equals else f"with {expect.field}"
    return f"A finding: {expect.event}{has}{where}{whom} {lacks}."
