"""The command line as a whole: forms, examples that can be typed, exit codes; nothing escapes it or steers."""

from __future__ import annotations

import contextlib
import csv
import inspect
import io
import os
import pty
import re
import shlex
import signal
import sqlite3
import subprocess
import sys

import orjson
import pytest
import typer.main
from conftest import PACKS, PERSON, Cli, accept, command, event, size
from test_docs import all_commands
from typer.testing import CliRunner

from consent_ledger.consumers.cli import commands
from consent_ledger.consumers.cli.app import app
from consent_ledger.consumers.cli.commands import copies, documents, letters, packs, proof, questions, stores, trying
from consent_ledger.consumers.cli.commands.shared import code_of
from consent_ledger.ledger import errors
from consent_ledger.ledger.intake.recovery import NothingToRecover

COMMANDS = all_commands()
TABLES = {
    "doctor", "rebuild", "import", "obligations", "findings", "recipients", "history", "refusals", "state", "pack list",
    "pack check", "pack table", "pack test", "pack diff", "document list", "dead-letters list", "bench",
}  # fmt: skip
MAY_I = ("--action", "contact", "--purpose", "newsletter", "--list", "product-news", "--channel", "email")


def options(name):
    return {spelling for param in COMMANDS[name].params for spelling in param.opts}


# -- shape -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_and_every_table_csv(name):
    assert "--json" in options(name)
    assert ("--csv" in options(name)) == (name in TABLES)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_how_it_is_called_with_options_that_it_has(name):
    epilog = COMMANDS[name].epilog
    lines = [line.strip() for line in epilog.splitlines() if line.startswith("  ")]
    assert lines
    for line in lines:
        words = shlex.split(line.partition(" > ")[0].partition(" < ")[0])
        assert words[:2] == ["consent-ledger", name.split()[0]]
        assert {word for word in words if re.match(r"--?[a-z]", word)} <= options(name)
    said = CliRunner().invoke(app, [*name.split(), "-h"]).stdout
    assert lines[0] in said
    assert said == CliRunner().invoke(app, [*name.split(), "--help"]).stdout


def test_nothing_prints_but_through_the_one_place():
    for module in (commands, copies, documents, letters, packs, proof, questions, stores, trying):
        found = re.findall(r"typer\.(?:echo|secho|style)|\bprint\(|sys\.stdout|escape\(", inspect.getsource(module))
        assert [one for one in found if one != "sys.stdout"] == [], module.__name__


def test_every_error_has_a_code_and_what_is_no_mistake_of_the_caller_is_a_failure():
    codes = {
        name: code_of(
            one("x", "y") if issubclass(one, (errors.InvalidEvent, errors.InvalidQuestion)) else one.__new__(one)
        )
        for name, one in vars(errors).items()
        if inspect.isclass(one) and issubclass(one, errors.LedgerError)
    }
    assert {name for name, code in codes.items() if code == 1} == {"HoldStanding", "NothingToShow"}
    assert {name for name, code in codes.items() if code == 2} == {
        "InvalidQuestion", "KeyFileError", "NotALedger", "PackError",
    }  # fmt: skip
    assert {codes[name] for name in ("StoreBusy", "StoreFull", "CorruptEntry", "Closed", "LedgerError")} == {3}
    assert code_of(NothingToRecover("x")) == 1


# -- json and csv of all of them ---------------------------------------------------------------------------------------


