"""Commands about policy packs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from consent_ledger.consumers import opening, show
from consent_ledger.consumers.cli.commands.shared import (
    NO,
    At,
    Controller,
    Csv,
    Json,
    Keys,
    KnownAt,
    Store,
    answer,
    app,
    command,
    examples,
    form,
    named,
)

packs = typer.Typer(help="Policy packs.", no_args_is_help=True)
app.add_typer(packs, name="pack")
PackFile = Annotated[Path, typer.Argument(help="A file, or the name of a shipped pack.")]
PackFiles = Annotated[list[Path], typer.Argument(help="Files, or names of shipped packs.")]


@packs.command("add", epilog=examples("pack add shop.toml", "pack add parature"))
@command
def pack_add(file: PackFile, store: Store = None, keys: Keys = None, json: Json = False) -> None:
    """Store a pack and register its controller."""
    pack = opening.open_ledger(store, keys).add_pack(opening.valid_pack(file))
    row = {"controller": pack.controller, "clauses": len(pack.clause), "sha256": pack.sha256}
    answer(row, f"{pack.controller}: {len(pack.clause)} clauses, sha256 {pack.sha256}", json=json)


@packs.command("list", epilog=examples("pack list", "pack list --json"))
@command
def pack_list(store: Store = None, keys: Keys = None, json: Json = False, csv: Csv = False) -> None:
    """The packs in the store: which of them is registered for its controller, and what versions they serve."""
    from consent_ledger.consumers.packs.store import pack_rows

    how = form(json=json, csv=csv)
    rows = pack_rows(opening.open_ledger(store, keys))
    show.print_rows("packs", rows, ("controller", "sha256", "registered", "versions", "clauses", "bytes"), how)


@packs.command("get", epilog=examples("pack get shop > shop.toml", "pack get 9f86d081 > old.toml"))
@command
def pack_get(
    name: Annotated[str, typer.Argument(help="A controller, or the beginning of a pack's SHA-256.")],
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Print the exact bytes of a pack in the store."""
    from consent_ledger.consumers.packs.store import stored_pack

    pack, body = stored_pack(opening.open_ledger(store, keys), name)
    if json:
        show.print_json({"controller": pack.controller, "sha256": pack.sha256, "text": body.decode()})
    else:
        show.write(body)


