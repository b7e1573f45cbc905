"""A question and its answer, as the contract's section 2 gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal, NoReturn

from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.ledger.events.catalogue import HALF, shown
from consent_ledger.ledger.identifiers.spellings import composed
from consent_ledger.ledger.intake.hints import hint
from consent_ledger.ledger.policy.check.words import like
from consent_ledger.ledger.policy.pack import ACTIONS, Pack
from consent_ledger.ledger.times import FOREVER, format_optional, format_time, from_datetime, parse_time, told
from consent_ledger.projections.fold.refs import Ref

CHANNELS: Final = frozenset(("email", "sms", "telephone", "post", "web"))
GROUNDS: Final = frozenset(("law", "dispute", "law-enforcement", "rights"))
ROLES: Final = frozenset(("controller", "processor"))
ORIGINS: Final = frozenset(("subject", "passive", "other-source"))
_CLOSED: Final = {"channel": CHANNELS, "ground": GROUNDS, "role": ROLES, "origin": ORIGINS}
_TEXTS: Final = frozenset(
    ("controller", "subject", "purpose", "recipient", "list", "item", "service", "country", "transfer", "of")
)
FIELDS: Final = frozenset(
    (*_TEXTS, "action", "categories", "channel", "ground", "role", "origin", "at", "known_at"),
)


@dataclass(slots=True)
class Question:
    """One question. `personal`, `anonymous` and `recipient_class` are filled in from pack and record."""

    action: str
    controller: str | None = None
    subject: str | None = None
    purpose: str | None = None
    categories: frozenset[str] = frozenset()
    recipient: str | None = None
    channel: str | None = None
    list: str | None = None
    item: str | None = None
    service: str | None = None
    ground: str | None = None
    country: str | None = None
    transfer: str | None = None
    role: str = "controller"
    of: str | None = None
    origin: str | None = None
    at: int | None = None
    known_at: int | None = None
    personal: frozenset[str] = frozenset()
    anonymous: bool = False
    recipient_class: str | None = None

    def about(self, purpose: str | None) -> Question:
        """The same question about a purpose."""
        return replace(self, purpose=purpose)

    def narrowed(self, category: str, pack: Pack) -> Question:
        """The same question about one category."""
        one = Question(
            self.action, self.controller, self.subject, self.purpose, frozenset((category,)), self.recipient,
            self.channel, self.list, self.item, self.service, self.ground, self.country, self.transfer, self.role,
            self.of, self.origin, self.at, self.known_at, recipient_class=self.recipient_class,
        )  # fmt: skip
        one.anonymous = category in pack.anonymous
        one.personal = frozenset() if one.anonymous else one.categories
        return one


def parse_question(body: dict[str, Any]) -> Question:
    """A question from its JSON. Raises InvalidQuestion naming the field, and MemoryError; nothing else."""
    try:
        return _parse(body)
    except (InvalidQuestion, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  whoever asks must be told what is wrong with the question
        raise InvalidQuestion("question", f"cannot be read ({type(error).__name__}): ask what JSON can say") from None


def parse_about(body: dict[str, Any]) -> Question:
    """Who and when a read model is asked about. Raises as parse_question does."""
    if not isinstance(body, dict):
        raise InvalidQuestion("question", "wants a JSON object")
    return parse_question({"action": "use", **body})


def _parse(body: dict[str, Any]) -> Question:
    if not isinstance(body, dict):
        raise InvalidQuestion("question", "wants a JSON object")
    for name in body:
        if name not in FIELDS:
            raise InvalidQuestion(shown(name), f"no such field: a question has {', '.join(sorted(FIELDS))}")
    action = body.get("action")
    if action not in ACTIONS:
        raise InvalidQuestion("action", f"wants one of {', '.join(ACTIONS)}")
    question = Question(action)
    for name, value in body.items():  # a question names few of the fields there are
        if value is not None and name != "action":
            setattr(question, name, _value(name, value))
    return question


def _value(name: str, value: Any) -> Any:
    """What a question holds of a field. Raises InvalidQuestion naming it."""
    if name in _TEXTS:
        if not isinstance(value, str) or not value:
            raise InvalidQuestion(name, "wants text")
        return _compared(name, _whole(name, value))
    words = _CLOSED.get(name)
    if words is not None:
        if not isinstance(value, str) or value not in words:
            raise InvalidQuestion(name, f"wants one of {', '.join(sorted(words))}")
        return value
    if name == "categories":
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise InvalidQuestion("categories", "wants a list of words")
        return frozenset(_whole("categories", one) for one in value)
    return _moment(name, value)


def _compared(name: str, text: str) -> str:
    """A name as it is compared; who is asked about is looked up under every form of the name."""
    match name:
        case "subject" | "of" | "list":
            return text
        case _:
            return composed(text)


def _whole(name: str, text: str) -> str:
    """Text that has UTF-8, as a `str` and nothing more."""
    try:
        return text.encode().decode()
    except UnicodeEncodeError:
        raise InvalidQuestion(name, HALF) from None


def _moment(name: str, value: object) -> int:
    try:
        return from_datetime(value) if isinstance(value, datetime) else parse_time(told(value))
    except ValueError as error:
        raise InvalidQuestion(name, str(error)) from None


def check_words(question: Question, pack: Pack) -> None:
    """Refuse words that the pack does not know, and note what the categories are. Raises InvalidQuestion."""
    for name in ("purpose", *pack.closed):
        word = getattr(question, name)
        if word is not None and not pack.knows(name, word):
            raise InvalidQuestion(name, f"is no {name} of this pack{hint(name, word, pack)}")
    unknown = question.categories - pack.known_categories
    if unknown:
        near = like(min(unknown)[:64], pack.known_categories)
        raise InvalidQuestion("categories", f"one of them is no category of this pack{near}")
    if question.action == "contact" and question.list is None and question.purpose in pack.always_by_list:
        raise InvalidQuestion("list", f"{question.purpose!r} goes by lists only: name the one that the message is for")
    classify(question, pack)


def classify(question: Question, pack: Pack) -> None:
    """Note which of the question's categories are personal to the pack."""
    question.personal = question.categories - pack.anonymous
    # a message is always about the person it goes to, whatever is in it
    question.anonymous = question.action != "contact" and bool(question.categories) and not question.personal


