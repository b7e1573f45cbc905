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
    expect     something an event, or the record, must show, or there is a finding
    tell       recipients of a class must be told of a no
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ledger.facts import Channel, Ground

Action = Literal["collect", "use", "contact", "disclose", "transfer"]
Scope = Literal["all", "general", "purpose", "list", "recipient", "advertising"]
Words = list[str]
ACTIONS: Final = ("collect", "use", "contact", "disclose", "transfer")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


# -- conditions --------------------------------------------------------------------------------------------------------


class OptIn(_Model):
    """The person's latest word on this is a yes. `per`: the yes must name the same; `named`: and name one at all."""

    need: Literal["opt-in"]
    basis: Literal["express", "any"] = "express"
    per: list[Literal["list"]] = []
    named: list[Literal["item"]] = []
    actor: Literal["subject", "guardian", "operator", "system"] | None = None


class AnyOptIn(_Model):
    """A yes to some communication is in force."""

    need: Literal["any-opt-in"]


class OnRecord(_Model):
    """A fact that some clause defines is on record."""

    need: Literal["fact"]
    fact: str


class RecipientAgreement(_Model):
    """An agreement of that kind with the recipient is in force."""

    need: Literal["recipient-agreement"]
    kind: Literal["confidentiality"]


class ServiceAgreement(_Model):
    """A service agreement with the person, or an employee's customer, is in force."""

    need: Literal["service-agreement"]


class NamedService(_Model):
    """The purpose is the service the recipient was registered for, within the categories that service needs."""

    need: Literal["named-service"]


class OwnCompany(_Model):
    """The recipient is the company the person was registered with."""

    need: Literal["registered-company"]


class TransferNotice(_Model):
    """The change of owner was posted, or the person was told of it."""

    need: Literal["transfer-notice"]


class ActiveAccount(_Model):
    """The person did not deactivate: before the change of owner takes effect, or at any time."""

    need: Literal["active-account"]
    until: Literal["effective", "ever"] = "effective"


class CategoriesListed(_Model):
    """The categories are listed; none means everything."""

    need: Literal["categories-listed"]


class Credit(_Model):
    """One message for each time a category was collected, for one purpose."""

    need: Literal["credit"]
    category: str
    purpose: str


class AnyOf(_Model):
    """One of several needs is enough."""

    need: Literal["any-of"]
    of: list[Need]


class Minor(_Model):
    """The person is known to be under that age in years, or (if it says so) to need a guardian."""

    need: Literal["minor"]
    under: int
    guardian: bool = False


class Deleted(_Model):
    """The information asked about was deleted and did not come back."""

    need: Literal["deleted"]


class DeletionAsked(_Model):
    """The person asked for deletion."""

    need: Literal["deletion-requested"]


Need = Annotated[
    OptIn
    | AnyOptIn
    | OnRecord
    | RecipientAgreement
    | ServiceAgreement
    | NamedService
    | OwnCompany
    | TransferNotice
    | ActiveAccount
    | CategoriesListed
    | Credit
    | AnyOf
    | Minor
    | Deleted
    | DeletionAsked,
    Field(discriminator="need"),
]
AnyOf.model_rebuild()


# -- mechanisms --------------------------------------------------------------------------------------------------------


class Match(_Model):
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


class Forbid(Match):
    """See the module. `when`: only then; `unless`: not then; `door`: a collection is refused outright."""

    when: list[Need] = []
    unless: list[Need] = []
    door: bool = False


class Gate(Match):
    """See the module."""

    needs: list[Need]


class Objection(_Model):
    """A clause that carries opt-outs of one scope from messages, and the limits of that scope."""

    scope: Scope
    channels: list[Channel] | None = None
    marketing_only: bool = False
    spares: Words = []


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


class Pattern(_Model):
    """Events of a type; `is`: with that word in the type's telling field; `same`: that field as in the question."""

    type: str
    value: str | None = Field(None, alias="is")
    same: Literal["recipient", "item", "transfer"] | None = None


class Define(_Model):
    """A fact: any event of the patterns. `lapses`: a deletion ends it, as it ends choices."""

    fact: str
    events: list[Pattern]
    lapses: bool = True
    says: str


class Door(_Model):
    """An event of that type, where its fields say so, is refused without a field."""

    event: str
    where: dict[str, str] = {}
    needs: str