@packs.command("check", epilog=examples("pack check shop.toml", "pack check shop.toml --scenarios shop.yaml"))
@command
def pack_check(
    files: Annotated[list[Path], typer.Argument(help="Packs: files, or names of shipped ones; scenario files, too.")],
    scenarios: Annotated[list[Path] | None, typer.Option(help="Scenario files that must show every clause.")] = None,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Print every problem of pack files. Exit 1 if there is one, 2 if a file is no scenario file."""
    from consent_ledger.consumers.packs.check import SUFFIXES, check_file

    how = form(json=json, csv=csv)
    # a shell that spells out *.yaml after --scenarios leaves all but the first among the files
    shown = [*(scenarios or []), *(file for file in files if file.suffix in SUFFIXES)]
    reports = [check_file(file, shown) for file in files if file.suffix not in SUFFIXES]
    if json:
        show.print_json([{**report.to_dict(), "file": named(report.file)} for report in reports])
    elif csv:
        rows = [
            {"file": named(report.file), "line": one.line, "clause": one.clause, "message": one.message}
            for report in reports
            for one in report.problems
        ]
        show.print_rows("problems", rows, ("file", "line", "clause", "message"), how)
    else:
        for report in reports:
            show.say(str(report))
    if any(report.problems for report in reports):
        raise typer.Exit(NO)


@packs.command("show", epilog=examples("pack show shop.toml > shop.md", "pack show parature"))
@command
def pack_show(file: PackFile, json: Json = False) -> None:
    """Print a pack as prose, a section a clause."""
    from consent_ledger.consumers.packs.prose import pack_as_prose
    from consent_ledger.ledger.policy.load import load_pack

    pack = load_pack(opening.valid_pack(file))
    if json:
        show.print_json(pack.model_dump(mode="json", by_alias=True, exclude_none=True))
    else:
        show.say(pack_as_prose(pack))


@packs.command("table", epilog=examples("pack table shop.toml --scenarios shop.yaml > clauses.md"))
@command
def pack_table(
    files: PackFiles,
    scenarios: Annotated[list[Path] | None, typer.Option(help="Scenario files to run.")] = None,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Print each clause with what carries it, its reading and its scenarios, as a table in Markdown."""
    from consent_ledger.consumers.packs.clauses import clause_rows, clause_tables

    how = form(json=json, csv=csv)
    bodies = [opening.valid_pack(one) for one in files]
    if how == "text":
        show.say(clause_tables(bodies, scenarios or []).removesuffix("\n"))
        return
    columns = ("controller", "clause", "promise", "carried_by", "reading", "scenarios", "passed")
    show.print_rows("clauses", clause_rows(bodies, scenarios or []), columns, how)


@packs.command("test", epilog=examples("pack test shop.yaml --pack shop.toml", "pack test shop.yaml --store sqlite"))
@command
def pack_test(
    files: Annotated[list[Path], typer.Argument(help="Scenario files.")],
    pack: Annotated[list[Path] | None, typer.Option(help="Pack files beside the shipped ones.")] = None,
    store: Annotated[
        str,
        typer.Option("--store", help="Where they run: memory, sqlite, or postgresql://..., in a schema of their own."),
    ] = "memory",
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Run scenario files. Exit 1 if any failed, 2 if a file is no scenario file."""
    from consent_ledger.consumers.scenarios import run_files

    how = form(json=json, csv=csv)
    results = run_files(files, [opening.valid_pack(one) for one in pack or []], store)
    failed = [result for result in results if result.problems]
    if how != "text":
        rows = [{"id": one.id, "controller": one.controller, "problems": one.problems} for one in results]
        show.print_rows("scenarios", rows, ("id", "controller", "problems"), how)
    else:
        for result in failed:
            show.say(f"FAILED {show.harmless(result.id)}")
            for problem in result.problems:
                show.say(f"  {problem}")
        show.say(f"{len(results)} scenarios, {len(results) - len(failed)} passed, {len(failed)} failed")
    if failed:
        raise typer.Exit(NO)


@packs.command("diff", epilog=examples("pack diff shop.toml stricter.toml", "pack diff shop shop --reading S-1=narrow"))
@command
def pack_diff(
    old: PackFile,
    new: PackFile,
    controller: Controller = None,
    at: At = None,
    known_at: KnownAt = None,
    reading: Annotated[
        list[str] | None, typer.Option(help="CLAUSE=READING: the new pack read so. May be given several times.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Changed questions to list.")] = 50,
    clauses: Annotated[bool, typer.Option("--clauses", help="List also where only the clauses differ.")] = False,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
    csv: Csv = False,
) -> None:
    """Rehearse a change: whose answers another pack would change, to what, since when. It writes nothing."""
    from consent_ledger.consumers.packs import diff
    from consent_ledger.projections.replay.rehearsal import Rehearsal

    how = form(json=json, csv=csv)
    before, after = diff.packs_of(old, new, reading or [])
    ledger = opening.open_to_read(store, keys)
    moment, known = diff.moments_of(at, known_at, ledger.clock())
    rehearsal = Rehearsal(ledger, before, after, controller=controller, at=moment, known_at=known)
    with show.progress("compare", len(rehearsal.streams)) as progress:
        report = diff.report_on(rehearsal, limit if how == "text" else None, progress)
    if how == "json":
        show.print_json(diff.as_json(report, clauses=clauses))
    elif how == "csv":
        show.print_rows("changes", diff.flat(report, clauses=clauses), diff.FLAT, how)
    else:
        diff.print_report(report, limit, clauses=clauses)
