"""Writes what is generated under docs/reference: JSON Schemas and table of the events, table of the clauses."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from consent_ledger.ledger.events.catalogue import SCHEMA_VERSION, TYPES

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "docs" / "reference"
SCENARIOS: Final = ROOT / "tests" / "scenarios"


def event_schemas() -> dict[str, Any]:
    """One JSON Schema for the `data` of every event type, personal fields aside, by type."""
    schemas = {}
    for name, model in sorted(TYPES.items()):
        schema = model.model_json_schema(by_alias=True)
        schema["description"] = " ".join((model.__doc__ or "").split())
        schema["x-about"] = "controller" if model.about_controller else "person"
        if model.personal_names is not None:
            schema["x-personal-fields"] = list(model.personal_names)
        schemas[name] = schema
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "consent-ledger event data, personal fields aside",
        "dataschema": SCHEMA_VERSION,
        "types": schemas,
    }


_EVENTS: Final = """# Event types

Written from the models by `make docs`; a test compares. `?` marks a field that may be missing.

## Around it

An event is a [CloudEvent](https://cloudevents.io) 1.0 in JSON, with these members and no other. In Python it is a dict.

| member | what stands in it |
|---|---|
| `specversion` | `"1.0"` |
| `source`, `id` | who tells it, and its name there. Together they name the event for ever: the same again is a \
duplicate, other content under them a conflict |
| `type` | one of those below |
| `controller` | whose policy it is about |
| `subject`? | the app's name for the person; none where the event is about the controller |
| `time` | when it happened: RFC 3339 with an offset, in Python a `datetime` with a time zone, too. At most five \
minutes after now |
| `actor`? | whose word it is, whoever typed it: `subject` (default), `guardian`, `operator`, or `system`, for what \
a program says by itself |
| `role`?, `of`? | `controller` (default) or `processor`, and for whom |
| `data` | the fields below; `data.personal` holds texts that say who somebody is. In its place, `data_base64` |
| `dataschema`?, `datacontenttype`? | the version of the type's fields; `application/json` |

## Types

"""
_OBJECTS: Final = """
## Objects in data

| object | fields | what it says |
|---|---|---|
"""
_WORDS: Final = """
## Words that are fixed

Purposes, categories, classes, kinds of agreements, forms and reasons are words of the pack. These are the ledger's:

| field | in | words |
|---|---|---|
"""


def event_table() -> str:
    """The event types as tables in Markdown."""
    types = event_schemas()["types"]
    objects = {name: found for schema in types.values() for name, found in schema.get("$defs", {}).items()}
    about = [
        f"| `{name[:1].lower()}{name[1:]}` | {_fields(found)} | {' '.join(found.get('description', '').split())} |"
        for name, found in sorted(objects.items())
    ]
    return f"{_EVENTS}{_types(types)}\n{_OBJECTS}{_joined(about)}{_WORDS}{_joined(_fixed(types))}"


def _joined(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _fields(schema: dict[str, Any]) -> str:
    required = set(schema.get("required", []))
    return ", ".join(f"`{field}`" if field in required else f"`{field}?`" for field in schema.get("properties", {}))


def _fixed(types: dict[str, Any]) -> list[str]:
    """A line for each field whose words are fixed, and the types in which they are these."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name, schema in types.items():
        inner = {f"{field[:1].lower()}{field[1:]}.": one for field, one in schema.get("$defs", {}).items()}
        for prefix, one in {"": schema, **inner}.items():
            for field, rule in one.get("properties", {}).items():
                words = _enumerated(rule)
                if words:
                    found.setdefault((prefix + field, words), []).append(name)
    return [
        f"| `{field}` | {', '.join(f'`{name}`' for name in names)} | {', '.join(f'`{word}`' for word in words)} |"
        for (field, words), names in sorted(found.items())
    ]


def _enumerated(rule: dict[str, Any]) -> tuple[str, ...]:
    """The words that a field may have, whether one of them or several; none where they are not fixed."""
    if "enum" in rule:
        return tuple(rule["enum"])
    nested = [*rule.get("anyOf", []), *([rule["items"]] if isinstance(rule.get("items"), dict) else [])]
    return next((words for one in nested if (words := _enumerated(one))), ())


def _types(types: dict[str, Any]) -> str:
    lines = [
        "| type | about | data | what happened |",
        "|---|---|---|---|",
    ]
    for name, schema in types.items():
        personal = schema.get("x-personal-fields")
        fields = [one for one in (_fields(schema), personal and f"personal: {', '.join(personal)}") if one]
        lines.append(f"| `{name}` | {schema['x-about']} | {', '.join(fields) or '-'} | {schema['description']} |")
    return "\n".join(lines)


_CLAUSES: Final = """# Clauses

Written from the shipped packs and the results of `tests/scenarios` by `make docs`; a test compares. For packs of your
own there is `consent-ledger pack table`. Each mechanism is explained in the [pack format](pack-format.md); what a row
says in full, `consent-ledger pack show` prints.

"""
_ENGINE: Final = """## What the engine is made of

What serves less than two clauses of the shipped packs says why it is not a case of something else.

"""


@cache
def clause_reference() -> str:
    """Every clause of the shipped packs, what carries it, and how its scenarios end."""
    from consent_ledger.consumers.opening import shipped_packs
    from consent_ledger.consumers.packs.clauses import clause_tables, engine_table
    from consent_ledger.ledger.policy.load import parse_pack

    packs = [body for _, body in sorted(shipped_packs().items())]
    tables = clause_tables(packs, sorted(SCENARIOS.glob("*.yaml")))
    return f"{_CLAUSES}{tables}\n{_ENGINE}{engine_table([parse_pack(body) for body in packs])}"


def generated() -> dict[Path, str]:
    """Every generated file and what it must hold."""
    return {
        FOLDER / "clauses.md": clause_reference(),
        FOLDER / "events.schema.json": json.dumps(event_schemas(), indent=1, sort_keys=True) + "\n",
        FOLDER / "events.md": event_table(),
    }


def main() -> None:
    """Write them."""
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
