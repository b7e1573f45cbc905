"""What a person's words come to, written down a second time: slowly, sentence by sentence, from the contract.

It shares nothing with the product, so that a fault has to be made twice to stay unseen. Events are dicts as they were
sent (`type`, `subject`, `actor`, `data`, `source`, `id`), with `time`, `recorded` and `position` as whole numbers
(microseconds; microseconds; the place in the log). A pack is the dict that `tomllib` reads. A question is a dict as it
is asked, with `at` and `known_at` as whole numbers. Every function quotes the sentence that it transcribes.
"""

from __future__ import annotations

import unicodedata
from calendar import monthrange
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000
DAY = 86_400 * SECOND
CHANNELS = ("email", "sms", "telephone", "post", "web")
CATEGORIES_BY_CHANNEL = {
    "email": ("email",),
    "sms": ("telephone",),
    "telephone": ("telephone",),
    "post": ("postal-address",),
    "web": (),
}
CLOSING = (
    "consent.refused",
    "consent.withdrawn",
    "optout.recorded",
    "deletion.requested",
    "access.requested",
    "correction.requested",
    "account.deactivated",
    "guardian.ended",
    "agreement.ended",
    "recipient.agreement.ended",
    "hold.placed",
    "message.bounced",
    "deletion.completed",
)
NOS = ("consent.refused", "consent.withdrawn", "optout.recorded")
END = float("inf")


# -- the answer --------------------------------------------------------------------------------------------------------


def word_on(events, pack, question, need=None, *, keeps=False):
    """`yes`, `no` or `nothing`: what the person's own words come to for a question.

    `need`: the pack's condition (a dict: basis, per, named, actor, confirmed_within_days) that a yes has to meet; None
    where the pack asks for no yes. `keeps`: a no said while names were joined stays with all at a parting, though some
    later yes had opened this part of it (whether it stands then can be read either way).

    "asks about all of them: a yes must cover them, one no is enough".
    """
    said = {_word_on_part(events, pack, part, question, need, keeps) for part in parts(pack, question)}
    if "no" in said:
        return "no"
    return "yes" if said == {"yes"} else "nothing"


def _word_on_part(events, pack, part, question, need, keeps):
    known = [event for event in events if event["recorded"] <= question["known_at"]]  # "Known at T: recorded_at <= T"
    now = (question["at"], END)
    record = Record(known, pack, part, need or {}, now)
    group = record.names_at(question["subject"], now)
    words = [*record.words, *record.kept_at_partings(keeps)]
    return record.verdict([word for word in words if word["owner"] in group])


def parts(pack, question):
    """A question that leaves a field out asks about all of it.

    "a question that leaves out `purpose` (`use`, `contact`, `disclose`), `categories` (`use`, `disclose`: all personal
    ones; `contact`: those of its channel: ...) or `channel` (`contact`) asks about all of them"
    """
    action = question["action"]
    channels = [None]
    if action == "contact":
        channels = [question["channel"]] if "channel" in question else CHANNELS
    found = []
    for purpose in [question["purpose"]] if "purpose" in question else pack["purposes"]:
        for channel in channels:
            if "categories" in question:
                categories = question["categories"]
            elif action == "contact":
                categories = CATEGORIES_BY_CHANNEL[channel]
            else:
                categories = pack["categories"]["personal"]
            for category in categories or [None]:
                one = {name: question.get(name) for name in ("action", "list", "item", "recipient")}
                found.append({**one, "purpose": purpose, "channel": channel, "category": category})
    return found


# -- order -------------------------------------------------------------------------------------------------------------


def ahead(event):
    """As the contract says.

    "What closes cannot come too early: ... ahead of `recorded_at`, however little"."""
    return event["type"] in CLOSING and event["time"] > event["recorded"]


def in_force(event):
    """Since when and in which place: "In force at an event's `time` itself"; ahead: "in force from `recorded_at`"."""
    return (event["recorded"] if ahead(event) else event["time"], event["position"])


def place(event):
    """Where it counts among words.

    "equal times in order of `position`, but a no (refused, withdrawn, opted out) counts after a yes or a lift of the
    same time, whichever came first"; ahead: "counts after every yes or lift whose `time` is not after the one it
    claimed"
    """
    last = event["type"] in NOS or ahead(event)
    return (event["time"], 1 if last else 0, event["position"])


# -- what a word is about ----------------------------------------------------------------------------------------------


