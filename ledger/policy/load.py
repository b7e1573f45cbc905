"""Reading a pack and refusing one that cannot be used, naming the place."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from consent_ledger.ledger.errors import PackError
from consent_ledger.ledger.events.catalogue import let_go
from consent_ledger.ledger.limits import (
    PACK_BUSINESS_DAYS_LIMIT,
    PACK_CLAUSE_LIMIT,
    PACK_DEPTH_LIMIT,
    PACK_LIMIT_BYTES,
    PACK_PROBLEM_LIMIT,
    PACK_WORD_LIMIT,
    deeper,
    too_large,
)
from consent_ledger.ledger.policy.check.lines import TOO_DEEP, Lines, Path, syntax_errors
from consent_ledger.ledger.policy.check.words import Problem, like, unknown_words, unsayable
from consent_ledger.ledger.policy.interpretations import in_force
from consent_ledger.ledger.policy.pack import Pack

SHOWN = 5  # problems in one error; `pack check` shows all
_SHOWN_CHARACTERS = 100  # of a word that is wrong


def load_pack(raw: bytes, readings: Mapping[str, str] | None = None) -> Pack:
    """A pack from the bytes of its TOML file, with the rows of its readings, or of others (clause -> reading).

    Raises PackError naming the place.
    """
    return in_force(parse_pack(raw), readings)


def parse_pack(raw: bytes) -> Pack:
    """A pack as it is written, with the rows of all readings. Raises PackError naming the place."""
    draft = read_draft(raw)
    if draft.syntax:
        raise PackError(f"not a TOML file: {draft.syntax[0][1]} (at line {draft.syntax[0][0]})")
    if draft.pack is None or draft.problems:
        raise PackError("; ".join(str(problem) for problem in draft.problems[:SHOWN]))
    return draft.pack


@dataclass(slots=True)
class Draft:
    """What could be read of a pack, and all that is wrong with it. `pack` is None where it has not the form of one."""

    pack: Pack | None = None
    problems: list[Problem] = field(default_factory=list)
    syntax: list[tuple[int, str]] = field(default_factory=list)  # (line, what is wrong): no TOML
    lines: Lines | None = None


def require_within_limits(raw: bytes) -> None:
    """Raise PackError for a pack that is too large to come in, or says what none should: see `checked_draft`.

    What a store holds is read whatever its size.
    """
    if len(raw) > PACK_LIMIT_BYTES:
        raise PackError(f"{too_large('the pack', len(raw), PACK_LIMIT_BYTES)}: a pack is a statement as rules, no more")
    draft = checked_draft(raw)
    if draft.pack is None and draft.problems:
        raise PackError("; ".join(str(problem) for problem in draft.problems[:SHOWN]))


def _over_limits(pack: Pack) -> Iterator[Problem]:
    if len(pack.clause) > PACK_CLAUSE_LIMIT:
        many = f"{len(pack.clause)} clauses, the limit is {PACK_CLAUSE_LIMIT}"
        yield Problem(("clause", PACK_CLAUSE_LIMIT), None, many)
    lists = {name: getattr(pack, name) for name in ("purposes", "classes", "lists", "items", "services")}
    for name, words in (*lists.items(), ("categories", [*pack.categories.personal, *pack.categories.anonymous])):
        if words is not None and len(words) > PACK_WORD_LIMIT:
            yield Problem((name,), None, f"{name}: {len(words)} words, the limit is {PACK_WORD_LIMIT}")
    for number, clause in enumerate(pack.clause):
        for kind, name in (("objection", "effective_in_business_days"), ("duty", "due_in_business_days")):
            for index, row in enumerate(getattr(clause, kind)):
                days = getattr(row, name)
                if days is not None and days > PACK_BUSINESS_DAYS_LIMIT:
                    many = f"{name} is {days}, the limit is {PACK_BUSINESS_DAYS_LIMIT}"
                    yield Problem(("clause", number, kind, index, name), clause.id, many)


def checked_draft(raw: bytes) -> Draft:
    """`read_draft`, with what no pack that comes in has among the problems.

    That is what is over a limit, values that are not what TOML calls them (`true` where a number is wanted), and words
    that no event can say.
    """
    draft = read_draft(raw, exact=True)
    if draft.pack is None:
        return draft
    over = list(islice(chain(_over_limits(draft.pack), unsayable(draft.pack)), PACK_PROBLEM_LIMIT))
    if over:
        draft.pack, draft.problems = None, [*over, *draft.problems]
    return draft


def read_draft(raw: bytes, *, exact: bool = False) -> Draft:
    """Everything about a pack that its words alone say; never raises.

    `exact`: a text is no number, a number no truth, and a time no day.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        return Draft(syntax=[(raw.count(b"\n", 0, error.start) + 1, f"not UTF-8: {error.reason}")])
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")  # an editor's mark of byte order says nothing
    wrong = syntax_errors(text)
    if wrong:
        return Draft(syntax=wrong)
    document = tomllib.loads(text)
    if deeper(document, PACK_DEPTH_LIMIT):
        return Draft(syntax=[(1, TOO_DEEP)])
    draft = Draft(lines=Lines(text))
    digest = {"sha256": hashlib.sha256(raw).hexdigest()}
    try:
        draft.pack = Pack.model_validate({**document, **digest}, strict=exact or None)
    except ValidationError as error:
        found = error.errors(include_url=False)
        let_go(found)
        draft.problems = [_problem(document, one) for one in found[:PACK_PROBLEM_LIMIT]]
        if len(found) > PACK_PROBLEM_LIMIT:
            more = f"and {len(found) - PACK_PROBLEM_LIMIT} more: mend these first"
            draft.problems.append(Problem(draft.problems[-1].path, None, more))
            return draft
        without = _without_unknown_fields(document, found)
        with suppress(ValidationError):  # said already; else: what is wrong beside misspelt fields
            draft.problems += unknown_words(Pack.model_validate({**without, **digest}, strict=exact or None))
        return draft
    draft.problems = unknown_words(draft.pack)
    return draft