def test_commands_that_only_spoke_speak_json(store, cli, tmp_path):
    accept(store.ledger, event("consent.granted", personal={"email": "ann@example.com"}))
    log = store.ledger.app
    assert cli.json("vkey") == {"log": log.origin, "vkey": cli.vkey}
    assert cli("vkey").stdout == f"{cli.vkey}\n"
    assert cli.json("pack", "add", "parature")["clauses"] > 30
    assert cli.json("backup", tmp_path / "b.db") == {"file": str(tmp_path / "b.db"), "entries": 3}
    again = ("--store", tmp_path / "r.db", "--keys", store.keys)
    assert cli.json("restore", tmp_path / "b.db", *again)["entries"] == 3
    assert cli.json("checkpoint")["checkpoint"] == cli("checkpoint").stdout
    assert cli.json("export", "--from", 1) == [orjson.loads(line) for line in cli("export").stdout.splitlines()[1:]]
    assert cli.json("export", "--from", 9) == []
    proof = cli.json("evidence", PERSON, "-o", tmp_path / "e.zip")
    assert (proof["file"], proof["vkey"]) == (str(tmp_path / "e.zip"), cli.vkey)
    assert cli.json("verify", tmp_path / "e.zip", "--key", cli.vkey)["holds"]
    assert cli.json("verify")["says"] == cli("verify").stdout.strip()
    (tmp_path / "t.txt").write_bytes(b"a\xff")
    added = cli.json("document", "add", tmp_path / "t.txt")
    assert (added["file"], added["media_type"], added["bytes"]) == (str(tmp_path / "t.txt"), "text/plain", 2)
    assert cli.json("document", "get", added["sha256"]) == {"sha256": added["sha256"], "text": "a\\xff"}
    assert cli("document", "list", "--csv").stdout == f"sha256,media_type,bytes\n{added['sha256']},text/plain,2\n"
    store.ingest(b"no \x1b event")
    (letter,) = cli.json("dead-letters", "list")
    assert cli.json("dead-letters", "show", letter["id"])["text"] == "no \x1b event"
    assert cli.json("dead-letters", "retry", code=1) == {"recorded": 0, "left": 1}
    assert cli.json("dead-letters", "drop", letter["id"]) == {"dropped": letter["id"]}
    assert cli.json("pack", "show", "parature")["controller"] == "parature"
    assert cli.json("pack", "table", "parature")[0]["controller"] == "parature"
    erased = cli.json("erase", PERSON, "--yes")
    assert (erased["positions"], erased["unscrubbed"]) == ([3], None)


def test_erase_asks_on_standard_error_where_json_is_wanted(store):
    accept(store.ledger, event())
    child = program("erase", PERSON, "--json", "--store", store.name, stdin=subprocess.PIPE)
    out, err = child.communicate(b"y\n", timeout=60)
    assert (orjson.loads(out)["positions"], b"for good?" in err) == ([3], True)


def test_a_pack_in_the_store_is_listed_and_given_back_byte_by_byte(store, cli, tmp_path):
    other = PACKS["parature"] + b"\n# another\n"
    (tmp_path / "other.toml").write_bytes(other)
    cli("pack", "add", tmp_path / "other.toml")
    rows = cli.json("pack", "list")
    assert [(row["controller"], row["registered"], row["versions"]) for row in rows] == [
        ("parature", True, []), ("parature", False, ["1"]), ("whereverworks", True, ["1"]),
    ]  # fmt: skip
    assert cli("pack", "get", "parature").stdout_bytes == other
    assert cli("pack", "get", rows[1]["sha256"][:12]).stdout_bytes == PACKS["parature"]
    assert cli.json("pack", "get", "whereverworks")["text"].encode() == PACKS["whereverworks"]
    for name in ("nobody", "0000", "", "ab", "*", "[a-f]*"):
        assert "pack list has them" in cli.fails("pack", "get", name)


@pytest.mark.parametrize("name", ["obligations", "findings", "recipients", "history", "refusals"])
def test_a_read_model_as_csv_has_the_columns_of_its_table(store, cli, name):
    accept(
        store.ledger, event("recipient.registered"), event("disclosure.made"), event("access.requested"),
        event("message.sent"), event("consent.granted", {"list": "=cmd"}),
    )  # fmt: skip
    store.ledger.record([event("information.collected", {"categories": ["national-id"]})])
    for who in ((), (PERSON,)):
        rows = list(csv.DictReader(io.StringIO(cli(name, *who, "--controller", "parature", "--csv").stdout)))
        assert rows
        assert ("person" in rows[0]) == (not who and name != "refusals")
        found = cli.json(name, *who, "--controller", "parature")
        assert len(rows) == len(found)
        header = cli(name, *who, "--controller", "parature").stdout.splitlines()[1].split()
        assert list(rows[0]) == header
    assert "cannot be given with --json" in cli(name, "--csv", "--json", code=2).stderr


