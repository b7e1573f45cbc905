"""The models of events, second half: what was done, recipients, ownership, requests, breaches, complaints, the door."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from consent_ledger.ledger.events.facts import (
    Channel,
    Channels,
    ControllerFact,
    Fact,
    Ground,
    HoldGround,
    Letter,
    Name,
    Names,
    Scope,
    Text,
    Time,
    Word,
    Words,
)

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


class MessageBounced(Fact):
    """A message did not reach the person. It is no word of the person. `permanent`: nor will a later one."""

    type: ClassVar[str] = "message.bounced"
    personal_names: ClassVar[tuple[str, ...] | None] = ("email", "telephone", "postal_address")
    channel: Channel
    permanent: bool


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
    kind: Word


class RecipientAgreementEnded(ControllerFact):
    """An agreement with a recipient ended."""

    type: ClassVar[str] = "recipient.agreement.ended"
    recipient: Name
    kind: Word


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


class RequestTakenBack(RequestFact):
    """The request was taken back, or made in error: from here on as if it had not been made."""

    type: ClassVar[str] = "request.taken_back"


class RequestDenied(RequestFact):
    """The request was denied. `explained`: the person was told why."""

    type: ClassVar[str] = "request.denied"
    ground: Literal["not-identified", "law", "unfounded", "other"]
    explained: bool


class RequestExtended(RequestFact):
    """The answer will take longer, until then, and the person was told why."""

    type: ClassVar[str] = "request.extended"
    until: Time
    reason: Word


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
    """The information left the active store, but for the categories `kept`, which the pack keeps."""

    type: ClassVar[str] = "deletion.completed"
    request: Name | None = None
    archive_until: Time | None = None
    kept: Words | None = None


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


class SuppressionCarried(Fact):
    """The ledger's own record that a no was carried over from an erased person with the same address.

    It says what was said, and nothing that leads to the erased person: not when, nor under which address. `marketing`:
    to somebody who had the address before the erasure; then it is about marketing by `channels`, and nothing else.
    """

    type: ClassVar[str] = "suppression.carried"
    said: Literal["optout.recorded", "consent.refused", "deletion.requested"]
    scope: Scope | None = None
    purpose: Word | None = None
    list: Name | None = None
    channel: Channel | None = None
    recipient: Name | None = None
    categories: Words | None = None
    recipients: Names | None = None
    channels: Channels | None = None
    item: Name | None = None
    expires_at: Time | None = None
    marketing: bool | None = None


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


class AuthorityNotified(ControllerFact):
    """An authority was told of a breach."""

    type: ClassVar[str] = "authority.notified"
    breach: Name
    authority: Name


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


class LogRecovered(ControllerFact):
    """The ledger's own record that this log goes on in place of one of which entries were lost, without these.

    `log`, `vkey`: the one that was given up. Its first `size` entries, with `root` (base64), are this log's. It had
    signed `signed_size` entries with `signed_root`.
    """

    type: ClassVar[str] = "log.recovered"
    log: Name
    vkey: Name
    size: Annotated[int, Field(ge=0)]
    root: Name
    signed_size: Annotated[int, Field(ge=0)]
    signed_root: Name
