"""Commands about policy packs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from consumers import opening, show
from consumers.commands.shared import At, Controller, Json, Keys, KnownAt, Store, app, command

packs = typer.Typer(help="Policy packs.", no_args_is_help=True)
app.add_typer(packs, name="pack")


@packs.command("add")
@command
def pack_add(file: Path, store: Store = None, keys: Keys = None) -> None:
    """Store a pack (a file, or the name of a shipped one) and register its controller."""
    pack = opening.open_ledger(store, keys).app.add_pack(opening.read_pack(file))
    typer.echo(f"{pack.controller}: {len(pack.clause)} clauses, sha256 {pack.sha256}")


@packs.command("check")
@command
def pack_check(
    files: Annotated[list[Path], typer.Argument(help="Packs: files, or names of shipped ones; scenario files, too.")],
    scenarios: Annotated[list[Path] | None, typer.Option(help="Scenario files that must show every clause.")] = None,
    json: Json = False,
) -> None:
    """Print every problem of pack files. Exit 1 if there is one, 2 if a file is no scenario file."""
    from consumers.packcheck import SUFFIXES, check_file
    from consumers.scenarios import ScenarioFileError

    # a shell that spells out *.yaml after --scenarios leaves all but the first among the files
    shown = [*(scenarios or []), *(file for file in files if file.suffix in SUFFIXES)]
    try:
        reports = [check_file(file, shown) for file in files if file.suffix not in SUFFIXES]
    except ScenarioFileError as error:
        typer.echo(f"consent-ledger: {error}", err=True)
        raise typer.Exit(2) from None
    if json:
        show.print_json([report.to_dict() for report in reports])
    else:
        for report in reports:
            typer.echo(str(report))
    if any(report.problems for report in reports):
        raise typer.Exit(1)


@packs.command("show")
@command
def pack_show(file: Path) -> None:
    """Print a pack as prose, a section a clause."""
    from consumers.prose import pack_as_prose
    from ledger.packfile import load_pack

    typer.echo(pack_as_prose(load_pack(opening.read_pack(file))))


@packs.command("table")
@command
def pack_table(
    files: list[Path],
    scenarios: Annotated[list[Path] | None, typer.Option(help="Scenario files to run.")] = None,
) -> None:
    """Print each clause with what carries it, its reading and its scenarios, as a table in Markdown."""
    from consumers.clauses import clause_tables

    typer.echo(clause_tables([opening.read_pack(one) for one in files], scenarios or []), nl=False)


@packs.command("test")
@command
def pack_test(
    files: list[Path],
    pack: Annotated[list[Path] | None, typer.Option(help="Pack files beside the shipped ones.")] = None,
    json: Json = False,
) -> None:
    """Run scenario files. Exit 1 if any failed, 2 if a file is no scenario file."""
    from consumers.scenarios import ScenarioFileError, run_files

    try:
        results = run_files(files, [opening.read_pack(one) for one in pack or []])
    except ScenarioFileError as error:
        typer.echo(f"consent-ledger: {error}", err=True)
        raise typer.Exit(2) from None
    failed = [result for result in results if result.problems]
    if json:
        rows = [{"id": one.id, "controller": one.controller, "problems": one.problems} for one in results]
        show.print_json(rows)
    else:
        for result in failed:
            typer.echo(f"FAILED {result.id}")
            for problem in result.problems:
                typer.echo(f"  {problem}")
        typer.echo(f"{len(results)} scenarios, {len(results) - len(failed)} passed, {len(failed)} failed")
    if failed:
        raise typer.Exit(1)


@packs.command("diff")
@command
def pack_diff(
    old: Path,
    new: Path,
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
) -> None:
    """Rehearse a change: whose answers another pack would change, to what, since when. It writes nothing."""
    from consumers import packdiff
    from projections.rehearsal import Rehearsal

    before, after = packdiff.packs_of(old, new, reading or [])
    ledger = opening.open_to_read(store, keys)
    moment, known = packdiff.moments_of(at, known_at, ledger.clock())
    rehearsal = Rehearsal(ledger, before, after, controller=controller, at=moment, known_at=known)
    with show.progress("compare", len(rehearsal.streams)) as progress:
        report = packdiff.report_on(rehearsal, None if json else limit, progress)
    if json:
        show.print_json(packdiff.as_json(report, clauses=clauses))
    else:
        packdiff.print_report(report, limit, clauses=clauses)