def test_the_heading_says_as_of_which_moments(store, cli, clock):
    accept(store.ledger, event("access.requested"))
    said = cli("obligations", PERSON).stdout.splitlines()[0]
    assert said == f"obligations of {PERSON}, at {clock.text}, by all that is recorded"
    moments = ("--at", "2026-01-05T00:00:00Z", "--known-at", "2026-03-02T01:00:00+01:00")
    for name, who in (("history", PERSON), ("findings", PERSON), ("state", PERSON)):
        said = cli(name, who, *moments).stdout.splitlines()[0]
        assert said.startswith(f"{name} of {who}, at 2026-01-05T00:00:00Z, as known at 2026-03-02T00:00:00Z")
    assert f"at {clock.text}, by all that is recorded" in cli("decide", PERSON, *MAY_I, code=1).stdout
    assert "as known at 2026-03-02T00:00:00Z" in cli("decide", PERSON, *MAY_I, *moments, code=1).stdout


def test_history_shows_when_it_was_recorded_from_where_and_whose_word_it_is(store, cli, clock):
    accept(store.ledger, event(actor="operator", source="urn:app:desk"))
    line = cli("history", PERSON).stdout.splitlines()[2]
    assert all(one in line.split() for one in (clock.text, "urn:app:desk", "operator", "2026-01-02T03:04:05Z"))


def test_what_is_overdue_comes_first_and_what_is_done_last(store, cli):
    accept(
        store.ledger,
        event("access.requested", {"request": "done"}, time="2026-01-01T00:00:00Z"),
        event("access.answered", {"request": "done"}, time="2026-01-02T00:00:00Z"),
        event("access.requested", {"request": "young"}, time="2026-02-27T00:00:00Z"),
        event("access.requested", {"request": "old"}, time="2025-01-02T00:00:00Z"),
    )
    rows = [row for row in cli.json("obligations", PERSON) if row["kind"] == "access"]
    assert [row["request"] for row in rows] == ["old", "young", "done"]
    urgent = questions._MODELS["obligations"].order
    made = [{"status": one, "due": due} for due in (None, "2", "1") for one in ("done", "running", "overdue", "new")]
    said = [(row["status"], row["due"]) for row in sorted(made, key=urgent)]
    assert said[:5] == [("overdue", "1"), ("overdue", "2"), ("overdue", None), ("running", "1"), ("running", "2")]
    assert said[-1][0] == "new"  # a status that this program does not know


# -- hostile -----------------------------------------------------------------------------------------------------------

HOSTILE = {
    "no UTF-8": "\udcff", "half a pair": "\udced\udcb2\udc80", "colour": "\x1b[31mred", "C1": "\x9b31m",
    "bidi": "\u202eabc", "tag": "\U000e0041", "line": "a\nb", "return": "\rx", "delete": "\x7f", "dash": "-",
    "dashes": "--", "nothing": "", "blank": " ", "markup": "[bold]x[/]", "format": "%s%n{0}", "long": "x" * 5000,
    "number": "9" * 25, "wide digit": "\uff12", "root": "/", "up": "..",
}  # fmt: skip
CALLS = (
    "state; history; decide; decide x --action; decide x --action use --at; decide x --action use --category; "
    "decide --from; evidence; evidence crm:4711 --disclose; evidence crm:4711 -o; verify; verify --key; "
    "verify x.zip --key; erase --yes; pack; pack add; pack get; pack check; pack show; pack test; pack table; "
    "pack diff parature; pack diff parature parature --reading; ingest; import; import x.csv --delimiter; backup; "
    "document add; document add b.db --media-type; document get; "
    "copy; copy b.db; "
    "restore; state x --store; state x --keys; init --origin; init --store; export --from; dead-letters show; "
    "dead-letters retry; history --as; history --controller; recover --origin; restore b.db --store; "
    "import x.csv --controller"
)


