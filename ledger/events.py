"""The event catalogue: one frozen model for the clear facts of each type, and their closed union.

Source: the project's contract, section 1. Personal fields are not here: they travel under `data.personal`, are
sealed in the vault and leave only commitments in the entry. Purposes, categories and recipient classes are words of
the controller's pack, so a model checks their form and intake checks that the pack knows them.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, Self, cast, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from ledger.errors import InvalidEvent
from ledger.times import parse_time

PRINTABLE: Final = r"^[^\x00-\x1f\x7f]+$"
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
Name = Annotated[str, StringConstraints(pattern=PRINTABLE, max_length=200)]
Text = Annotated[str, StringConstraints(pattern=PRINTABLE, max_length=2000)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{2,128}$")]
Person = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


def _time(text: str) -> str:
    parse_time(text)
    return text


Time = Annotated[str, AfterValidator(_time)]
Channel = Literal["email", "sms", "telephone", "post", "web"]
Letter = Literal["email", "post"]
Ground = Literal["law", "dispute", "law-enforcement", "rights"]
HoldGround = Literal["law", "fraud", "dispute", "troubleshooting", "agreement"]
Words = list[Word]  # named, because some models have a field called list
Names = list[Name]
Channels = list[Channel]
Age = Annotated[int, Field(ge=0, le=150)]


class Fact(BaseModel):
    """The clear part of one event's `data`. Unknown fields are refused by name; nothing is coerced."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, populate_by_name=True
    )
    type: ClassVar[str]
    about_controller: ClassVar[bool] = False
    personal_names: ClassVar[tuple[str, ...] | None] = None  # None: any name


class ControllerFact(Fact):
    """An event about the controller itself: it has no subject."""

    about_controller: ClassVar[bool] = True


# -- policy ------------------------------------------------------------------------------------------------------------


class Change(BaseModel):
    """What a new version changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
    touches_stored_information: bool = False
    new_uses: Words = []
    material: bool = False


class PolicyPublished(ControllerFact):
    """A version of the statement was published, with the pack that expresses it."""

    type: ClassVar[str] = "policy.published"
    version: Name
    text_sha256: Digest
    pack_sha256: Digest
    supersedes: Name | None = None
    change: Change | None = None


class PolicyNoticePosted(ControllerFact):
    """A version was announced by a prominent posting."""

    type: ClassVar[str] = "policy.notice.posted"
    version: Name
    where: Text


class PolicyNoticeSent(Fact):
    """A notice of a version was sent to the person."""

    type: ClassVar[str] = "policy.notice.sent"
    version: Name
    channel: Letter
    offers_choice: bool | None = None


class PolicyNoticeBounced(Fact):
    """The e-mails about a version sent so far did not reach the person."""

    type: ClassVar[str] = "policy.notice.bounced"
    version: Name


class PolicyAcknowledged(Fact):
    """The person acknowledged a version, and those before it."""

    type: ClassVar[str] = "policy.acknowledged"
    version: Name


# -- the person --------------------------------------------------------------------------------------------------------


class ServiceUsed(Fact):
    """The person used a service."""

    type: ClassVar[str] = "service.used"
    service: Name


class SubjectRegistered(Fact):
    """A person became known, in one of three kinds. `of` names the customer of an employee."""

    type: ClassVar[str] = "subject.registered"
    kind: Literal["visitor", "customer", "employee"]
    of: Name | None = None
    service: Name | None = None
    age: Age | None = None


class SubjectAgeLearned(Fact):
    """An age, or an upper bound, became known; it holds until the next one."""

    type: ClassVar[str] = "subject.age.learned"
    age: Age | None = None
    under: Age | None = None
    needs_guardian: bool | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.age is None and self.under is None and self.needs_guardian is None:
            raise ValueError("age|wants age, under or needs_guardian")
        return self


class SubjectLinked(Fact):
    """Another name (personal field `other`) leads to the same person. `other` here is that name's identifier."""

    type: ClassVar[str] = "subject.linked"
    personal_names: ClassVar[tuple[str, ...] | None] = ("other",)
    other: Person | None = None  # filled in by intake


class SubjectUnlinked(Fact):
    """Two names are taken apart again."""

    type: ClassVar[str] = "subject.unlinked"
    personal_names: ClassVar[tuple[str, ...] | None] = ("other",)
    other: Person | None = None  # filled in by intake


