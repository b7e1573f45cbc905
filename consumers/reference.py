"""Writes what is generated under docs/reference: JSON Schemas and table of the events, table of the clauses."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from ledger.events import SCHEMA_VERSION, TYPES

ROOT: Final = Path(__file__).parents[1]
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


def event_table() -> str:
    """The event types as a table in Markdown."""
    lines = [
        "# Event types",
        "",
        "Written from the models by `make docs`; a test compares. `?` marks a field that may be missing.",
        "",
        "| type | about | data | what happened |",
        "|---|---|---|---|",
    ]
    for name, schema in event_schemas()["types"].items():
        required = set(schema.get("required", []))
        fields = [f"`{field}`" if field in required else f"`{field}?`" for field in schema.get("properties", {})]
        personal = schema.get("x-personal-fields")
        fields += [f"personal: {', '.join(personal)}"] if personal else []
        lines.append(f"| `{name}` | {schema['x-about']} | {', '.join(fields) or '-'} | {schema['description']} |")
    return "\n".join(lines) + "\n"


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
    from consumers.clauses import clause_tables, engine_table
    from consumers.opening import shipped_packs
    from ledger.packfile import parse_pack

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