@pytest.mark.parametrize("call", ["", *CALLS.split("; ")])
def test_no_argument_gets_a_traceback_or_steers_a_terminal(store, cli, call, tmp_path, monkeypatch):
    accept(store.ledger, event("consent.granted"))
    monkeypatch.chdir(tmp_path)
    store.ledger.backup("b.db")
    (tmp_path / "x.csv").write_text("subject,date,purpose\nx,2026-01-01,newsletter\n")
    environment = {"CONSENT_LEDGER_STORE": store.name}
    before = size(store.ledger)
    for what, argument in HOSTILE.items():
        done = CliRunner().invoke(app, [*call.split(), argument], env=environment)
        assert done.exception is None or isinstance(done.exception, SystemExit), (what, done.exception)
        assert done.exit_code in (0, 1, 2, 3), (what, done.output)
        raw = done.stdout_bytes + done.stderr_bytes
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\U000e0041]", raw.decode()), (what, raw)
        assert done.output or done.exit_code == 0, what
    assert size(store.ledger) == before


def program(*args, **how):
    """The program in a process of its own, on pipes."""
    arguments = [sys.executable, "-c", "from consent_ledger.consumers.cli.program import main; main()", *args]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)


def test_bytes_that_are_no_text_arrive_as_they_do_from_a_shell(store, tmp_path):
    for argument in (b"\xff", b"\xed\xb2\x80", b"\x1b[31m"):
        for call in ((b"state",), (b"backup",), (b"state", b"x", b"--store")):
            child = program(*call, argument, env={**os.environ, "CONSENT_LEDGER_STORE": store.name}, cwd=tmp_path)
            out, err = child.communicate(timeout=60)
            assert b"Traceback" not in err, err
            assert b"\x1b" not in out + err
            assert child.returncode == (0 if call == (b"backup",) else 2), err


def test_no_traceback_where_nobody_reads_on(store):
    store.ledger.record([event() for _ in range(3000)])
    child = program("export", "--store", store.name)
    child.stdout.read(10)
    child.stdout.close()
    err = child.stderr.read()
    assert (child.wait(timeout=60), err) == (141, b"")


def test_no_traceback_where_nothing_can_be_written(store):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        for call in ("export", "history", "vkey"):
            arguments = [
                sys.executable,
                "-c",
                "from consent_ledger.consumers.cli.app import main; main()",
                call,
                "--store",
                store.name,
            ]
            done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
            assert done.returncode == 3
            assert done.stderr.startswith(b"consent-ledger: ")
            assert (b"No space left" in done.stderr, done.stderr.count(b"\n")) == (True, 1)


def test_a_closed_stream_is_no_traceback(store):
    for closing in ("exec 0<&-", "exec 1>&-", "exec 2>&-"):
        for call in ("history", "ingest -", "decide --from -", "nonsense"):
            script = (
                f'{closing}; "$0" -c "from consent_ledger.consumers.cli.app import main; main()" {call} --store "$1"'
            )
            shell = ["sh", "-c", script, sys.executable, store.name]
            done = subprocess.run(shell, capture_output=True, timeout=60, check=False)
            assert b"Traceback" not in done.stdout + done.stderr
            assert done.returncode in (0, 2), (closing, call, done)


def test_ctrl_c_ends_with_130_and_a_line(store, tmp_path):
    """While it waits for a line of questions."""
    question = orjson.dumps({"controller": "parature", "subject": "x", "action": "use"}) + b"\n"
    child = program("decide", "--from", "-", "--store", store.name, stdin=subprocess.PIPE)
    child.stdin.write(question)
    child.stdin.flush()
    assert child.stdout.readline().startswith(b'{"invalid"')
    child.send_signal(signal.SIGINT)
    err = child.stderr.read()
    assert child.wait(timeout=60) == 130
    assert err.startswith(b"consent-ledger: interrupted")
    assert err.count(b"\n") == 1