class AgreementStarted(Fact):
    """The service agreement with this person began."""

    type: ClassVar[str] = "agreement.started"
    service: Name


class AgreementEnded(Fact):
    """The service agreement with this person ended."""

    type: ClassVar[str] = "agreement.ended"
    service: Name


class AccountDeactivated(Fact):
    """The person deactivated the account."""

    type: ClassVar[str] = "account.deactivated"
    reason: Text | None = None


class InformationCollected(Fact):
    """Categories of information were collected."""

    type: ClassVar[str] = "information.collected"
    categories: Words
    service: Name | None = None
    origin: Literal["subject", "passive", "other-source"]
    source_name: Name | None = None
    optout_offered: bool | None = None


# -- choices -----------------------------------------------------------------------------------------------------------


class ConsentFact(Fact):
    """What the four consent events share. A field that is missing does not limit."""

    purpose: Word | None = None
    categories: Words | None = None
    recipients: Names | None = None
    channels: Channels | None = None
    list: Name | None = None
    item: Name | None = None
    basis: Literal["express", "use"] | None = None
    policy_version: Name | None = None
    expires_at: Time | None = None

    @model_validator(mode="after")
    def _of_what(self) -> Self:
        if self.purpose is None and not self.categories:
            raise ValueError("purpose|wants a purpose, or categories that say what is meant")
        return self


class ConsentRequested(ConsentFact):
    """The person was asked."""

    type: ClassVar[str] = "consent.requested"


class ConsentGranted(ConsentFact):
    """The person said yes, expressly or by using something."""

    type: ClassVar[str] = "consent.granted"
    purpose: Word
    basis: Literal["express", "use"]


class ConsentRefused(ConsentFact):
    """The person said no when asked."""

    type: ClassVar[str] = "consent.refused"


class ConsentWithdrawn(ConsentFact):
    """The person took a yes back; also without one to take back."""

    type: ClassVar[str] = "consent.withdrawn"


class OptoutFact(Fact):
    """What opting out and lifting it share; the scope says which name must be there."""

    scope: Literal["all", "general", "purpose", "list", "recipient", "advertising"]
    purpose: Word | None = None
    list: Name | None = None
    recipient: Name | None = None
    signal: Literal["link", "form", "mail", "gpc", "nai", "partner"] | None = None
    told_consequence: bool | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.scope in ("purpose", "list", "recipient") and getattr(self, self.scope) is None:
            raise ValueError(f"{self.scope}|scope {self.scope} wants the {self.scope} it is about")
        return self


class OptoutRecorded(OptoutFact):
    """The person opted out."""

    type: ClassVar[str] = "optout.recorded"


class OptoutLifted(OptoutFact):
    """All earlier opt-outs of that scope and name are undone."""

    type: ClassVar[str] = "optout.lifted"


# -- what was done -----------------------------------------------------------------------------------------------------


class MessageSent(Fact):
    """A message went to the person."""

    type: ClassVar[str] = "message.sent"
    purpose: Word
    channel: Channel
    list: Name | None = None
    item: Name | None = None
    categories: Words | None = None
    decision: Name | None = None


class InformationUsed(Fact):
    """Information was used."""

    type: ClassVar[str] = "information.used"
    purpose: Word
    categories: Words | None = None
    country: Name | None = None
    decision: Name | None = None


class DisclosureMade(Fact):
    """Information went to a recipient, or without one to the public."""

    type: ClassVar[str] = "disclosure.made"
    recipient: Name | None = None
    categories: Words
    purpose: Word
    ground: Ground | None = None
    item: Name | None = None
    decision: Name | None = None


class DisclosureCompelled(Fact):
    """Information went to a recipient on a ground; it may be secret for a while."""

    type: ClassVar[str] = "disclosure.compelled"
    recipient: Name
    categories: Words
    ground: Ground
    secret_until: Time | None = None


# -- recipients --------------------------------------------------------------------------------------------------------


class RecipientRegistered(ControllerFact):
    """A recipient became known, in a class, for a service, with the categories that service needs."""

    type: ClassVar[str] = "recipient.registered"
    recipient: Name
    class_: Word = Field(alias="class")
    service: Word | None = None
    categories: Words | None = None


class RecipientAgreementSigned(ControllerFact):
    """An agreement with a recipient is in force."""

    type: ClassVar[str] = "recipient.agreement.signed"
    recipient: Name
    kind: Literal["confidentiality"]


