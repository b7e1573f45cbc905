"""The event catalogue: the closed union of all event types, and the way from JSON to a model.

Personal fields are not in it: they travel under `data.personal`, are sealed in the vault and leave only commitments in
the entry. The models stand in `ledger.events.facts` and `ledger.events.acts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, cast, get_args, get_type_hints

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from consent_ledger.ledger.errors import InvalidEvent
from consent_ledger.ledger.events.acts import (
    AccessAnswered,
    AccessRequested,
    ArchivePurged,
    AuthorityNotified,
    BreachAffected,
    BreachDelayEnded,
    BreachDelayOrdered,
    BreachDiscovered,
    BreachNotified,
    ComplaintAnswered,
    ComplaintEscalated,
    ComplaintLodged,
    CorrectionCompleted,
    CorrectionRequested,
    DeletionCompleted,
    DeletionIdentified,
    DeletionRequested,
    DisclosureCompelled,
    DisclosureMade,
    HoldPlaced,
    HoldReleased,
    InformationUsed,
    IntakeRefused,
    LogRecovered,
    MessageBounced,
    MessageSent,
    OwnershipTransferAnnounced,
    OwnershipTransferCompleted,
    OwnershipTransferNotified,
    PartnerNotified,
    RecipientAgreementEnded,
    RecipientAgreementSigned,
    RecipientRegistered,
    RecipientTold,
    RequestDenied,
    RequestExtended,
    RequestNextStepsSent,
    RequestTakenBack,
    SubjectErased,
    SuppressionCarried,
)
from consent_ledger.ledger.events.facts import (
    AccountDeactivated,
    AgreementEnded,
    AgreementStarted,
    Change,
    ConsentGranted,
    ConsentRefused,
    ConsentRequested,
    ConsentWithdrawn,
    ControllerFact,
    Fact,
    GuardianEnded,
    InformationCollected,
    OptoutLifted,
    OptoutRecorded,
    PolicyAcknowledged,
    PolicyNoticeBounced,
    PolicyNoticePosted,
    PolicyNoticeSent,
    PolicyPublished,
    ServiceUsed,
    SubjectAgeLearned,
    SubjectLinked,
    SubjectRegistered,
    SubjectUnlinked,
    Time,
)
from consent_ledger.ledger.identifiers import cleartext

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
    | AuthorityNotified
    | IntakeRefused
    | LogRecovered
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
    | GuardianEnded
    | InformationCollected
    | ConsentRequested
    | ConsentGranted
    | ConsentRefused
    | ConsentWithdrawn
    | OptoutRecorded
    | OptoutLifted
    | MessageSent
    | MessageBounced
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
    | RequestTakenBack
    | RequestDenied
    | RequestExtended
    | DeletionRequested
    | DeletionIdentified
    | DeletionCompleted
    | ArchivePurged
    | HoldPlaced
    | HoldReleased
    | SubjectErased
    | SuppressionCarried
    | BreachAffected
    | BreachNotified
    | ComplaintLodged
    | ComplaintAnswered
    | ComplaintEscalated
)
Data = ControllerData | PersonData | RequestData

TYPES: Final[dict[str, type[Fact]]] = {model.type: model for model in get_args(Data)}
OWN_TYPES: Final = frozenset(
    {"subject.erased", "intake.refused", "suppression.carried", "log.recovered"}
)  # written by the ledger itself only
FIELD_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")  # what a field could be called
SCHEMA_VERSION: Final = 1  # of `data`, every type; upcasts in ledger.log.entry raise older ones

# type -> its fields that are times
TIMES: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(
        field
        for field, hint in get_type_hints(model, include_extras=True).items()
        if hint == Time or Time in get_args(hint)
    )
    for name, model in TYPES.items()
}
HALF: Final = "holds half of a surrogate pair, which is no Unicode: send the text whole"
# Controls, halves of pairs, ends of lines, directions (UAX 9), and what is not seen; joiners belong to letters.
UNPRINTABLE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]"
)


def shown(name: object) -> str:
    """The name of a field as far as it may be repeated: in a message, in a dead letter, on a terminal."""
    text = name[:64] if isinstance(name, str) else ""
    return "?" if not text or UNPRINTABLE.search(text) or cleartext.find(text) else text


_WANTS: Final = {  # what pydantic says in words of its own
    "string_type": "wants text",
    "bool_type": "wants true or false",
    "int_type": "wants a whole number",
    "list_type": "wants a list",
    "tuple_type": "wants a list",
    "set_type": "wants a list",
    "frozen_set_type": "wants a list",
    "dict_type": "wants a JSON object",
    "model_type": "wants a JSON object",
    "model_attributes_type": "wants a JSON object",
    "missing": "is missing",
    "extra_forbidden": "has a field that is none of this event's: remove it, or move it under data.personal",
    "string_pattern_mismatch": "wants printable text without control characters, words in lower case with dashes",
    "string_unicode": HALF,
}


def invalid(error: ValidationError) -> InvalidEvent:
    """The first problem of a validation, as an error that names the field and never the value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    kind, message = first["type"], str(first["msg"])
    named = [part for part in first["loc"] if isinstance(part, str)]
    if kind == "extra_forbidden" and named and not FIELD_NAME.fullmatch(named[-1]):
        named.pop()  # no name of a field at all
    field = shown(named[-1]) if named else "data"
    if message.startswith("Value error, "):
        message = message.removeprefix("Value error, ")
        head, bar, tail = message.partition("|")
        field, message = (head, tail) if bar else (field, message)
    if kind == "literal_error":
        message = message.replace("Input should be", "wants", 1)
    elif kind == "string_too_long":
        message = message.replace("String should have", "wants", 1)
    elif kind == "invalid_key":
        field, message = "data", "the name of a field is text: send a JSON object"
    message = _WANTS.get(kind, message)
    if len(named) > 1:  # an event has an `id` and a `type` of its own, too
        message = f"in {shown(named[0])}: {message}"
    return InvalidEvent(field, message[:1].lower() + message[1:])