def test_ctrl_c_while_the_program_is_loaded_is_no_traceback():
    first = (
        "import builtins, sys\nreal = builtins.__import__\n"
        "def slow(name, *rest, **more):\n"
        "    if name == 'typer': raise KeyboardInterrupt\n"
        "    return real(name, *rest, **more)\n"
        "builtins.__import__ = slow\nfrom consent_ledger.consumers.cli.program import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", first], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_ctrl_c_at_a_question_erases_nobody(store):
    accept(store.ledger, event())
    main, side = pty.openpty()
    child = program("erase", PERSON, "--store", store.name, stdin=side)
    while child.stdout.read(1) != b"?":
        pass
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    os.close(main)
    os.close(side)
    assert (child.returncode in (1, 130), b"Traceback" in err) == (True, False)
    assert store.ledger.history({"controller": "parature", "subject": PERSON})


def test_an_encoding_that_lacks_a_letter_is_no_traceback(store, tmp_path):
    accept(store.ledger, event("consent.granted", {"list": "Łódź"}))
    store.shut()
    first = "import sys\nsys.stdout.reconfigure(encoding='ascii')"
    done = command("history", PERSON, "--store", store.name, first=first)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u0141\\xf3d\\u017a" in done.stdout


def test_completion_is_offered(monkeypatch):
    monkeypatch.setenv("_CONSENT_LEDGER_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "consent-ledger pack ")
    monkeypatch.setenv("COMP_CWORD", "2")
    said = CliRunner().invoke(app, prog_name="consent-ledger").stdout.split()
    assert {"add", "check", "list", "get"} <= set(said)
    monkeypatch.delenv("_CONSENT_LEDGER_COMPLETE")
    assert "--install-completion" in CliRunner().invoke(app, ["-h"]).stdout
    assert typer.main.get_command(app).name == "consent-ledger"


# -- whoever has a copy and no keys ------------------------------------------------------------------------------------


def test_the_log_of_a_copy_is_checked_without_its_keys(store, cli, tmp_path):
    accept(store.ledger, event(), event("consent.granted"))
    copy = tmp_path / "audit" / "copy.db"
    copy.parent.mkdir()
    cli("backup", copy)
    alone = Cli(f"sqlite:///{copy}")
    assert "there is no keys folder" in alone.fails("verify", code=2)
    before = copy.read_bytes()
    holds, rest = alone("verify", "--key", cli.vkey).stdout.splitlines()
    assert holds.startswith(f"holds: {size(store.ledger)} entries in ")
    assert rest.startswith("only the log was looked at")
    assert alone.json("verify", "--key", cli.vkey)["only_log"]
    assert not cli.json("verify", "--key", cli.vkey)["only_log"]
    assert copy.read_bytes() == before
    assert not copy.with_name("copy.db.keys").exists()

    other = Cli(f"sqlite:///{tmp_path / 'other.db'}")
    other("init")
    assert "none of the given keys signed it" in alone.fails("verify", "--key", other.vkey, code=1)
    assert alone.fails("verify", "--key", "x", code=2).startswith("--key: ")
    with contextlib.closing(sqlite3.connect(copy)) as damaged:
        damaged.executescript("DROP TRIGGER entries_update; UPDATE entries SET leaf=zeroblob(32) WHERE position=1")
    assert alone.fails("verify", "--key", cli.vkey, code=1).startswith("entry 1: ")


def test_a_folder_of_keys_that_is_named_and_not_there_is_a_mistake_all_the_same(store, cli, tmp_path):
    wrong = cli.fails("verify", "--key", cli.vkey, "--keys", tmp_path / "nothing", code=2)
    assert "there is no keys folder" in wrong