def was_deleted(event):
    """Whether it is the deletion of something: "An answer to a request ... that was never made is accepted and without
    effect"; the histories make no requests."""
    return event["type"] == "deletion.completed" and "request" not in event["data"]


def same_list(one, other):
    """As the contract says.

    "`list` in NFC without case". None is none: "`list` and `item` left out mean none"."""
    if one is None or other is None:
        return one is other
    return unicodedata.normalize("NFC", one).casefold() == unicodedata.normalize("NFC", other).casefold()


def same_name(one, other):
    """As the contract says.

    "A name is compared in Unicode NFC"."""
    if one is None or other is None:
        return one is other
    return unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)


def reaches(data, part):
    """Whether a consent event, or a question for one, is about all of a part: "A field that a consent lacks does not
    limit it"."""
    return (
        data.get("purpose") in (None, part["purpose"])
        and (data.get("categories") is None or part["category"] is None or part["category"] in data["categories"])
        and (data.get("channels") is None or part["channel"] is None or part["channel"] in data["channels"])
        and (data.get("recipients") is None or any(same_name(one, part["recipient"]) for one in data["recipients"]))
        and (data.get("list") is None or same_list(data["list"], part["list"]))
        and (data.get("item") is None or same_name(data["item"], part["item"]))
    )


def meets(event, part, need):
    """As the contract says.

    "... except where a clause works per list or per item": whether a yes is one that the clause asks for."""
    data = event["data"]
    return (
        (data["basis"] == "express" or need.get("basis", "express") == "any" or not need)
        and ("list" not in need.get("per", ()) or same_list(data.get("list"), part["list"]))
        and ("item" not in need.get("named", ()) or (data.get("item") and same_name(data["item"], part["item"])))
        and need.get("actor") in (None, event["actor"])
    )


def refusal_touches(data, part):
    """Whether a refusal or withdrawal is about a part, or some of it.

    "a no that lacks a field covers everything"; "a no that names channels is about `contact` only"
    """
    if data.get("channels") is not None and part["action"] != "contact":
        return False
    if data.get("categories") is not None and part["category"] is None:
        return False
    return reaches(data, part)


def optout_about(data, part, pack, classes):
    """Whether an opt-out's scope has to do with a part.

    "Scopes: `all` and `general` are about messages to the person (`contact`), `channel` about every message by it;
    `purpose`, `list` and `recipient` about the thing named, disclosures included; `advertising` about advertising and
    its partners. A `use` is stopped by a no to its purpose, not by a no to messages."
    """
    scope = data["scope"]
    if scope in ("all", "general"):
        return part["action"] == "contact"
    if scope == "channel":
        return part["action"] == "contact" and data["channel"] == part["channel"]
    if scope == "purpose":
        return data["purpose"] == part["purpose"]
    if scope == "list":
        return part["list"] is not None and same_list(data["list"], part["list"])
    if scope == "recipient":
        return same_name(data["recipient"], part["recipient"])
    partner = classes.get(part["recipient"]) in pack.get("advertising_classes", ())
    return partner or part["purpose"] in pack.get("advertising_purposes", ())


def objections(pack, scope):
    """The pack's rows on one scope, as they are read."""
    readings = {one["id"]: one.get("interpretation", {}) for one in pack["clause"]}
    found = []
    for clause in pack["clause"]:
        for row in clause.get("objection", ()):
            of = readings[row.get("reading_of", clause["id"])]
            if row["scope"] == scope and row.get("reading") in (None, of.get("reading")):
                found.append(row)
    return found


def optout_from(event, part, pack, classes):
    """From when an opt-out counts against a part, or None where it does not.

    The how-to: "An `objection` says how far an opt-out of one scope reaches from messages: by which channels, sparing
    which purposes, from when. A scope without any `objection` reaches everything in it, at once."
    """
    if not optout_about(event["data"], part, pack, classes):
        return None
    since, _ = in_force(event)
    rows = objections(pack, event["data"]["scope"])
    if part["action"] != "contact" or not rows:
        return since
    moments = [
        after_business_days(pack, since, row.get("effective_in_business_days"))
        for row in rows
        if part["channel"] in row.get("channels", CHANNELS)
        and (not row.get("marketing_only") or part["purpose"] in pack.get("marketing", ()))
        and part["purpose"] not in row.get("spares", ())
    ]
    return min(moments, default=None)