def validate(type_name: str, data: dict[str, Any]) -> Data:
    """The model of `data` (without `personal`) for an event type. Raises InvalidEvent naming the field."""
    model = TYPES.get(type_name)
    if model is None:
        raise InvalidEvent("type", "unknown event type")
    try:
        return cast("Data", model.__pydantic_validator__.validate_python(data))
    except ValidationError as error:
        found = invalid(error)
        let_go(error.errors(include_url=False, include_input=False))
    raise found  # outside, so that it does not hold on to what pydantic said


def let_go(problems: Iterable[ErrorDetails]) -> None:
    """Take the way it came off what our validators raised. `problems`: all that pydantic found.

    pydantic holds it where the collector of garbage cannot look, and by it the frames of whoever called, with all
    events of their batch: nothing of that would ever be let go.
    """
    for one in problems:
        cause = one.get("ctx", {}).get("error")
        if isinstance(cause, BaseException):
            cause.__traceback__ = None


__all__ = [
    "OWN_TYPES",
    "SCHEMA_VERSION",
    "TYPES",
    "AccessAnswered",
    "AccessRequested",
    "AccountDeactivated",
    "AgreementEnded",
    "AgreementStarted",
    "ArchivePurged",
    "AuthorityNotified",
    "BreachAffected",
    "BreachDelayEnded",
    "BreachDelayOrdered",
    "BreachDiscovered",
    "BreachNotified",
    "Change",
    "ComplaintAnswered",
    "ComplaintEscalated",
    "ComplaintLodged",
    "ConsentGranted",
    "ConsentRefused",
    "ConsentRequested",
    "ConsentWithdrawn",
    "ControllerData",
    "ControllerFact",
    "CorrectionCompleted",
    "CorrectionRequested",
    "Data",
    "DeletionCompleted",
    "DeletionIdentified",
    "DeletionRequested",
    "DisclosureCompelled",
    "DisclosureMade",
    "Fact",
    "GuardianEnded",
    "HoldPlaced",
    "HoldReleased",
    "InformationCollected",
    "InformationUsed",
    "IntakeRefused",
    "LogRecovered",
    "MessageBounced",
    "MessageSent",
    "OptoutLifted",
    "OptoutRecorded",
    "OwnershipTransferAnnounced",
    "OwnershipTransferCompleted",
    "OwnershipTransferNotified",
    "PartnerNotified",
    "PersonData",
    "PolicyAcknowledged",
    "PolicyNoticeBounced",
    "PolicyNoticePosted",
    "PolicyNoticeSent",
    "PolicyPublished",
    "RecipientAgreementEnded",
    "RecipientAgreementSigned",
    "RecipientRegistered",
    "RecipientTold",
    "RequestData",
    "RequestDenied",
    "RequestExtended",
    "RequestNextStepsSent",
    "RequestTakenBack",
    "ServiceUsed",
    "SubjectAgeLearned",
    "SubjectErased",
    "SubjectLinked",
    "SubjectRegistered",
    "SubjectUnlinked",
    "SuppressionCarried",
    "invalid",
    "validate",
]
