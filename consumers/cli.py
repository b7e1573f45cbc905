"""The command line. Exit codes: 0 done, 1 the answer is no or something failed, 2 wrong usage."""

from __future__ import annotations

import sqlite3
import sys
from codecs import BOM_UTF8
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, ParamSpec

import typer

from consumers import opening, show
from ledger.application import READ_ONLY
from ledger.errors import InvalidQuestion, LedgerError, StoreReadOnly
from ledger.recorder import translate
from projections.ledger import Ledger

P = ParamSpec("P")
_ABOUT_THE_STORE: Final = ("subject", "recipient", "transfer", "letter")  # well asked, and not there
app = typer.Typer(
    name="consent-ledger",
    help="An event-sourced ledger of consent: explained decisions now, proof years later.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Store = Annotated[str | None, typer.Option("--store", help="sqlite:///PATH, or CONSENT_LEDGER_STORE.")]
Keys = Annotated[
    str | None, typer.Option("--keys", help="Folder of the keys, or CONSENT_LEDGER_KEYS; default PATH.keys.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Controller = Annotated[
    str | None, typer.Option("--controller", help="Whose policy; needed where a name is known to several.")
]
At = Annotated[str | None, typer.Option("--at", help="A moment in the world, RFC 3339; default now.")]
KnownAt = Annotated[str | None, typer.Option("--known-at", help="What the ledger knew at a moment; default all.")]
Who = Annotated[str | None, typer.Option("--as", help="auditor: also what is secret for now.")]
Subject = Annotated[str, typer.Argument(help="The app's name for the person.")]
SomeSubject = Annotated[str | None, typer.Argument(help="The app's name for the person; default all.")]


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turn errors into one line that says what to do, and exit 1; never a traceback for a user's mistake."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except InvalidQuestion as error:
            typer.echo(f"consent-ledger: {error}", err=True)
            raise typer.Exit(1 if error.field in _ABOUT_THE_STORE else 2) from None
        except LedgerError as error:
            typer.echo(f"consent-ledger: {error}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            typer.echo("consent-ledger: interrupted; what was committed stays, run the same command again", err=True)
            raise typer.Exit(1) from None
        except BrokenPipeError:
            sys.stderr.close()
            raise typer.Exit(1) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            typer.echo(f"consent-ledger: {where}{error.strerror or error}", err=True)
            raise typer.Exit(1) from None
        except sqlite3.Error as error:  # of the projections, which have a file of their own
            typer.echo(f"consent-ledger: {translate(error, 'projections')}", err=True)
            raise typer.Exit(1) from None

    return wrapped


def auditor(as_: str | None) -> bool:
    """Whether an auditor asks. Raises typer.BadParameter for anybody else."""
    if as_ not in (None, "auditor"):
        raise typer.BadParameter("wants auditor", param_hint="--as")
    return as_ == "auditor"


def asked(**fields: Any) -> dict[str, Any]:
    """A question's body of the options that were given."""
    return {name: value for name, value in fields.items() if value is not None}


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"consent-ledger {version('consent-ledger')}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """An event-sourced ledger of consent: explained decisions now, proof years later."""


# -- stores ------------------------------------------------------------------------------------------------------------


@app.command()
@command
def init(
    store: Store = None,
    keys: Keys = None,
    origin: Annotated[str | None, typer.Option(help="Name of the log; its key name.")] = None,
) -> None:
    """Make a new store and its keys."""
    ledger = opening.create_ledger(store, keys, origin=origin)
    typer.echo(f"store  {ledger.app.where}")
    typer.echo(f"keys   {opening.keys_folder(opening.store_path(store), keys)} (keep them apart from the store)")
    typer.echo(f"log    {ledger.app.origin}")
    typer.echo(f"vkey   {ledger.app.signer.vkey} (publish it: auditors verify with it)")


@app.command()
@command
def ingest(
    file: Annotated[str, typer.Argument(help="NDJSON file, or - for standard input.")],
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Record a stream of events. Run it again after an interruption: nothing is added twice."""
    from consumers.ingest import ingest as run

    ledger = opening.open_ledger(store, keys)
    if file == "-":
        with show.progress("ingest", None) as progress:
            tally = run(ledger, sys.stdin.buffer, "stdin", progress=progress)
    else:
        path = Path(file)
        with path.open("rb") as stream, show.progress("ingest", None) as progress:
            tally = run(ledger, stream, path.name, progress=progress)
    if json:
        show.print_json({**tally.to_dict(), "problems": tally.problems})
        return
    typer.echo(", ".join(f"{count} {name}" for name, count in tally.to_dict().items()))
    for problem in tally.problems:
        typer.echo(f"  {problem}", err=True)
    if tally.invalid:
        typer.echo("  what was invalid is kept: consent-ledger dead-letters list", err=True)


@app.command()
@command
def doctor(store: Store = None, keys: Keys = None, json: Json = False) -> None:
    """Look whether everything is as it should be, and finish what was interrupted."""
    from consumers.maintenance import examine

    ledger = opening.open_ledger(store, keys)
    checks = examine(ledger)
    if json:
        show.print_json(checks)
    else:
        show.print_rows("doctor", checks, ("check", "ok", "says"))
    if not all(check["ok"] for check in checks):
        raise typer.Exit(1)


@app.command()
@command
def rebuild(store: Store = None, keys: Keys = None, json: Json = False) -> None:
    """Fold all projections anew, compare them with the old ones and put them in their place."""
    from projections.projector import rebuild as run

    ledger = opening.open_ledger(store, keys)
    path = ledger.projector.path
    if path is None:
        raise StoreReadOnly(f"{ledger.app.where}: is open for reading only: {READ_ONLY[ledger.app.how]}")
    ledger.projector.close()
    size = ledger.app.current_head().size
    with show.progress("rebuild", size) as progress:
        folded, differences = run(ledger.app, path, progress)
    rows = [{"person": one.person, "what": one.what} for one in differences]
    if json:
        show.print_json({"folded": folded, "differences": rows})
    else:
        typer.echo(f"{folded} entries folded, {len(rows)} persons differ from before")
        if rows:
            show.print_rows("differences", rows, ("person", "what"))
    if rows:
        raise typer.Exit(1)


@app.command()
@command
def backup(file: Path, store: Store = None, keys: Keys = None) -> None:
    """Copy the whole store to a file while it is in use."""
    from consumers.maintenance import back_up

    size = back_up(opening.open_ledger(store, keys), file)
    typer.echo(f"{file}: {size} entries (the keys are not in it: keep a copy of their folder elsewhere)")


@app.command()
@command
def restore(file: Path, store: Store = None, keys: Keys = None) -> None:
    """Make a store from a backup, and erase again whoever was erased since."""
    from consumers.maintenance import restore as run

    path = opening.store_path(store)
    restored = run(file, path, opening.keys_folder(path, keys))
    typer.echo(f"{restored.entries} entries restored, {restored.erased} persons erased again")
    if restored.foreign:
        typer.echo(f"  {restored.foreign} lines of the journals beside the keys are torn and were read past", err=True)
    if restored.behind is not None:
        typer.echo(f"  {restored.behind}", err=True)
        typer.echo("  it can be read; to write it without what is missing: consent-ledger recover", err=True)


@app.command()
@command
def recover(
    store: Store = None,
    keys: Keys = None,
    origin: Annotated[str | None, typer.Option(help="Name of the log that goes on; its key name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Go on with an older copy, as another log with a key of its own, where newer entries are lost for good."""
    from ledger.recovery import following
    from ledger.recovery import recover as run

    ledger = opening.open_ledger(store, keys)
    name = opening.log_name(origin) if origin is not None else following(ledger.app.origin)
    if not yes:
        typer.confirm(f"give up the log {ledger.app.origin} for good, and go on as {name}?", abort=True)
    done = run(ledger.app, ledger.clock(), name)
    if done.erased:
        typer.echo(f"{done.erased} persons erased again")
    typer.echo(f"log    {done.log}, {done.size} entries kept, {done.lost} lost")
    typer.echo(f"vkey   {done.vkey} (publish it: auditors verify with it what is recorded from now on)")
    for position in done.positions:
        typer.echo(f"entry {position} says so")


@app.command()
@command
def checkpoint(store: Store = None, keys: Keys = None) -> None:
    """Print the newest signed checkpoint."""
    app = opening.open_ledger(store, keys).app
    typer.echo(app.tell(app.current_head()).checkpoint, nl=False)


@app.command()
@command
def export(store: Store = None, keys: Keys = None, start: Annotated[int, typer.Option("--from", min=0)] = 0) -> None:
    """Print the exact bytes of every entry, one a line, from a position on."""
    ledger = opening.open_ledger(store, keys)
    while True:
        with ledger.app.reading() as c:
            c.execute("SELECT state FROM entries WHERE position>=? ORDER BY position LIMIT 1000", [start])
            rows = c.fetchall()
        if not rows:
            return
        sys.stdout.buffer.write(b"".join(row[0] + b"\n" for row in rows))
        start += len(rows)


# -- questions ---------------------------------------------------------------------------------------------------------


@app.command()
@command
def decide(
    subject: Annotated[str | None, typer.Argument(help="The person; or leave it out and give --from.")] = None,
    action: Annotated[str | None, typer.Option(help="collect, use, contact, disclose, transfer or request.")] = None,
    controller: Controller = None,
    purpose: str | None = None,
    category: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    recipient: str | None = None,
    channel: str | None = None,
    list_: Annotated[str | None, typer.Option("--list")] = None,
    item: str | None = None,
    service: str | None = None,
    ground: str | None = None,
    country: str | None = None,
    transfer: str | None = None,
    role: str | None = None,
    of: str | None = None,
    at: At = None,
    known_at: KnownAt = None,
    questions: Annotated[str | None, typer.Option("--from", help="NDJSON file of questions, or -.")] = None,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """May I? Answer one question, or each line of a file. Exit 1 where the answer is no."""
    ledger = opening.open_ledger(store, keys)
    if questions is not None:
        _decide_many(ledger, questions)
        return
    body = asked(
        subject=subject, action=action, controller=controller, purpose=purpose, categories=category or None,
        recipient=recipient, channel=channel, list=list_, item=item, service=service, ground=ground, country=country,
        transfer=transfer, role=role, of=of, at=at, known_at=known_at,
    )  # fmt: skip
    answer = ledger.decide(body)
    if json:
        show.print_json(answer.to_dict())
    else:
        show.print_answer(answer)
    if answer.outcome == "deny":
        raise typer.Exit(1)


def _decide_many(ledger: Ledger, questions: str) -> None:
    import orjson

    stream = sys.stdin.buffer if questions == "-" else Path(questions).open("rb")  # noqa: SIM115  closed with the process
    for number, line in enumerate(stream):
        question = line if number else line.removeprefix(BOM_UTF8)
        sys.stdout.buffer.write(orjson.dumps(_answered(ledger, question)) + b"\n")


def _answered(ledger: Ledger, line: bytes) -> dict[str, Any]:
    from ledger.incoming import parse_json

    try:
        body = parse_json(line)
    except ValueError as error:
        return {"invalid": "question", "reason": str(error)}
    try:
        return ledger.decide(body).to_dict()
    except InvalidQuestion as error:
        return {"invalid": error.field, "reason": error.message}


def _read_model(name: str, columns: tuple[str, ...], *, auditable: bool = False) -> None:
    """Register one read model as a command."""

    @command
    def run(
        subject: SomeSubject = None,
        controller: Controller = None,
        at: At = None,
        known_at: KnownAt = None,
        as_: Who = None,
        store: Store = None,
        keys: Keys = None,
        json: Json = False,
    ) -> None:
        ledger = opening.open_ledger(store, keys)
        body = asked(subject=subject, controller=controller, at=at, known_at=known_at)
        more = {"auditor": auditor(as_)} if auditable else {}
        rows = getattr(ledger, name)(body, **more)
        if json:
            show.print_json(rows)
        else:
            show.print_rows(f"{name} of {subject or 'all'}", rows, columns)

    app.command(name, help=_HELP[name])(run)


_HELP: Final = {
    "obligations": "What is owed, to a person or to all.",
    "findings": "What was done against the policy, towards a person or all.",
    "recipients": "Who holds what of a person, since when, whether it is stale.",
    "history": "What is on record of a person, in the order in which it was in force.",
    "refusals": "What was refused at the door, conflicts included.",
}
_read_model("obligations", ("kind", "clause", "status", "opened", "due", "missing", "request", "recipient"))
_read_model("findings", ("time", "clause", "event", "position", "known_then", "reason"))
_read_model("recipients", ("recipient", "categories", "since", "ground", "stale", "to_tell", "clause"), auditable=True)
_read_model("history", ("position", "time", "type", "data", "personal"), auditable=True)
_read_model("refusals", ("time", "controller", "clause", "event_type", "source", "event_id", "reason"))


@app.command()
@command
def state(
    subject: Subject,
    controller: Controller = None,
    at: At = None,
    known_at: KnownAt = None,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """The state of a person."""
    ledger = opening.open_ledger(store, keys)
    document = ledger.state(asked(subject=subject, controller=controller, at=at, known_at=known_at))
    if json:
        show.print_json(document)
        return
    plain = [{"field": name, "value": value} for name, value in document.items() if name not in ("choices", "optouts")]
    show.print_rows(f"state of {subject}", plain, ("field", "value"))
    show.print_rows("choices", document["choices"], ("since", "word", "basis", "purpose", "list", "item", "recipients"))
    show.print_rows("opt-outs", document["optouts"], ("since", "scope", "name"))


# -- proof -------------------------------------------------------------------------------------------------------------


@app.command()
@command
def evidence(
    subject: Subject,
    output: Annotated[Path, typer.Option("--output", "-o", help="The zip to write.")] = Path("evidence.zip"),
    controller: Controller = None,
    disclose: Annotated[list[str] | None, typer.Option(help="A personal field to open; 'all' for every one.")] = None,
    as_: Who = None,
    store: Store = None,
    keys: Keys = None,
) -> None:
    """Write a zip about a person that anybody can check offline."""
    from consumers.maintenance import write_evidence_for

    ledger = opening.open_ledger(store, keys)
    who = asked(subject=subject, controller=controller)
    size = write_evidence_for(output, ledger, who, disclose or [], auditor=auditor(as_))
    typer.echo(
        f"{output}: {size} bytes; check it with: consent-ledger verify {output} --key '{ledger.app.signer.vkey}'"
    )


@app.command()
@command
def verify(
    file: Annotated[Path | None, typer.Argument(help="An evidence zip; without one the whole store.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The log's verifier key, from a source you trust.")] = None,
    witness: Annotated[list[str] | None, typer.Option("--witness", help="A witness that must have cosigned.")] = None,
    store: Store = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Check evidence, or a whole store. Exit 1 with one line that names what does not hold."""
    from consumers.maintenance import check_evidence, check_store

    if file is None:
        show.print_text(check_store(opening.open_ledger(store, keys), key, as_json=json))
        return
    if key is None:
        typer.echo("consent-ledger: --key: is needed: the log's verifier key, from a source you trust", err=True)
        raise typer.Exit(2)
    show.print_text(check_evidence(file, key, witness or [], as_json=json))


@app.command()
@command
def erase(
    subject: Subject,
    controller: Controller = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    store: Store = None,
    keys: Keys = None,
) -> None:
    """Erase a person: names, fields and keys. The history stays provable, no longer to whom."""
    from consumers.maintenance import erased as run

    if not yes:
        typer.confirm(f"Erase {subject} for good?", abort=True)
    ledger = opening.open_ledger(store, keys)
    done = run(ledger, asked(subject=subject, controller=controller))
    if done.positions:
        typer.echo(f"erased; entry {', '.join(map(str, done.positions))} says so")
    else:
        typer.echo("erased; no entry was about them, so none says so")
    if done.letters or done.refused:
        typer.echo(f"  with it: dead letters {done.letters}, names and digests of refused events {done.refused}")
    if ledger.app.unscrubbed is not None:
        typer.echo(f"  erased; the files are still to be scrubbed: {ledger.app.unscrubbed.why}", err=True)


# -- packs, dead letters, demo, bench ----------------------------------------------------------------------------------

packs = typer.Typer(help="Policy packs.", no_args_is_help=True)
letters = typer.Typer(help="What was no event at all.", no_args_is_help=True)
texts = typer.Typer(help="Texts as persons were shown them.", no_args_is_help=True)
app.add_typer(packs, name="pack")
app.add_typer(texts, name="document")
app.add_typer(letters, name="dead-letters")


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
    from consumers.yamlfile import ScenarioFileError

    # a shell that spells out *.yaml after --scenarios leaves all but the first among the files
    shown = [*(scenarios or []), *(file for file in files if file.suffix in SUFFIXES)]
    try:
        reports = [check_file(file, shown) for file in files if file.suffix not in SUFFIXES]
    except ScenarioFileError as error:
        typer.echo(f"consent-ledger: {show.plain(str(error))}", err=True)
        raise typer.Exit(2) from None
    if json:
        show.print_json([report.to_dict() for report in reports])
    else:
        for report in reports:
            typer.echo(show.plain_lines(str(report)))
    if any(report.problems for report in reports):
        raise typer.Exit(1)


@packs.command("show")
@command
def pack_show(file: Path) -> None:
    """Print a pack as prose, a section a clause."""
    from consumers.prose import pack_as_prose
    from ledger.packfile import load_pack

    typer.echo(show.plain_lines(pack_as_prose(load_pack(opening.read_pack(file)))))


@packs.command("table")
@command
def pack_table(
    files: list[Path],
    scenarios: Annotated[list[Path] | None, typer.Option(help="Scenario files to run.")] = None,
) -> None:
    """Print each clause with what carries it, its reading and its scenarios, as a table in Markdown."""
    from consumers.clauses import clause_tables

    typer.echo(show.plain_lines(clause_tables([opening.read_pack(one) for one in files], scenarios or [])), nl=False)


@packs.command("test")
@command
def pack_test(
    files: list[Path],
    pack: Annotated[list[Path] | None, typer.Option(help="Pack files beside the shipped ones.")] = None,
    json: Json = False,
) -> None:
    """Run scenario files. Exit 1 if any failed, 2 if a file is no scenario file."""
    from consumers.scenarios import run_files
    from consumers.yamlfile import ScenarioFileError

    try:
        results = run_files(files, [opening.read_pack(one) for one in pack or []])
    except ScenarioFileError as error:
        typer.echo(f"consent-ledger: {show.plain(str(error))}", err=True)
        raise typer.Exit(2) from None
    failed = [result for result in results if result.problems]
    if json:
        rows = [{"id": one.id, "controller": one.controller, "problems": one.problems} for one in results]
        show.print_json(rows)
    else:
        for result in failed:
            typer.echo(f"FAILED {show.plain(result.id)}")
            for problem in result.problems:
                typer.echo(f"  {show.plain_lines(problem)}")
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


@texts.command("add")
@command
def document_add(
    file: Path,
    media_type: Annotated[str | None, typer.Option(help="Such as text/html; default by the name's ending.")] = None,
    store: Store = None,
    keys: Keys = None,
) -> None:
    """Store a text by the SHA-256 of its bytes: a statement, or a form's wording. It must hold nothing personal."""
    from consumers.maintenance import document_file
    from ledger.documents import add_document

    body, kind = document_file(file, media_type)  # before the store is opened: this might be its file
    added = add_document(opening.open_ledger(store, keys).app, body, kind)
    typer.echo(f"{file}: {added.media_type}, {added.bytes} bytes, sha256 {added.sha256}")


@texts.command("list")
@command
def document_list(store: Store = None, keys: Keys = None, json: Json = False) -> None:
    """All stored texts."""
    from ledger.documents import documents

    rows = [one._asdict() for one in documents(opening.open_ledger(store, keys).app)]
    if json:
        show.print_json(rows)
    else:
        show.print_rows("documents", rows, ("sha256", "media_type", "bytes"))


@texts.command("get")
@command
def document_get(
    sha256: Annotated[str, typer.Argument(help="The text's digest, 64 hex digits.")],
    store: Store = None,
    keys: Keys = None,
) -> None:
    """The exact bytes of one, on standard output."""
    from ledger.documents import document

    sys.stdout.buffer.write(document(opening.open_ledger(store, keys).app, sha256))


@letters.command("list")
@command
def letters_list(store: Store = None, keys: Keys = None, json: Json = False) -> None:
    """All dead letters, without their text."""
    from consumers.maintenance import letter_rows

    rows = letter_rows(opening.open_ledger(store, keys))
    if json:
        show.print_json(rows)
    else:
        show.print_rows("dead letters", rows, ("id", "origin", "line", "field", "reason", "bytes"))


@letters.command("show")
@command
def letters_show(letter: int, store: Store = None, keys: Keys = None) -> None:
    """The text of one."""
    from ledger.deadletters import text

    sys.stdout.buffer.write(text(opening.open_ledger(store, keys).app, letter) + b"\n")


@letters.command("retry")
@command
def letters_retry(
    letter: Annotated[int | None, typer.Argument(help="Default all.")] = None, store: Store = None, keys: Keys = None
) -> None:
    """Record it again, now that what was wrong is mended; it stays if it still is not."""
    from consumers.maintenance import retry

    done, left = retry(opening.open_ledger(store, keys), letter)
    typer.echo(f"{done} recorded, {left} stay")
    if left:
        raise typer.Exit(1)


@letters.command("drop")
@command
def letters_drop(letter: int, store: Store = None, keys: Keys = None) -> None:
    """Destroy one."""
    from ledger.deadletters import drop

    drop(opening.open_ledger(store, keys).app, letter)
    typer.echo(f"dead letter {letter} is gone")


@app.command()
@command
def demo(
    folder: Annotated[
        Path | None, typer.Option(help="Where to keep the demo's store; default a temporary one.")
    ] = None,
) -> None:
    """The main job end to end, on a generated stream: ingest, decide, prove, erase, tamper."""
    from consumers.demo import run

    if not run(folder):
        raise typer.Exit(1)


@app.command()
@command
def bench(events: Annotated[int, typer.Option(help="Events in the stream.")] = 20_000, json: Json = False) -> None:
    """Measure intake, decisions, rebuild, size and memory against peers, in one run."""
    from consumers.bench import run

    run(events, as_json=json)


def main() -> None:
    """The program."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(1)