def after_business_days(pack, moment, days):
    """As the contract says.

    "it counts from the end of that business day after it was said"."""
    if days is None:
        return moment
    day = datetime.fromtimestamp(moment // SECOND, UTC).date()
    holidays = pack.get("calendar", {}).get("holidays", ())
    while days:
        day += timedelta(days=1)
        days -= day.weekday() < 5 and day not in holidays
    day += timedelta(days=1)
    return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * SECOND


def lapses_at(pack, event):
    """As the contract says.

    "a `lapse` makes a yes count as never made after so many calendar months"; the end of the day or month it names.

    "Calendar months end on the same day of the month, or on its last"
    """
    ends = [END]
    for clause in pack["clause"]:
        for row in clause.get("lapse", ()):
            if event["data"]["purpose"] not in row.get("purpose", [event["data"]["purpose"]]):
                continue
            if "after_days" in row:
                ends.append(event["time"] + row["after_days"] * DAY)
            else:
                ends.append(after_months(event["time"], row["after_months"]))
    return min(ends)


def after_months(moment, months):
    """As the contract says.

    "Calendar months end on the same day of the month, or on its last"."""
    then = datetime.fromtimestamp(moment // SECOND, UTC)
    year, month = divmod(then.year * 12 + then.month - 1 + months, 12)
    day = min(then.day, monthrange(year, month + 1)[1])
    moved = then.replace(year=year, month=month + 1, day=day)
    return round(moved.timestamp()) * SECOND + moment % SECOND


# -- one part of a question, at one moment -----------------------------------------------------------------------------


class Record:
    """What is known, seen from one part of a question at one instant: what stands, and what is over."""

    def __init__(self, known, pack, part, need, now):
        self.known, self.pack, self.part, self.need, self.now = known, pack, part, need, now
        self.past = [event for event in known if in_force(event) <= now]
        self.classes = {
            event["data"]["recipient"]: event["data"]["class"]
            for event in sorted(self.past, key=in_force)
            if event["type"] == "recipient.registered"
        }
        self.words = [
            {**event, "owner": event["subject"]} for event in self.past if event["type"] in (*NOS, "consent.granted")
        ]

    def verdict(self, words):
        """As the contract says.

        "The latest that covers the question decides": a no that nothing later opened, else a yes that counts."""
        if self.standing_nos(words):
            return "no"
        return "yes" if self.yeses(words) else "nothing"

    def standing_nos(self, words):
        yeses = self.yeses(words)
        return [no for no in self.nos(words) if not any(self.opens(yes, no) for yes in yeses)]

    # -- noes

    def nos(self, words):
        return [word for word in words if word["type"] in NOS and self.is_no(word)]

    def is_no(self, word):
        """As the contract says.

        "A refusal or withdrawal is a no also where no opt-in was needed"."""
        if self.has_expired(word):
            return False
        if word["type"] != "optout.recorded":
            return refusal_touches(word["data"], self.part)
        since = optout_from(word, self.part, self.pack, self.classes)
        return since is not None and since <= self.now[0] and not self.is_lifted(word)

    def is_lifted(self, optout):
        return any(
            lift["type"] == "optout.lifted"
            and place(optout) < place(lift)
            and self.lift_is_about(lift, optout)
            and self.one_person(lift["subject"], optout["owner"], in_force(lift))
            for lift in self.past
        )

    @staticmethod
    def lift_is_about(lift, optout):
        """As the contract says.

        "Lifting undoes earlier opt-outs of that scope and name, and only those: with the signal `gpc`, `nai`,
        `partner` or `complaint` only those of that signal; by `operator` or `system` only those of the same actor; both
        where both; else all."
        """
        undoes, said = lift["data"], optout["data"]
        signal = undoes.get("signal")
        return (
            undoes["scope"] == said["scope"]
            and (said["scope"] != "purpose" or undoes["purpose"] == said["purpose"])
            and (said["scope"] != "list" or same_list(undoes["list"], said["list"]))
            and (said["scope"] != "channel" or undoes["channel"] == said["channel"])
            and (said["scope"] != "recipient" or same_name(undoes["recipient"], said["recipient"]))
            and (signal not in ("gpc", "nai", "partner", "complaint") or signal == said.get("signal"))
            and (lift["actor"] not in ("operator", "system") or lift["actor"] == optout["actor"])
        )

    # -- yeses

    def yeses(self, words):
        """Those that open this part now."""
        candidates = [word for word in words if word["type"] == "consent.granted" and self.counts(word)]
        return [
            word
            for word in candidates
            if not self.is_over(word, self.now) and not any(self.replaces(later, word) for later in candidates)
        ]

    def counts(self, yes):
        """Whether a yes is about this part, of the kind that is needed, and was one when it was said."""
        return (
            self.is_about(yes)
            and self.ends(yes) > yes["time"]
            and ("confirmed_within_days" not in self.need or bool(self.confirmed_by(yes)))
        )

    def is_about(self, yes):
        return reaches(yes["data"], self.part) and meets(yes, self.part, self.need) and self.version_opens(yes)

    def opens(self, yes, no):
        """Whether a yes ends a no.

        "A later express grant opens only what it names, after an `all` too; a grant by use neither replaces nor reopens
        an express word; a yes by `system` opens nothing while a no stands, one by `operator` nothing while another
        actor's does." Joined names: "what each name had before is combined, the stricter word winning".
        """
        return (
            place(yes) > place(no)
            and yes["data"]["basis"] == "express"
            and (yes["actor"] != "system")
            and (yes["actor"] != "operator" or no["actor"] == "operator")
            and self.names_what_was_closed(yes["data"], no)
            and self.one_person(yes["owner"], no["owner"], in_force(yes))
        )

    @staticmethod
    def names_what_was_closed(yes, no):
        """As the contract says.

        "opens only what it names": one channel, list or recipient that was closed, or what a refusal without purpose
        names, opens by a yes that names it, and not by one that is only not limited to others."""
        said = no["data"]
        if no["type"] != "optout.recorded":
            fields = ("categories", "channels") if "purpose" not in said else ()
            return all(yes.get(name) is not None for name in fields if said.get(name) is not None)
        return {
            "channel": said.get("channel") in (yes.get("channels") or ()),
            "list": same_list(said.get("list"), yes.get("list")),
            "recipient": any(same_name(said.get("recipient"), one) for one in yes.get("recipients") or ()),
        }.get(said["scope"], True)

    def replaces(self, later, older):
        """As the contract says.

        "An express yes that counts (confirmed where that is needed; not by `system`) replaces every older yes of the
        same actor, of `operator` or of `system` for what both cover, for good ... A yes by use replaces only yeses by
        use."
        """
        return (
            place(older) < place(later)
            and later["actor"] != "system"
            and older["actor"] in (later["actor"], "operator", "system")
            and (later["data"]["basis"] == "express" or older["data"]["basis"] == "use")
            and self.one_person(later["owner"], older["owner"], in_force(later))
        )

    def has_expired(self, word, moment=None):
        """As the contract says.

        "A choice that has expired counts as never made"; "intervals are half-open"."""
        return word["data"].get("expires_at", END) <= (self.now[0] if moment is None else moment)

    def ends(self, yes):
        """When it is over by itself: it expires or lapses, or what it confirms expires ("reaches no ... longer")."""
        ends = [yes["data"].get("expires_at", END), lapses_at(self.pack, yes)]
        if "confirmed_within_days" in self.need:
            ends.append(max(self.confirmed_by(yes), default=END))
        return min(ends)

    def is_over(self, yes, when):
        return self.ends(yes) <= when[0] or self.is_ended(yes, when)

    def is_ended(self, yes, when):
        """As the contract says.

        "`guardian.ended`: what a guardian consented to for this person ends from here on"; "`deletion.completed`
        ...; the choices made before it open nothing afterwards, the opt-outs stay"."""
        return any(
            (was_deleted(event) or (event["type"] == "guardian.ended" and yes["actor"] == "guardian"))
            and in_force(event) <= when
            and place(yes) < place(event)
            and self.one_person(  # for whom a guardian's word ended, it stays ended, taken apart or not
                event["subject"], yes["owner"], in_force(event), in_force(event) if not was_deleted(event) else None
            )
            for event in self.past
        )

    def version_opens(self, yes):
        """As the contract says.

        "A yes belongs to its `policy_version`, else to the newest version published by its `time`: one to an earlier
        version does not open what a later one brings, one before the first version opens nothing."
        """
        published = sorted((event for event in self.past if event["type"] == "policy.published"), key=in_force)
        before = [event["data"]["version"] for event in published if event["time"] <= yes["time"]]
        if not before:
            return False
        own = yes["data"].get("policy_version", before[-1])
        versions = [event["data"]["version"] for event in published]
        if own not in versions:
            return False
        later = published[versions.index(own) + 1 :]
        return not any(self.part["purpose"] in event["data"].get("change", {}).get("new_uses", ()) for event in later)

    # -- double opt-in

    def confirmed_by(self, yes):
        """When each pair of a first yes and what was named expires, of those that confirm a yes.

        "a yes is confirmed only if at its `time` an earlier express yes of the same actor to the same stands (not
        expired, lapsed or followed by a no to it) and its `answers` names that, or a `consent.requested` to the same
        person after it (equal times by position), less than the days after what it names; it is by anybody but
        `system`, and reaches no further, nor longer, than that yes and what it names. A form sent twice confirms
        nothing."
        """
        answers = yes["data"].get("answers")
        if answers is None or yes["actor"] == "system":
            return []
        key = (answers.get("source", yes["source"]), answers["id"])
        named = [event for event in self.past if (event["source"], event["id"]) == key]
        return [
            min(first["data"].get("expires_at", END), event["data"].get("expires_at", END))
            for event in named
            for first in self.past
            if self.is_first(first, yes)
            and self.is_named_rightly(event, first, yes)
            and yes["time"] - event["time"] < self.need["confirmed_within_days"] * DAY
        ]

    def is_first(self, first, yes):
        return (
            first["type"] == "consent.granted"
            and first["data"]["basis"] == "express"
            and first["actor"] == yes["actor"]
            and place(first) < place(yes)
            and self.is_about(word := {**first, "owner": first["subject"]})
            and self.one_person(first["subject"], yes["owner"], in_force(yes))
            and min(first["data"].get("expires_at", END), lapses_at(self.pack, first)) > yes["time"]
            and not self.is_ended(word, in_force(yes))
            and not self.is_followed_by_a_no(first, yes)
        )

    def is_named_rightly(self, event, first, yes):
        if event["type"] == "consent.granted":
            return event is first
        return (
            event["type"] == "consent.requested"
            and in_force(first) < in_force(event) < in_force(yes)
            and reaches(event["data"], self.part)
            and self.one_person(event["subject"], yes["owner"], in_force(yes))
        )

    def is_followed_by_a_no(self, first, yes):
        then = Record(self.known, self.pack, self.part, {}, in_force(yes))
        return any(
            place(first) < place(no) < place(yes) and then.one_person(no["owner"], yes["owner"], in_force(yes))
            for no in then.nos(then.words)
        )

    # -- names

    def names_at(self, name, when):
        """All names that lead to the same person at an instant."""
        links = set()
        for event in sorted(self.known, key=in_force):
            if in_force(event) > when or event["type"] not in ("subject.linked", "subject.unlinked"):
                continue
            pair = frozenset((event["subject"], event["data"]["personal"]["other"]))
            links = links | {pair} if event["type"] == "subject.linked" else links - {pair}
        group = {name}
        while more := {one for pair in links if pair & group for one in pair} - group:
            group |= more
        return group

    def one_person(self, one, other, since, until=None):
        """Whether two names were one person from an instant on: "what is said after it under any of them is the
        person's", until they are "taken apart"."""
        until = self.now if until is None else until
        turns = [in_force(event) for event in self.known if event["type"] in ("subject.linked", "subject.unlinked")]
        return all(other in self.names_at(one, when) for when in [since, *(t for t in turns if since < t <= until)])

    def kept_at_partings(self, keeps):
        """As the contract says.

        "Taken apart (`subject.unlinked`), each keeps what came under its own name, and a no said while they were
        joined, and standing at the parting, stays with all who were."
        """
        kept = []
        for parting in sorted(self.past, key=in_force):
            if parting["type"] != "subject.unlinked":
                continue
            when, just_before = in_force(parting), (parting["time"], parting["position"] - 0.5)
            then = Record(self.known, self.pack, self.part, self.need, just_before)
            group = then.names_at(parting["subject"], just_before)
            words = [word for word in [*then.words, *kept] if word["owner"] in group]
            for no in then.nos(words) if keeps else then.standing_nos(words):
                left = group - self.names_at(no["owner"], when)
                kept += [{**no, "owner": name} for name in left if then.one_person(name, no["owner"], in_force(no))]
        return kept