@dataclass(slots=True)
class Verdict:
    """What the rows decided, before it is dressed as an answer."""

    outcome: Literal["permit", "deny"]
    clauses: list[str]
    because: list[Ref] = field(default_factory=list)
    phrases: list[str] = field(default_factory=list)
    consequences: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class Answer:
    """The answer; `to_dict` is the contract's JSON. `size`: how much of the log all of it rests on.

    `permitted` is whether it is a yes. The answer itself is neither true nor false: `if answer:` would be a yes to
    whatever was asked, and raises TypeError.
    """

    outcome: Literal["permit", "deny", "not-applicable"]
    clauses: list[str]
    policy: tuple[str | None, str | None]
    because: list[Ref]
    reason: str
    consequences: list[tuple[str, str]]
    obligations: list[dict[str, Any]]
    changes_at: int | None
    at: int
    known_at: int
    size: int
    named: Callable[[], str | None] = field(default=lambda: None, compare=False, repr=False)

    @property
    def id(self) -> str | None:
        """The answer's name, for `decision` in what is done on it; None where the person's key is gone."""
        return self.named()

    def __bool__(self) -> NoReturn:
        raise TypeError("an answer is neither true nor false: ask answer.permitted, or compare answer.outcome")

    @property
    def permitted(self) -> bool:
        """Whether the answer is yes: neither where it is denied, nor where it is not this controller's to say."""
        return self.outcome == "permit"

    @property
    def position(self) -> int:
        """The older name of `size`."""
        return self.size

    def to_dict(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "clauses": self.clauses,
            "policy": {"controller": self.policy[0], "version": self.policy[1]},
            "because": [ref.to_dict() for ref in self.because],
            "reason": self.reason,
            "consequences": [{"clause": clause, "text": text} for clause, text in self.consequences],
            "obligations": self.obligations,
            "changes_at": format_optional(self.changes_at),
            "at": format_time(self.at),
            "known_at": format_time(self.known_at) if self.known_at < FOREVER else None,
            "position": self.size,
            "size": self.size,
            "id": self.id,
        }
