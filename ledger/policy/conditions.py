"""The conditions that rows of a pack can name. Each is a table with `need` and its fields.

What each means to a question is in `projections.decision.conditions`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from consent_ledger.ledger.events.closing import LAST_YEAR_OF_A_MINOR


class Table(BaseModel):
    """A table of a pack: unknown fields are refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class OptIn(Table):
    """The person's latest word on this is a yes. `per`: the yes must name the same; `named`: and name one at all.

    `confirmed_within_days`: it must confirm an earlier yes of the same actor, by naming in `answers` that yes or a
    question (`consent.requested`) after it, less than so many days of 86,400 s after what it names (double opt-in).
    """

    need: Literal["opt-in"]
    basis: Literal["express", "any"] = "express"
    per: list[Literal["list"]] = []
    named: list[Literal["item"]] = []
    actor: Literal["subject", "guardian", "operator", "system"] | None = None
    confirmed_within_days: Annotated[int, Field(ge=1)] | None = None


class AnyOptIn(Table):
    """A yes to some communication is in force.

    Alone: every other need looks at the question that is asked; this one at all that could be asked.
    """

    need: Literal["any-opt-in"]


class Quiet(Table):
    """The person's last word on this is a no, less than so many calendar months ago.

    `unanswered`: or there is no yes since the person was last asked, less than so many months ago.

    Alone: a no that closes for a time, where every other no closes until it is taken back.
    """

    need: Literal["quiet"]
    months: Annotated[int, Field(ge=1)]
    unanswered: bool = False


class OnRecord(Table):
    """A fact that some clause defines is on record."""

    need: Literal["fact"]
    fact: str


class RecipientAgreement(Table):
    """An agreement of that kind with the recipient is in force."""

    need: Literal["recipient-agreement"]
    kind: str  # confidentiality, or one of the pack's agreements


class ServiceAgreement(Table):
    """A service agreement with the person, or an employee's customer, is in force.

    Alone: the only thing on record that ends, begins again, and can be another person's.
    """

    need: Literal["service-agreement"]


class NamedService(Table):
    """The purpose is the service the recipient was registered for, within the categories that service needs."""

    need: Literal["named-service"]


class OwnCompany(Table):
    """The recipient is the company the person was registered with."""

    need: Literal["registered-company"]


class TransferNotice(Table):
    """The change of owner was posted, or the person was told of it.

    Alone: it is met by what the controller said to everybody or by what it said to one.
    """

    need: Literal["transfer-notice"]


class ActiveAccount(Table):
    """The person did not deactivate: before the change of owner takes effect, or at any time.

    Alone: it is a need that something did not happen, and until when is a reading.
    """

    need: Literal["active-account"]
    until: Literal["effective", "ever"] = "effective"


class CategoriesListed(Table):
    """The categories are listed; none means everything.

    Alone: every other need looks at what is asked; this one at whether it is said at all.
    """

    need: Literal["categories-listed"]


class Credit(Table):
    """One message for each time a category was collected, for one purpose.

    Alone: the only permission that is used up.
    """

    need: Literal["credit"]
    category: str
    purpose: str


class AnyOf(Table):
    """One of several needs is enough."""

    need: Literal["any-of"]
    of: list[Need]


class Minor(Table):
    """The person is known to be under that age in years, or (if it says so) to need a guardian."""

    need: Literal["minor"]
    under: Annotated[int, Field(ge=1, le=LAST_YEAR_OF_A_MINOR)]
    guardian: bool = False


class Deleted(Table):
    """The information asked about was deleted and did not come back, nor is it kept for the purpose."""

    need: Literal["deleted"]


class DeletionAsked(Table):
    """The person asked for deletion.

    Alone: a request closes before it is carried out, which `deleted` does not; it outlives erasure with the address.
    """

    need: Literal["deletion-requested"]


Need = Annotated[
    OptIn
    | AnyOptIn
    | Quiet
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