# -- what pydantic says, as a problem ----------------------------------------------------------------------------------


def _problem(document: dict[str, Any], error: ErrorDetails) -> Problem:
    path = _path(document, error["loc"])
    clause = None
    shown = path
    if len(path) > 1 and path[0] == "clause" and isinstance(path[1], int):
        table = document["clause"][path[1]]
        clause = table.get("id") if isinstance(table, dict) else None
        clause = clause if isinstance(clause, str) else f"number {path[1] + 1}"
        shown = path[2:]
    place = ".".join(str(part) for part in shown)
    return Problem(path, clause, f"{place}: {_message(document, path, error)}" if place else error["msg"])


def _message(document: dict[str, Any], path: Path, error: ErrorDetails) -> str:
    """What is wrong, with the word that was probably meant."""
    match error["type"]:
        case "extra_forbidden":
            fields = _fields(document, path[:-1])
            name = str(path[-1])
            return f"there is no such field{like(name, fields) or _there(fields)}"
        case "missing":
            return "is missing"
        case "model_type" | "dict_type":
            return "wants a table of its own"
        case "literal_error":
            words = re.findall(r"'([^']*)'", error["ctx"]["expected"])
            came = error["input"]
            said = repr(came[:_SHOWN_CHARACTERS]) if isinstance(came, str) else "that"
            return f"{said} is none of {', '.join(words)}{like(str(came)[:_SHOWN_CHARACTERS], words)}"
        case "union_tag_invalid":
            words = re.findall(r"'([^']*)'", error["ctx"]["expected_tags"])
            tag = str(error["ctx"]["tag"])[:_SHOWN_CHARACTERS]
            return f"there is no condition {tag!r}{like(tag, words) or _there(words)}"
        case _:
            return error["msg"]


def _there(words: Iterable[str]) -> str:
    return f" (there is {', '.join(sorted(words))})"


def _path(document: dict[str, Any], loc: tuple[str | int, ...]) -> Path:
    """A location of pydantic's as a path of the document: without the kinds of conditions that stand in it."""
    here: Any = document
    path: Path = ()
    for part in loc:
        if isinstance(here, dict) and part not in here and (here.get("need") == part or part == 0):
            continue  # which kind of condition it is; or the one table where there could be several
        path = (*path, part)
        inside = (isinstance(here, dict) and part in here) or (isinstance(here, list) and isinstance(part, int))
        here = here[part] if inside else None
    return path


def _fields(document: dict[str, Any], path: Path) -> list[str]:
    """The fields that a table at a path can have."""
    models: list[type[BaseModel]] = [Pack]
    here: Any = document
    for part in path:
        here = here[part]
        inner = [one for model in models for one in _inner(model, part)]
        models = inner or models  # a number, or the name of an entry of a table of tables
    if isinstance(here, dict) and len(models) > 1:
        models = [model for model in models if here.get("need") in get_args(model.model_fields["need"].annotation)]
    names = [info.alias or name for model in models for name, info in model.model_fields.items()]
    return [name for name in names if models != [Pack] or name not in ("sha256", "edition")]


def _inner(model: type[BaseModel], part: str | int) -> list[type[BaseModel]]:
    for name, info in model.model_fields.items():
        if part == (info.alias or name):
            return list(_models(info.annotation))
    return []


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _without_unknown_fields(document: dict[str, Any], errors: list[ErrorDetails]) -> dict[str, Any]:
    """The document without the fields that nothing knows."""
    kept = deepcopy(document)
    for error in errors:
        if error["type"] == "extra_forbidden":
            here: Any = kept
            path = _path(kept, error["loc"])
            for part in path[:-1]:
                here = here[part]
            here.pop(path[-1], None)
    return kept
