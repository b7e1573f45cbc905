"""The policy pack: a privacy statement as data. This file knows the mechanisms, and no statement by name.

A pack is a TOML file: words (purposes, categories, recipient classes), then clauses. A clause has an id, a title, its
rule in plain words, where the text is ambiguous an interpretation, and any number of these mechanisms:

    permit     opens an action where all its needs are met; where one is not, it is the row that could have permitted
    forbid     closes an action, whatever was consented
    gate       an additional need of every permission it matches
    objection  the clause that carries an opt-out of one scope, and what that scope spares
    define     a fact on record that others need
    door       a field without which an event is refused
    duty       something owed, with or without a clock
    keep       categories that a deletion leaves, for what, and how long
    lapse      after how long a yes counts as never made
    expect     something an event, or the record, must show, or there is a finding
    tell       recipients of a class must be told of a no

A row that carries a `reading` counts only while its clause is read so: see `ledger.policy.interpretations`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import date
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from consent_ledger.ledger.events.facts import Channel, Ground, Scope
from consent_ledger.ledger.limits import VALUE_LIMIT_BYTES, VALUE_MOST_BYTES
from consent_ledger.ledger.policy.conditions import DeletionAsked, Minor, Need, Table
from consent_ledger.ledger.policy.personal_fields import known_names, spelt
from consent_ledger.ledger.times import DAY, after_business_days, after_months

Action = Literal["collect", "use", "contact", "disclose", "transfer", "request"]
Words = list[str]
ACTIONS: Final = ("collect", "use", "contact", "disclose", "transfer", "request")
_NO_ZONES: Final = frozenset(("localtime", "posixrules", "Factory"))  # they lie among the zones of many machines
Count = Annotated[int, Field(ge=1)]


def alike(field: str, word: str) -> str:
    """How the words of a field are compared: in one form of Unicode, and lists without case."""
    form = unicodedata.normalize("NFC", word)
    return unicodedata.normalize("NFC", form.casefold()) if field == "list" else form


# -- mechanisms --------------------------------------------------------------------------------------------------------


class Row(Table):
    """What all mechanisms have in common: the reading under which they count, of this clause or of `reading_of`."""

    reading: str | None = None
    reading_of: str | None = None


class Match(Row):
    """The questions a rule is about. A field that is missing does not limit."""

    action: list[Action]
    purpose: Words | None = None
    not_purpose: Words | None = None
    categories: Words | None = None  # all of the question's (a personal rule looks at the personal ones)
    any_category: Words | None = None  # at least one of the question's
    recipient_class: Words | None = Field(None, alias="class")
    recipient: Words | None = None
    public: bool | None = None  # no recipient
    information: Literal["personal", "anonymous", "any"] = "personal"
    channel: list[Channel] | None = None
    ground: list[Ground] | None = None
    origin: list[Literal["subject", "passive", "other-source"]] | None = None
    country: bool | None = None
    country_in: Words | None = None  # it goes to a country of one of these groups
    country_not_in: Words | None = None  # it goes across a border, to a country of none of these groups
    transfer: bool | None = None
    on_record_from: Literal["other-source"] | None = None  # all categories asked about, from there only
    announces: Literal["stored", "material"] | None = None  # the item names a version that changes this


class Permit(Match):
    """See the module. `despite_no`: no opt-out or refusal stops it; `law`: what the law requires."""

    needs: list[Need] = []
    despite_no: bool = False
    law: bool = False
    falls_through: bool = False  # a law row whose needs are not met says nothing
    unrestricted: bool = False  # gates and new uses do not touch it
    consequence: str | None = None  # told in the answer that a no to it causes
    beside: Words = []  # clauses whose rows are meant to be as narrow and to decide otherwise: all must permit


class Forbid(Match):
    """See the module. `when`: only then; `unless`: not then; `door`: a collection is refused outright."""

    when: list[Need] = []
    unless: list[Need] = []
    door: bool = False


class Gate(Match):
    """See the module."""

    needs: list[Need]


class Objection(Row):
    """A clause that carries opt-outs of one scope from messages, and the limits of that scope."""

    scope: Scope
    channels: list[Channel] | None = None
    marketing_only: bool = False
    spares: Words = []
    effective_in_business_days: Count | None = None  # counts from the end of that day after it was said


# Event types of which the fold keeps the first of each telling word; a `define` can name these.
TELLING: Final = frozenset(
    (
        "breach.affected",
        "consent.granted",
        "information.collected",
        "ownership.transfer.notified",
        "partner.notified",
        "service.used",
        "subject.registered",
    )
)


# What the fold keeps beside the telling word, of which each combination that came is kept: words, and no free names.
PARTICULARS: Final[dict[str, tuple[str, ...]]] = {
    "breach.affected": ("breach", "channel"),
    "consent.granted": ("purpose", "basis", "form", "method"),
    "information.collected": ("origin", "service", "optout_offered"),
    "ownership.transfer.notified": ("transfer", "channel"),
    "partner.notified": ("recipient",),
    "service.used": ("service",),
    "subject.registered": ("kind", "service"),
}
assert PARTICULARS.keys() == TELLING

# Event types by which a person is seen to be there: the fold keeps the last of each, and a `duty` can count from them.
ACTIVITY: Final = frozenset(
    (
        "access.requested",
        "agreement.started",
        "complaint.lodged",
        "consent.granted",
        "consent.refused",
        "consent.withdrawn",
        "correction.requested",
        "information.collected",
        "optout.lifted",
        "optout.recorded",
        "policy.acknowledged",
        "service.used",
        "subject.registered",
    )
)


def _in_words(value: object) -> object:
    """A table with true and false as words."""
    if not isinstance(value, dict):
        return value
    return {name: str(one).lower() if isinstance(one, bool) else one for name, one in value.items()}


class Pattern(Table):
    """Events of a type; `is`: with that word in the type's telling field; `same`: that field as in the question.

    `where`: only those with these words in these fields; `form` and `method` are those of `shown`; true and false stand
    as words.
    """

    type: str
    value: str | None = Field(None, alias="is")
    same: Literal["recipient", "item", "transfer"] | None = None
    where: Annotated[dict[str, str], BeforeValidator(_in_words)] = {}


class Define(Row):
    """A fact: any event of the patterns. `lapses`: a deletion ends it, as it ends choices."""

    fact: str
    events: list[Pattern]
    lapses: bool = True
    says: str


class Door(Row):
    """An event of that type, where its fields say so, is refused without a field."""

    event: str
    where: dict[str, str] = {}
    needs: str


CLOCKS: Final = (
    "due_in_days",
    "due_in_business_days",
    "due_in_months",
    "due_in_hours",
)  # the first that is said counts


class Duty(Row):
    """Something owed from an event on. An hour is 3,600 s, a day 24 of them; without any period there is no clock.

    A period and its extension are one sum of calendar months, then the days.
    """

    kind: Literal["deletion", "correction", "access", "breach-notice", "authority-notice", "complaint"]
    due_in_hours: Count | None = None
    due_in_days: Count | None = None
    due_in_business_days: Count | None = None  # at the end of that day
    due_in_months: Count | None = None  # calendar months
    extended_by_days: Count | None = None  # what `request.extended` can add, once
    extended_by_months: Count | None = None
    hold_stops_clock: bool = True
    next_steps: bool = False  # next steps sent keep it open and visible
    late_answer_is_finding: bool = False
    owed_when: Minor | None = None  # owed without a request
    activity: Words | None = None  # owed without a request, from the last of these events on; a new one begins again
    every_breach: bool = False  # of an authority-notice: also where the breach says that no notice is required

    @property
    def clock(self) -> str | None:
        """The period that counts."""
        return next((name for name in CLOCKS if getattr(self, name) is not None), None)

    @property
    def by_request(self) -> bool:
        """Whether it is a request that opens it."""
        return self.kind in ("deletion", "correction", "access") and self.owed_when is None and self.activity is None

    @property
    def extends(self) -> bool:
        """Whether it can be extended."""
        return self.extended_by_days is not None or self.extended_by_months is not None


class Keep(Row):
    """Categories that a deletion leaves: usable for `purpose`, and where a `law` row permits, for so long after it.

    Alone: neither shipped statement keeps anything; a shop in the how-to does.
    """

    categories: Words
    purpose: Words = []
    for_months: Count | None = None  # calendar months
    for_days: Count | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.for_months is None) is (self.for_days is None):
            raise ValueError("wants for_months or for_days, one of them")
        return self

    def ends(self, deleted: int) -> int:
        """Until when it stays after a deletion of that moment, in microseconds."""
        if self.for_days is not None:
            return deleted + self.for_days * DAY
        return after_months(deleted, self.for_months or 0)


class Lapse(Row):
    """A yes counts as never made so long after it was said. `purpose`: only for these.

    Alone: neither shipped statement lets a yes lapse; a shop in the how-to does.
    """

    purpose: Words | None = None
    after_months: Count | None = None  # calendar months
    after_days: Count | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.after_months is None) is (self.after_days is None):
            raise ValueError("wants after_months or after_days, one of them")
        return self

    def ends(self, said: int) -> int:
        """When a yes of that moment counts as never made, in microseconds."""
        if self.after_days is not None:
            return said + self.after_days * DAY
        return after_months(said, self.after_months or 0)


class Identification(Row):
    """What a deletion request must name before anything else.

    Alone: the other shipped statement asks for no names; what is asked for is data.
    """

    needs: list[Literal["service", "full_name", "postal_address", "telephone", "email"]]


class Hold(Row):
    """The clause under which holds defer a deletion; `finding`: one carried out all the same shows up.

    Alone: a hold is a fact under every statement, but only one says what it defers.
    """

    finding: bool = True


class Expect(Row):
    """A finding unless an event shows `equals` in `field`, or `until` another event of the same `same` came."""

    event: str
    where: dict[str, str] = {}
    has: str | None = None
    recipient_class: Words | None = Field(None, alias="class")
    field: str | None = None
    equals: bool = True
    until: str | None = None
    same: str | None = None
    owed: Literal["policy-notice"] | None = None  # what is missing is listed as an obligation of that kind, too


class Tell(Row):
    """Recipients of a class that held anything must be told of every no, or of what `about` says.

    Alone: only one shipped statement binds those who got information to what the person says later.
    """

    recipient_class: Words = Field(alias="class")
    about: list[Literal["optout", "correction", "deletion"]] = ["optout"]


class Interpretation(Table):
    """Where the text can be read in more than one way: what is open, the reading in force, and all of them in words."""

    text: str
    reading: str
    readings: dict[str, str] = Field(min_length=1)


def _only_stated(value: object) -> object:
    """An interpretation that is a sentence names one reading: packs were written so once, and are read for ever."""
    return {"text": value, "reading": "stated", "readings": {"stated": value}} if isinstance(value, str) else value


class Clause(Table):
    """One promise: its id, its words, its mechanisms."""

    id: str
    title: str
    rule: str
    interpretation: Annotated[Interpretation | None, BeforeValidator(_only_stated)] = None
    permit: list[Permit] = []
    forbid: list[Forbid] = []
    gate: list[Gate] = []
    objection: list[Objection] = []
    define: list[Define] = []
    door: list[Door] = []
    duty: list[Duty] = []
    keep: list[Keep] = []
    lapse: list[Lapse] = []
    identification: Identification | None = None
    hold: Hold | None = None
    expect: list[Expect] = []
    tell: Tell | None = None
    note: str | None = None  # what carries a clause that has no mechanism of its own


class StoredChange(Row):
    """When a change of the use of stored information takes effect for a person. Any of the ways is enough."""

    clause: str
    no_email: str | None = None  # the clause cited as well where no e-mail notice stands
    acknowledged: bool = False
    use_days_after_email: int | None = None
    use_days_after_posting: int | None = None  # where no e-mail notice stands
    express_yes: bool = False  # an e-mail notice that offered the choice, then an express yes
    silence_is_yes: bool = False  # an e-mail notice that offered the choice, and no no since

    @property
    def by_choice(self) -> bool:
        """Whether it is the person who opens a new use, and not the version that comes into force."""
        return self.express_yes or self.silence_is_yes


class OtherChange(Table):
    """When any other change takes effect."""

    clause: str | None = None
    effective: Literal["posting", "publication"]


def _listed(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class Change(Table):
    """Changes of the statement. `joined_by`: who first does this later has the statement in force then."""

    notice_purpose: str
    joined_by: list[Pattern]
    by_reading: Annotated[list[StoredChange], BeforeValidator(_listed), Field(alias="stored", min_length=1)]
    material: OtherChange
    other: OtherChange

    @property
    def stored(self) -> StoredChange:
        """The one whose reading is in force."""
        return self.by_reading[0]


class PersonalField(Table):
    """What the pack says of a personal field, by its name. `limit_bytes`: of its value, in UTF-8."""

    category: str | None = None
    stored: bool = True
    numbers: bool = True  # its value is looked at for numbers of a forbidden category
    address: Literal["email", "telephone", "text"] | None = None  # an address, and how two spellings are compared
    limit_bytes: Annotated[int, Field(ge=1, le=VALUE_MOST_BYTES)] = VALUE_LIMIT_BYTES


class Processor(Table):
    """The clause under which events and questions of a processor's role are somebody else's."""

    clause: str


class Calendar(Table):
    """Which days are business days: Monday to Friday by the clocks of the zone, holidays aside."""

    holidays: list[date] = []
    zone: str = "UTC"  # a name of IANA's

    @field_validator("zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        """Files beside the zones, such as `localtime`, say something else on every machine: they are none."""
        known = {"UTC"} if name == "UTC" else available_timezones() - _NO_ZONES
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            lacks = "this machine lacks the time zone data: install the system's package tzdata, or the Python one"
            raise ValueError(
                f"no time zone {name!r} is known here{hint}: its name is IANA's, and if it is right, {lacks}"
            )
        return name

    def after(self, micros: int, days: int, pauses: Iterable[tuple[int, int]] = ()) -> int:
        """The end of the so-manieth business day after a moment: see `ledger.times.after_business_days`."""
        return after_business_days(micros, days, self.holidays, pauses, ZoneInfo(self.zone))


class Ages(Table):
    """`grow`: whoever was n years old once is n + k from k years after. An upper bound never grows."""

    grow: bool = False


class Categories(Table):
    """Every category is one or the other."""

    personal: Words
    anonymous: Words


class Pack(Table):
    """A whole pack, validated. `sha256` is that of the exact bytes it was read from."""

    format: Literal[1]
    controller: str
    title: str
    purposes: Words
    marketing: Words = []
    by_list: Words = []  # purposes that always go by lists: a message names one, or it is not permitted
    classes: Words
    lists: Words | None = None  # where one of these three stands, no other word of its kind is known
    items: Words | None = None
    services: Words | None = None
    categories: Categories
    advertising_purposes: Words = []
    advertising_classes: Words = []
    detected: dict[Literal["card", "national"], str] = {}
    personal_fields: dict[str, PersonalField] = {}
    processor: Processor | None = None
    calendar: Calendar = Calendar()
    calling_code: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,2}$")] | None = None  # of numbers without
    addresses_bind: bool = True  # a no binds an address, whoever else has it
    ages: Ages = Ages()
    agreements: Words = []  # kinds of agreements with recipients, beside confidentiality
    countries: dict[str, Words] = {}  # group -> its countries, as events name them
    forms: Words | None = None  # the forms that people are shown; None: any
    reasons: Words | None = None  # why a request is extended; None: any
    change: Change | None = None
    clause: list[Clause]
    sha256: str = ""
    edition: str = ""  # the digest, and the readings that were switched: equal for packs that decide alike

    @cached_property
    def ids(self) -> dict[str, Clause]:
        """Clauses by id."""
        return {clause.id: clause for clause in self.clause}

    @cached_property
    def known_purposes(self) -> frozenset[str]:
        return frozenset(self.purposes)

    @cached_property
    def always_by_list(self) -> frozenset[str]:
        return frozenset(self.by_list)

    @cached_property
    def known_classes(self) -> frozenset[str]:
        return frozenset(self.classes)

    @cached_property
    def known_agreements(self) -> frozenset[str]:
        return frozenset(("confidentiality", *self.agreements))

    @cached_property
    def keeps(self) -> list[tuple[str, Keep]]:
        """What a deletion leaves, with its clause."""
        return [(clause.id, keep) for clause in self.clause for keep in clause.keep]

    @cached_property
    def kept_categories(self) -> frozenset[str]:
        return frozenset(category for _, keep in self.keeps for category in keep.categories)

    @cached_property
    def counts_activity(self) -> bool:
        """Whether something is owed to whoever was not active for long."""
        return any(duty.activity is not None for clause in self.clause for duty in clause.duty)

    def in_group(self, country: str, groups: Iterable[str]) -> bool:
        """Whether a country, however it is capitalised, is in one of these groups."""
        named = country.casefold()
        return any(one.casefold() == named for group in groups for one in self.countries.get(group, ()))

    @cached_property
    def anonymous(self) -> frozenset[str]:
        return frozenset(self.categories.anonymous)

    @cached_property
    def doors(self) -> dict[str, list[tuple[str, Door]]]:
        """Door rules by event type, with their clause."""
        found: dict[str, list[tuple[str, Door]]] = {}
        for clause in self.clause:
            for door in clause.door:
                found.setdefault(door.event, []).append((clause.id, door))
        return found

    @cached_property
    def refused_categories(self) -> dict[str, str]:
        """Categories that are refused at the door, each with its clause."""
        return {
            category: clause.id
            for clause in reversed(self.clause)
            for rule in clause.forbid
            if rule.door and not rule.when
            for category in rule.any_category or ()
        }

    @cached_property
    def minors(self) -> list[tuple[str, Forbid]]:
        """Door rules about minors: collection and consent are refused."""
        rules = [(clause.id, rule) for clause in self.clause for rule in clause.forbid if rule.door]
        return [(clause, rule) for clause, rule in rules if any(isinstance(need, Minor) for need in rule.when)]

    @cached_property
    def lapses(self) -> list[tuple[str, Lapse]]:
        """What makes a yes count as never made, with its clause."""
        return [(clause.id, lapse) for clause in self.clause for lapse in clause.lapse]

    @cached_property
    def objections(self) -> dict[str, list[tuple[str, Objection]]]:
        """Rows about opt-outs by scope, with their clause."""
        found: dict[str, list[tuple[str, Objection]]] = {}
        for clause in self.clause:
            for objection in clause.objection:
                found.setdefault(objection.scope, []).append((clause.id, objection))
        return found

    @cached_property
    def delays(self) -> bool:
        """Whether some opt-out takes effect later than it is said."""
        rows = [row for rows in self.objections.values() for _, row in rows]
        return any(row.effective_in_business_days is not None for row in rows)

    @cached_property
    def communications(self) -> frozenset[str]:
        """The purposes that a person can be contacted for."""
        rows = [row for clause in self.clause for row in clause.permit if "contact" in row.action]
        return frozenset(purpose for row in rows for purpose in row.purpose or ())

    @cached_property
    def judges_requests(self) -> bool:
        """Whether the statement says when a person may be asked for consent."""
        return any("request" in row.action for clause in self.clause for row in (*clause.permit, *clause.forbid))

    @cached_property
    def closes_for_good(self) -> bool:
        """Whether a deletion request closes something whatever comes later."""
        rules = [rule for clause in self.clause for rule in clause.forbid]
        return any(isinstance(need, DeletionAsked) for rule in rules for need in rule.when)

    @cached_property
    def detected_kinds(self) -> dict[str, str]:
        """Category by the kind of number that was found."""
        return {str(kind): category for kind, category in self.detected.items()}

    @cached_property
    def closed(self) -> dict[str, dict[str, str]]:
        """Field of an event or a question -> the words it can have, by how they are compared. Others are open."""
        kinds = {"list": self.lists, "item": self.items, "service": self.services}
        return {
            field: {alike(field, word): word for word in words} for field, words in kinds.items() if words is not None
        }

    def words_of(self, field: str) -> dict[str, str] | None:
        """The words that a field of an event or a question can have, by how they are compared. None: any."""
        return {word: word for word in self.purposes} if field == "purpose" else self.closed.get(field)

    def knows(self, field: str, word: str) -> bool:
        """Whether a field can have that word. Requires no word of a field that is neither closed nor a purpose."""
        if field == "purpose":
            return word in self.known_purposes
        known = self.closed.get(field)
        return known is None or alike(field, word) in known

    @cached_property
    def known_personal(self) -> frozenset[str]:
        """The names that personal fields can have, as `spelt` has them."""
        return known_names(self.known_categories, self.personal_fields)

    def knows_personal(self, name: str) -> bool:
        return spelt(name) in self.known_personal

    def limit_bytes(self, name: str) -> int:
        """How long the value of a personal field may be, in UTF-8."""
        declared = self.personal_field(name)
        return declared.limit_bytes if declared else VALUE_LIMIT_BYTES

    def personal_field(self, name: str) -> PersonalField | None:
        """What is said of a personal field, however its name is spelt: `Friend-Email` is `friend_email`."""
        return self.personal_fields.get(name) or self.personal_fields.get(name.lower().replace("-", "_"))

    def dropped_fields(self, names: Iterable[str]) -> frozenset[str]:
        """Those of these personal fields that are committed and not stored."""
        return frozenset(name for name in names if (said := self.personal_field(name)) and not said.stored)

    @cached_property
    def known_categories(self) -> frozenset[str]:
        return frozenset(self.categories.personal) | self.anonymous

    @cached_property
    def personal(self) -> frozenset[str]:
        return self.known_categories - self.anonymous