class RecipientAgreementEnded(ControllerFact):
    """An agreement with a recipient ended."""

    type: ClassVar[str] = "recipient.agreement.ended"
    recipient: Name
    kind: Literal["confidentiality"]


class PartnerNotified(Fact):
    """The person was told that this recipient may get the information."""

    type: ClassVar[str] = "partner.notified"
    recipient: Name


class RecipientTold(Fact):
    """A recipient was told of an opt-out, a correction or a deletion; covers all earlier ones."""

    type: ClassVar[str] = "recipient.told"
    recipient: Name
    about: Literal["optout", "correction", "deletion"]
    request: Name | None = None


# -- ownership ---------------------------------------------------------------------------------------------------------


class OwnershipTransferAnnounced(ControllerFact):
    """A change of owner was announced."""

    type: ClassVar[str] = "ownership.transfer.announced"
    transfer: Name
    new_owner: Name
    kind: Literal["change-of-ownership", "merger", "acquisition", "asset-sale"]
    effective_at: Time
    posted: bool


class OwnershipTransferNotified(Fact):
    """The person was told of a change of owner."""

    type: ClassVar[str] = "ownership.transfer.notified"
    transfer: Name
    channel: Channel


class OwnershipTransferCompleted(ControllerFact):
    """The new owner has the information."""

    type: ClassVar[str] = "ownership.transfer.completed"
    transfer: Name


# -- requests ----------------------------------------------------------------------------------------------------------


class RequestFact(Fact):
    """An event about one request."""

    request: Name


class CorrectionRequested(RequestFact):
    """The person asked for a correction."""

    type: ClassVar[str] = "correction.requested"
    categories: Words


class CorrectionCompleted(RequestFact):
    """The correction was made."""

    type: ClassVar[str] = "correction.completed"
    categories: Words


class AccessRequested(RequestFact):
    """The person asked for the information."""

    type: ClassVar[str] = "access.requested"


class AccessAnswered(RequestFact):
    """The information was given."""

    type: ClassVar[str] = "access.answered"


class RequestNextStepsSent(RequestFact):
    """The person was told what is the matter and what comes next."""

    type: ClassVar[str] = "request.next_steps_sent"


class DeletionRequested(RequestFact):
    """The person asked for deletion; the personal fields say who."""

    type: ClassVar[str] = "deletion.requested"
    personal_names: ClassVar[tuple[str, ...] | None] = ("full_name", "postal_address", "telephone", "email")
    service: Name | None = None


class DeletionIdentified(RequestFact):
    """What was missing to identify the person."""

    type: ClassVar[str] = "deletion.identified"
    personal_names: ClassVar[tuple[str, ...] | None] = ("full_name", "postal_address", "telephone", "email")
    service: Name | None = None


class DeletionCompleted(Fact):
    """The information left the active store."""

    type: ClassVar[str] = "deletion.completed"
    request: Name | None = None
    archive_until: Time | None = None


class ArchivePurged(RequestFact):
    """The information left the archives too."""

    type: ClassVar[str] = "archive.purged"


class HoldPlaced(Fact):
    """Nothing of the person is deleted while this stands."""

    type: ClassVar[str] = "hold.placed"
    hold: Name
    ground: HoldGround


class HoldReleased(Fact):
    """A hold no longer stands."""

    type: ClassVar[str] = "hold.released"
    hold: Name
    ground: HoldGround | None = None


class SubjectErased(Fact):
    """The ledger's own record that a person's names and secrets were destroyed."""

    type: ClassVar[str] = "subject.erased"
    method: Name
    entries: int


# -- breaches, complaints, the door ------------------------------------------------------------------------------------


class BreachDiscovered(ControllerFact):
    """A breach of security became known."""

    type: ClassVar[str] = "breach.discovered"
    breach: Name
    categories: Words
    notice_required: bool = True


class BreachAffected(Fact):
    """The person is known to be affected."""

    type: ClassVar[str] = "breach.affected"
    breach: Name
    channel: Letter | None = None


class BreachNotified(Fact):
    """The person was told of the breach."""

    type: ClassVar[str] = "breach.notified"
    breach: Name
    channel: Letter | None = None


