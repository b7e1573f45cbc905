"""What carries each clause and what tests it, as a table: made from packs and the results of their scenarios."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, get_args

from consent_ledger.consumers.scenarios import Result, run_files
from consent_ledger.ledger.policy import conditions as cn
from consent_ledger.ledger.policy import pack as pk
from consent_ledger.ledger.policy.interpretations import rows_of
from consent_ledger.ledger.policy.load import parse_pack
from consent_ledger.projections.decision.decide import conditions_of

ALONE: Final = "Alone: "  # in the docstring of what serves one clause: why there is no general case it could be


def clause_tables(packs: Sequence[bytes], scenario_files: Sequence[Path]) -> str:
    """One table a pack, in Markdown: each clause with what carries it, its readings, its scenarios that pass."""
    loaded = [parse_pack(body) for body in packs]
    results = run_files(scenario_files, packs)
    lines: list[str] = []
    for pack in loaded:
        about = [one for one in results if one.controller == pack.controller]
        lines += [f"## `{pack.controller}`: {pack.title}", ""]
        lines += ["| clause | promise | carried by | reading in force | scenarios |", "|---|---|---|---|---|"]
        lines += [_row(clause, pack, about) for clause in pack.clause]
        lines.append("")
    return "\n".join(lines)


def clause_rows(packs: Sequence[bytes], scenario_files: Sequence[Path]) -> list[dict[str, Any]]:
    """The same as rows: `controller`, `clause`, `promise`, `carried_by`, `reading`, `scenarios`, `passed`."""
    results = run_files(scenario_files, packs)
    loaded = [parse_pack(body) for body in packs]
    return [
        {
            "controller": pack.controller,
            **_columns(clause, pack, [one for one in results if one.controller == pack.controller]),
        }
        for pack in loaded
        for clause in pack.clause
    ]


def _columns(clause: pk.Clause, pack: pk.Pack, results: Sequence[Result]) -> dict[str, Any]:
    own = [one for one in results if one.id.split("/")[0] == clause.id]
    return {
        "clause": clause.id,
        "promise": clause.title,
        "carried_by": _carried_by(clause, pack),
        "reading": _reading(clause) or None,
        "scenarios": len(own),
        "passed": sum(not one.problems for one in own),
    }


def _row(clause: pk.Clause, pack: pk.Pack, results: Sequence[Result]) -> str:
    row = _columns(clause, pack, results)
    ran = f"{row['passed']} of {row['scenarios']} pass" if row["scenarios"] else "none"
    carried = ", ".join(row["carried_by"])
    return f"| {clause.id} | {clause.title} | {carried} | {row['reading'] or ''} | {ran} |"


def _carried_by(clause: pk.Clause, pack: pk.Pack) -> list[str]:
    """The mechanisms, with the conditions they name; what carries a clause without any."""
    found: list[str] = []
    for mechanism, _, row in rows_of(clause):
        needs = conditions_of(row) if isinstance(row, pk.Match) else []
        named = f"`{mechanism}`" + (f" ({', '.join(dict.fromkeys(need.need for need in needs))})" if needs else "")
        found += [named] if named not in found else []
    if pack.processor is not None and pack.processor.clause == clause.id:
        found.append("`processor`")
    change = pack.change
    if change is not None:
        stored = {name for row in change.by_reading for name in (row.clause, row.no_email)}
        found += ["`change`"] if clause.id in stored | {change.material.clause, change.other.clause} else []
    return found or [clause.note or "-"]


def _reading(clause: pk.Clause) -> str:
    one = clause.interpretation
    if one is None:
        return ""
    others = ", ".join(f"`{name}`" for name in one.readings if name != one.reading)
    return f"`{one.reading}`, not {others}"


# -- what the engine is made of ----------------------------------------------------------------------------------------


def uses(packs: Sequence[pk.Pack]) -> dict[str, list[str]]:
    """Every mechanism and condition that there is, with the clauses that use it."""
    found: dict[str, list[str]] = {name: [] for name in described()}
    for pack in packs:
        for clause in pack.clause:
            named: set[str] = set()
            for mechanism, _, row in rows_of(clause):
                named.add(mechanism)
                needs = list(conditions_of(row)) if isinstance(row, pk.Match) else []
                needs += [row.owed_when] if isinstance(row, pk.Duty) and row.owed_when is not None else []
                named |= {need.need for need in needs}
            for name in named:
                found[name].append(clause.id)
    return found


def described() -> dict[str, str]:
    """Mechanism or condition -> what its model says of itself."""
    models: dict[str, Any] = {
        "permit": pk.Permit, "forbid": pk.Forbid, "gate": pk.Gate, "objection": pk.Objection, "define": pk.Define,
        "door": pk.Door, "duty": pk.Duty, "keep": pk.Keep, "lapse": pk.Lapse, "expect": pk.Expect,
        "identification": pk.Identification, "hold": pk.Hold, "tell": pk.Tell,
    }  # fmt: skip
    models |= dict(_conditions())
    return {name: " ".join((model.__doc__ or "").split()) for name, model in models.items()}


def _conditions() -> Iterator[tuple[str, Any]]:
    union = get_args(cn.Need)[0]
    for model in get_args(union):
        if model is not cn.AnyOf:  # it holds others
            yield get_args(model.model_fields["need"].annotation)[0], model


def engine_table(packs: Sequence[pk.Pack]) -> str:
    """Each mechanism and condition with the clauses that use it, and for one that serves a single clause why."""
    texts = described()
    lines = ["| mechanism or condition | clauses | why there is no other |", "|---|---|---|"]
    for name, clauses in uses(packs).items():
        _, alone, why = texts[name].partition(ALONE)
        shown = ", ".join(clauses) if len(clauses) <= 6 else f"{', '.join(clauses[:5])} and {len(clauses) - 5} more"
        lines.append(f"| `{name}` | {shown or '-'} | {why if alone else ''} |")
    return "\n".join(lines) + "\n"