class Duty(_Model):
    """Something owed from an event on. Days are of 86,400 s; without them there is no clock."""

    kind: Literal["deletion", "correction", "access", "breach-notice", "complaint"]
    due_in_days: int | None = None
    hold_stops_clock: bool = True
    next_steps: bool = False  # next steps sent keep it open and visible
    late_answer_is_finding: bool = False
    owed_when: Minor | None = None  # owed without a request


class Identification(_Model):
    """What a deletion request must name before anything else."""

    needs: list[Literal["service", "full_name", "postal_address", "telephone", "email"]]


class Hold(_Model):
    """The clause under which holds defer a deletion; `finding`: one carried out all the same shows up."""

    finding: bool = True


class Expect(_Model):
    """A finding unless an event shows `equals` in `field`, or `until` another event of the same `same` came."""

    event: str
    where: dict[str, str] = {}
    has: str | None = None
    recipient_class: Words | None = Field(None, alias="class")
    field: str | None = None
    equals: bool = True
    until: str | None = None
    same: str | None = None


class Tell(_Model):
    """Recipients of a class that held anything must be told of every no."""

    recipient_class: Words = Field(alias="class")


class Clause(_Model):
    """One promise: its id, its words, its mechanisms."""

    id: str
    title: str
    rule: str
    interpretation: str | None = None
    permit: list[Permit] = []
    forbid: list[Forbid] = []
    gate: list[Gate] = []
    objection: list[Objection] = []
    define: list[Define] = []
    door: list[Door] = []
    duty: list[Duty] = []
    identification: Identification | None = None
    hold: Hold | None = None
    expect: list[Expect] = []
    tell: Tell | None = None
    note: str | None = None  # what carries a clause that has no mechanism of its own


class StoredChange(_Model):
    """When a change of the use of stored information takes effect for a person. Any of the ways is enough."""

    clause: str
    no_email: str | None = None  # the clause cited as well where no e-mail notice stands
    acknowledged: bool = False
    use_days_after_email: int | None = None
    use_days_after_posting: int | None = None  # where no e-mail notice stands
    express_yes: bool = False  # an e-mail notice that offered the choice, then an express yes


class OtherChange(_Model):
    """When any other change takes effect."""

    clause: str | None = None
    effective: Literal["posting", "publication"]


class Change(_Model):
    """Changes of the statement. `joined_by`: who first does this later has the statement in force then."""

    notice_purpose: str
    joined_by: list[Pattern]
    stored: StoredChange
    material: OtherChange
    other: OtherChange


class PersonalField(_Model):
    """What the pack says of a personal field, by its name."""

    category: str | None = None
    stored: bool = True
    numbers: bool = True  # its value is looked at for numbers of a forbidden category


class Processor(_Model):
    """The clause under which events and questions of a processor's role are somebody else's."""

    clause: str


class Categories(_Model):
    """Every category is one or the other."""

    personal: Words
    anonymous: Words


class Pack(_Model):
    """A whole pack, validated. `sha256` is that of the exact bytes it was read from."""

    format: Literal[1]
    controller: str
    title: str
    purposes: Words
    marketing: Words = []
    classes: Words
    categories: Categories
    advertising_purposes: Words = []
    advertising_classes: Words = []
    detected: dict[Literal["card", "national"], str] = {}
    personal_fields: dict[str, PersonalField] = {}
    processor: Processor | None = None
    change: Change | None = None
    clause: list[Clause]
    sha256: str = ""

    @cached_property
    def ids(self) -> dict[str, Clause]:
        """Clauses by id."""
        return {clause.id: clause for clause in self.clause}

    @cached_property
    def known_purposes(self) -> frozenset[str]:
        return frozenset(self.purposes)

    @cached_property
    def known_classes(self) -> frozenset[str]:
        return frozenset(self.classes)

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
    def minors(self) -> list[tuple[str, list[Minor]]]:
        """Door rules about minors: collection and consent are refused."""
        rules = [(clause.id, rule) for clause in self.clause for rule in clause.forbid if rule.door]
        found = [(clause, [need for need in rule.when if isinstance(need, Minor)]) for clause, rule in rules]
        return [(clause, needs) for clause, needs in found if needs]

    @cached_property
    def detected_kinds(self) -> dict[str, str]:
        """Category by the kind of number that was found."""
        return {str(kind): category for kind, category in self.detected.items()}

    @cached_property
    def dropped_fields(self) -> frozenset[str]:
        """Personal fields that are committed and not stored."""
        return frozenset(name for name, one in self.personal_fields.items() if not one.stored)

    @cached_property
    def known_categories(self) -> frozenset[str]:
        return frozenset(self.categories.personal) | self.anonymous