class BreachDelayOrdered(ControllerFact):
    """Law enforcement ordered the notices to wait."""

    type: ClassVar[str] = "breach.delay.ordered"
    breach: Name
    authority: Name
    reason: Text
    until: Time | None = None


class BreachDelayEnded(ControllerFact):
    """The notices need not wait any longer."""

    type: ClassVar[str] = "breach.delay.ended"
    breach: Name
    authority: Name | None = None


class ComplaintFact(Fact):
    """An event about one complaint."""

    complaint: Name
    to: Name | None = None


class ComplaintLodged(ComplaintFact):
    """The person complained."""

    type: ClassVar[str] = "complaint.lodged"


class ComplaintAnswered(ComplaintFact):
    """The complaint was answered."""

    type: ClassVar[str] = "complaint.answered"


class ComplaintEscalated(ComplaintFact):
    """The complaint went on to somebody else."""

    type: ClassVar[str] = "complaint.escalated"


class IntakeRefused(ControllerFact):
    """The ledger's own record that an event was refused; it does not repeat the value."""

    type: ClassVar[str] = "intake.refused"
    source: Name
    event_id: Name
    event_type: Name
    clause: Name
    reason: Text


# The closed union, in the three parts that folds are written in.
ControllerData = (
    PolicyPublished
    | PolicyNoticePosted
    | RecipientRegistered
    | RecipientAgreementSigned
    | RecipientAgreementEnded
    | OwnershipTransferAnnounced
    | OwnershipTransferCompleted
    | BreachDiscovered
    | BreachDelayOrdered
    | BreachDelayEnded
    | IntakeRefused
)
PersonData = (
    PolicyNoticeSent
    | PolicyNoticeBounced
    | PolicyAcknowledged
    | ServiceUsed
    | SubjectRegistered
    | SubjectAgeLearned
    | SubjectLinked
    | SubjectUnlinked
    | AgreementStarted
    | AgreementEnded
    | AccountDeactivated
    | InformationCollected
    | ConsentRequested
    | ConsentGranted
    | ConsentRefused
    | ConsentWithdrawn
    | OptoutRecorded
    | OptoutLifted
    | MessageSent
    | InformationUsed
    | DisclosureMade
    | DisclosureCompelled
    | PartnerNotified
    | RecipientTold
    | OwnershipTransferNotified
)
RequestData = (
    CorrectionRequested
    | CorrectionCompleted
    | AccessRequested
    | AccessAnswered
    | RequestNextStepsSent
    | DeletionRequested
    | DeletionIdentified
    | DeletionCompleted
    | ArchivePurged
    | HoldPlaced
    | HoldReleased
    | SubjectErased
    | BreachAffected
    | BreachNotified
    | ComplaintLodged
    | ComplaintAnswered
    | ComplaintEscalated
)
Data = ControllerData | PersonData | RequestData

TYPES: Final[dict[str, type[Fact]]] = {model.type: model for model in get_args(Data)}
OWN_TYPES: Final = frozenset({"subject.erased", "intake.refused"})  # written by the ledger itself only
SCHEMA_VERSION: Final = 1  # of `data`, every type; upcasts in ledger.entry raise older ones


def invalid(error: ValidationError) -> InvalidEvent:
    """The first problem of a validation, as an error that names the field and never the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    message = str(first["msg"])
    named = [str(part) for part in first["loc"] if isinstance(part, str)]
    field = named[-1] if named else "data"
    if message.startswith("Value error, "):
        message = message.removeprefix("Value error, ")
        head, bar, tail = message.partition("|")
        field, message = (head, tail) if bar else (field, message)
    if first["type"] == "extra_forbidden":
        message = "no such field here: remove it, or move it under data.personal if it says who somebody is"
    elif first["type"] == "missing":
        message = "is missing"
    elif first["type"] == "string_pattern_mismatch":
        message = "wants printable text without control characters, words in lower case with dashes"
    return InvalidEvent(field, message[:1].lower() + message[1:])


def validate(type_name: str, data: dict[str, Any]) -> Data:
    """The model of `data` (without `personal`) for an event type. Raises InvalidEvent naming the field."""
    model = TYPES.get(type_name)
    if model is None:
        raise InvalidEvent("type", f"unknown event type {type_name[:64]!r}")
    try:
        return cast("Data", model.__pydantic_validator__.validate_python(data))
    except ValidationError as error:
        raise invalid(error) from None
