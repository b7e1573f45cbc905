"""The models of events, first half: policy, the person, choices. `ledger.events.catalogue` joins all of them.

Source: the project's contract, section 1. A model holds the clear facts of one type. Purposes, categories and recipient
classes are words of the controller's pack, so a model checks their form and intake checks that the pack knows them.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from consent_ledger.ledger.identifiers.spellings import composed
from consent_ledger.ledger.times import format_time, parse_held, parse_time

PRINTABLE: Final = r"^[^\x00-\x1f\x7f]+$"
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
Exact = Annotated[str, StringConstraints(pattern=PRINTABLE, max_length=200)]
Name = Annotated[Exact, AfterValidator(composed)]  # names are compared in NFC, however they were written
Text = Annotated[str, StringConstraints(pattern=PRINTABLE, max_length=2000)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{2,128}$")]
Person = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


def _time(text: str) -> str:
    """A time as it stands; one that only older versions took, as RFC 3339. Intake has been stricter before it."""
    try:
        parse_time(text)
    except ValueError:
        return format_time(parse_held(text))
    return text


Time = Annotated[str, AfterValidator(_time)]
# BCP 47, as far as its form goes: a language, then subtags
LANGUAGE: Final = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$"
Scope = Literal["all", "general", "purpose", "list", "channel", "recipient", "advertising"]
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

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
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


class GuardianEnded(Fact):
    """What a guardian consented to for this person ends from here on."""

    type: ClassVar[str] = "guardian.ended"


class InformationCollected(Fact):
    """Categories of information were collected."""

    type: ClassVar[str] = "information.collected"
    categories: Words
    service: Name | None = None
    origin: Literal["subject", "passive", "other-source"]
    source_name: Name | None = None
    optout_offered: bool | None = None


# -- choices -----------------------------------------------------------------------------------------------------------


class Shown(BaseModel):
    """What the person was shown, before anything of the person was filled in, and how they answered."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
    text_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    language: Annotated[str, StringConstraints(pattern=LANGUAGE, max_length=64)] | None = None
    method: Literal["checkbox", "button", "link", "voice", "paper", "import"] | None = None
    form: Word | None = None


class Answers(BaseModel):
    """The event that a yes confirms: a `consent.requested`, or the first yes. `source`: default the event's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
    source: Exact | None = None
    id: Exact


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

    shown: Shown | None = None

    @model_validator(mode="after")
    def _of_what(self) -> Self:
        if self.purpose is None and not self.categories and not self.channels:
            raise ValueError("purpose|wants a purpose, or categories or channels that say what is meant")
        return self


class ConsentRequested(ConsentFact):
    """The person was asked."""

    type: ClassVar[str] = "consent.requested"


class ConsentGranted(ConsentFact):
    """The person said yes, expressly or by using something."""

    type: ClassVar[str] = "consent.granted"
    purpose: Word
    basis: Literal["express", "use"]
    answers: Answers | None = None


class ConsentRefused(ConsentFact):
    """The person said no when asked."""

    type: ClassVar[str] = "consent.refused"


class ConsentWithdrawn(ConsentFact):
    """The person took a yes back; also without one to take back."""

    type: ClassVar[str] = "consent.withdrawn"


class OptoutFact(Fact):
    """What opting out and lifting it share; the scope says which name must be there."""

    scope: Scope
    purpose: Word | None = None
    list: Name | None = None
    channel: Channel | None = None
    recipient: Name | None = None
    signal: Literal["link", "form", "mail", "reply", "complaint", "gpc", "nai", "partner"] | None = None
    told_consequence: bool | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.scope in ("purpose", "list", "channel", "recipient") and getattr(self, self.scope) is None:
            raise ValueError(f"{self.scope}|scope {self.scope} wants the {self.scope} it is about")
        return self


class OptoutRecorded(OptoutFact):
    """The person opted out."""

    type: ClassVar[str] = "optout.recorded"


class OptoutLifted(OptoutFact):
    """Earlier opt-outs of that scope and name are undone: by whom and with which signal says which."""

    type: ClassVar[str] = "optout.lifted"
