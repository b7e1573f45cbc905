"""The command line: what each command does, prints and exits with. Exit 0 yes, 1 no, 2 wrong usage, 3 failed."""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
import sqlite3
import stat
import zipfile
from pathlib import Path

import orjson
import pytest
from conftest import PACKS, PERSON, Cli, Clock, accept, assert_whole, command, event, ndjson, rows, size, stored

from consent_ledger.consumers import opening
from consent_ledger.consumers.demo.generator import ANN, NOW, generate
from consent_ledger.ledger.events.catalogue import UNPRINTABLE
from consent_ledger.ledger.log.checkpoint import Signer
from consent_ledger.ledger.log.verifier import leaf_hash, open_checkpoint, parse_vkey
from consent_ledger.ledger.policy.load import load_pack

HER = {"email": "ann@example.com", "full_name": "Ann Example"}
MAY_I = ("--action", "contact", "--purpose", "newsletter", "--list", "product-news", "--channel", "email")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A store made by the command line alone, from a made-up stream of two years."""
    folder = tmp_path_factory.mktemp("house")
    stream = folder / "stream.ndjson"
    stream.write_bytes(b"".join(generate(people=100, events=1300, packs=PACKS).lines()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "clock", Clock(NOW))
        cli = Cli(f"sqlite:///{folder / 'ledger.db'}")
        cli("init", "--origin", "example.org/house")
        for controller in PACKS:
            cli("pack", "add", controller)
        cli("ingest", stream)
        yield cli


@pytest.fixture
def copy(house, tmp_path):
    """A copy of the house, to break."""
    shutil.copytree(Path(house.store.removeprefix("sqlite:///")).parent, tmp_path / "copy")
    return Cli(f"sqlite:///{tmp_path / 'copy' / 'ledger.db'}")


def damage(cli, *statements, beside=""):
    """Change the store's file behind its back."""
    db = sqlite3.connect(cli.store.removeprefix("sqlite:///") + beside, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


def write(path, *events):
    path.write_bytes(ndjson(*events))
    return path


def unzipped(file):
    with zipfile.ZipFile(file) as archive:
        return b"".join(archive.read(name) for name in archive.namelist())


# -- a store and what comes in -----------------------------------------------------------------------------------------


def test_init_makes_a_store_and_keys_that_only_their_owner_reads(tmp_path, clock):
    cli = Cli(f"sqlite:///{tmp_path / 'new.db'}")
    said = cli("init", "--origin", "example.org/log").stdout
    keys = tmp_path / "new.db.keys"
    assert [line.split()[0] for line in said.splitlines()] == ["store", "keys", "log", "vkey"]
    assert (str(keys) in said, "example.org/log+" in said) == (True, True)
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in keys.iterdir()} == {0o600}
    assert "there is a file already" in cli.fails("init")
    assert "holds: 0 entries" in cli("verify").stdout


def test_a_store_is_named_by_option_or_environment_its_keys_too(store, tmp_path, monkeypatch):
    accept(store.ledger, event())
    elsewhere = Cli("sqlite:///nowhere.db")
    shutil.move(store.keys, tmp_path / "keys")
    assert "no keys folder" in elsewhere.fails("state", PERSON, "--store", store.name)
    assert elsewhere.json("state", PERSON, "--store", store.name, "--keys", tmp_path / "keys")
    monkeypatch.setenv("CONSENT_LEDGER_KEYS", str(tmp_path / "keys"))
    assert elsewhere.json("state", PERSON, "--store", store.path)


def test_pack_add_takes_a_file_or_the_name_of_a_shipped_one(tmp_path, clock):
    cli = Cli(f"sqlite:///{tmp_path / 'new.db'}")
    cli("init")
    for controller, body in PACKS.items():
        (tmp_path / f"{controller}.toml").write_bytes(body)
        digest = hashlib.sha256(body).hexdigest()
        for name in (controller, tmp_path / f"{controller}.toml"):
            assert cli("pack", "add", name).stdout.endswith(f"clauses, sha256 {digest}\n")
    assert cli("ingest", write(tmp_path / "e.ndjson", event())).stdout.startswith("1 accepted")


@pytest.mark.parametrize("way", ["file", "-"])
def test_ingest_counts_and_says_what_was_wrong_where(store, cli, tmp_path, way):
    lines = [event(), event("information.collected", {"categories": ["national-id"]}), event(colour="blue")]
    name, stdin = (way, ndjson(*lines)) if way == "-" else (write(tmp_path / "e.ndjson", *lines), None)

    done = cli("ingest", name, stdin=stdin)

    assert done.stdout == "1 accepted, 0 duplicate, 1 refused, 0 conflict, 1 invalid\n"
    said = done.stderr.splitlines()
    assert said[0] == "  line 2: refused (PAR-COLLECT-2): national-id is not wanted"
    assert said[1].startswith("  line 3: invalid (event): unknown field")
    assert "dead-letters list" in said[2]
    again = cli.json("ingest", name) if way != "-" else orjson.loads(cli("ingest", "-", "--json", stdin=stdin).stdout)
    assert [again[name] for name in ("accepted", "duplicate", "refused", "invalid")] == [0, 1, 1, 1]
    assert size(store.ledger) == len(PACKS) + 2


def test_dead_letters_are_listed_shown_retried_and_dropped(store, cli, tmp_path):
    early = event("disclosure.made")
    cli("ingest", write(tmp_path / "e.ndjson", early, b"no event"))
    first, second = cli.json("dead-letters", "list")
    assert (first["field"], first["line"], first["origin"]) == ("recipient", 1, "e.ndjson")
    assert (second["field"], second["line"], second["bytes"]) == ("event", 2, 8)
    assert "recipient.registered" in cli("dead-letters", "list").stdout
    assert orjson.loads(cli("dead-letters", "show", first["id"]).stdout) == early

    assert cli("dead-letters", "retry", first["id"], code=1).stdout == "0 recorded, 1 stay\n"
    accept(store.ledger, event("recipient.registered"))
    assert cli("dead-letters", "retry", code=1).stdout == "1 recorded, 1 stay\n"
    assert rows(store.ledger, "SELECT count(*) FROM entries WHERE type='disclosure.made'") == [1]

    assert cli("dead-letters", "drop", second["id"]).stdout == f"dead letter {second['id']} is gone\n"
    assert cli.json("dead-letters", "list") == []
    assert cli("dead-letters", "retry").stdout == "0 recorded, 0 stay\n"
    for what in ("show", "drop", "retry"):
        assert "there is no dead letter" in cli.fails("dead-letters", what, second["id"])


# -- questions ---------------------------------------------------------------------------------------------------------


def test_decide_exits_with_the_answer(store, cli):
    accept(store.ledger, event("subject.registered"), event("consent.granted", time="2026-02-01T00:00:00Z"))

    yes = cli.json("decide", PERSON, *MAY_I)
    assert (yes["outcome"], yes["clauses"], yes["because"][0]["type"]) == ("permit", ["PAR-MKT-1"], "consent.granted")
    before = cli.json("decide", PERSON, *MAY_I, "--at", "2026-01-15T00:00:00Z", code=1)
    assert (before["outcome"], before["clauses"]) == ("deny", ["PAR-MKT-1"])
    assert "is known" in cli.fails("decide", PERSON, *MAY_I, "--known-at", "2026-02-15T00:00:00Z")
    other = cli.json("decide", PERSON, *MAY_I, "--role", "processor", "--of", "acme", code=1)
    assert (other["outcome"], other["policy"]["controller"]) == ("not-applicable", "acme")
    said = cli("decide", PERSON, *MAY_I).stdout
    assert ("PERMIT" in said, "product-news" in said, "entry 3 (consent.granted)" in said) == (True, True, True)
    assert "DENY" in cli("decide", PERSON, "--action", "use", "--purpose", "newsletter", code=1).stdout


@pytest.mark.parametrize("way", ["file", "-"])
def test_decide_answers_each_line_of_a_file(store, cli, tmp_path, way):
    accept(store.ledger, event("consent.granted"))
    question = {"controller": "parature", "subject": PERSON, "action": "contact", "purpose": "newsletter"}
    asked = [{**question, "list": "product-news"}, question, {**question, "subject": "nobody"}, b"no question", [1]]
    lines = ndjson(*asked)
    (tmp_path / "q.ndjson").write_bytes(lines)
    said = cli("decide", "--from", "-" if way == "-" else tmp_path / "q.ndjson", stdin=lines if way == "-" else None)
    answers = [orjson.loads(line) for line in said.stdout.splitlines()]
    came = [one.get("outcome", one.get("invalid")) for one in answers]
    assert came == ["permit", "deny", "subject", "question", "question"]


READ_MODELS = {  # how many of Ann's at parature, a telling field of one row, what the table says
    "state": (None, "choices", "product-news"),
    "history": (24, "type", "subject.registered"),
    "obligations": (3, "kind", "deletion"),
    "findings": (2, "clause", "PAR-MKT-1"),
    "recipients": (2, "recipient", "support-desk"),
}


@pytest.mark.parametrize("name", READ_MODELS)
def test_each_read_model_is_a_table_and_json(house, name):
    count, field, telling = READ_MODELS[name]
    found = house.json(name, ANN, "--controller", "parature")
    assert telling in house(name, ANN, "--controller", "parature").stdout
    assert telling in str([row[field] for row in found] if count else found[field])
    assert count is None or len(found) == count
    early = house.json(name, ANN, "--controller", "parature", "--at", "2024-08-02T00:00:00Z")
    assert count is None or len(early) < count
    if name != "state":
        everybody = house.json(name, "--controller", "parature")
        assert len(everybody) > count
    assert "is needed: this ledger has parature, whereverworks" in house.fails(name, ANN, code=2)


def test_refusals_are_everybodys(house):
    found = house.json("refusals")
    assert {"PAR-COLLECT-2", "WW-FIN-1", "WW-COOKIE-1", "conflict"} <= {row["clause"] for row in found}
    assert {row["controller"] for row in house.json("refusals", "--controller", "parature")} == {"parature"}
    assert "WW-COOKIE-1" in house("refusals").stdout


def test_refusals_of_somebody_are_headed_as_everybodys(house):
    said = house("refusals", ANN, "--controller", "parature").stdout
    assert said.startswith("refusals of all (a refusal holds no name), at ")
    assert "PAR-COLLECT-2" in said


def test_a_choice_is_listed_with_what_limits_it(store, cli):
    limited = {"purpose": "newsletter", "basis": "express", "categories": ["name", "email"], "channels": ["email"]}
    accept(store.ledger, event("consent.granted", limited), event("consent.refused", {"purpose": "support"}))
    header, first, second = cli("state", PERSON).stdout.split("choices\n")[1].split("opt-outs")[0].splitlines()
    assert header.split() == ["since", "word", "basis", "purpose", "list", "item", "categories", "channels"]
    assert "email, name" in first
    assert second.split()[-2:] == ["-", "-"]
    (cell,) = [row["value"] for row in csv.DictReader(cli("state", PERSON, "--csv").stdout.splitlines())
               if row["field"] == "choices"]  # fmt: skip
    assert len(cell.split("; ")) == 2
    assert "categories email + name, channels email" in cell


def test_what_is_secret_is_shown_to_an_auditor(store, cli, clock):
    told = {"recipient": "court", "categories": ["email"], "ground": "law", "secret_until": "2026-06-01T00:00:00Z"}
    court = event("recipient.registered", {"recipient": "court", "class": "authority", "service": None})
    accept(store.ledger, court, event("disclosure.compelled", told))
    for name in ("history", "recipients"):
        assert (cli.json(name, PERSON), len(cli.json(name, PERSON, "--as", "auditor"))) == ([], 1)
    clock.set("2026-06-01T00:00:00Z")
    assert len(cli.json("recipients", PERSON)) == 1


# -- proof -------------------------------------------------------------------------------------------------------------


def test_checkpoint_and_export_are_the_log(house):
    ledger = opening.open_ledger(house.store)
    signed = open_checkpoint(house("checkpoint").stdout, parse_vkey(house.vkey))
    lines = house("export").stdout_bytes.splitlines()
    assert signed.size == len(lines) == size(ledger) > 1000  # more than a page
    assert lines == stored(ledger)
    assert [leaf_hash(line) for line in lines] == rows(ledger, "SELECT leaf FROM entries ORDER BY position")
    assert house("export", "--from", len(lines) - 3).stdout_bytes.splitlines() == lines[-3:]
    assert house("export", "--from", len(lines)).stdout == ""


def test_verify_names_the_first_entry_that_was_changed(copy):
    assert copy("verify").stdout.startswith(f"holds: {size(opening.open_ledger(copy.store))} entries in ")
    assert copy("verify", "--key", copy.vkey).exit_code == 0
    malformed = copy.vkey[:-8] + "AAAAAAA="
    assert copy.fails("verify", "--key", malformed, code=2).startswith("--key: wants a key as name+hex(key ID)")
    another = Signer(b"9" * 32, "a.example/l").vkey
    assert "none of the given keys signed it" in copy.fails("verify", "--key", another, code=1)
    one_byte_more = "UPDATE entries SET state=CAST(state || ' ' AS BLOB) WHERE position=40"
    damage(copy, "DROP TRIGGER entries_update", one_byte_more)
    assert copy.fails("verify", code=1).startswith("entry 40: ")
    assert "entry 40" in copy("doctor", code=1).stdout
    log = next(row for row in copy.json("doctor", code=1) if row["check"] == "log")
    assert (log["ok"], log["says"].startswith("entry 40: ")) == (False, True)


def test_evidence_opens_what_was_asked_for_and_verifies(store, cli, tmp_path):
    accept(store.ledger, event("subject.registered", personal=HER), event("consent.granted", personal=HER))
    file = tmp_path / "e.zip"

    said = cli("evidence", PERSON, "-o", file, "--disclose", "email").stdout

    assert (str(file) in said, cli.vkey in said) == (True, True)
    assert b"ann@example.com" in unzipped(file)
    assert "not opened" not in said
    assert cli.json("evidence", PERSON, "-o", file, "--disclose", "all")["opened"] == sorted(HER)
    misspelt = cli("evidence", PERSON, "-o", file, "--disclose", "mail", "--disclose", "email").stdout
    assert misspelt.endswith("\n  not opened, for none of that name is kept: 'mail'\n")
    assert b"Ann Example" not in unzipped(file)
    assert PERSON.encode() not in unzipped(file)
    assert cli("verify", file, "--key", cli.vkey).exit_code == 0
    assert "--key" in cli("verify", file, code=2).stderr
    for wrong in ("", "x", cli.vkey[:-1], cli.vkey.replace("+", "-"), cli.vkey + " ", "\x1b[2J", cli.vkey.upper()):
        assert cli.fails("verify", file, "--key", wrong, code=2).startswith("--key: ")
        assert cli.fails("verify", file, "--key", cli.vkey, "--witness", wrong, code=2).startswith("--witness: ")
    assert "wants a key of type 4, found type 1" in cli.fails(
        "verify", file, "--key", cli.vkey, "--witness", cli.vkey, code=2
    )
    other = Cli(f"sqlite:///{tmp_path / 'other.db'}")
    other("init")
    assert cli.fails("verify", file, "--key", other.vkey, code=1).startswith(f"{file}: does not hold: ")
    file.write_bytes(file.read_bytes()[:-30])
    assert cli.fails("verify", file, "--key", cli.vkey, code=1).startswith(f"{file}: does not hold: ")


def test_erase_asks_and_then_only_the_identifier_leads_to_the_evidence(store, cli, tmp_path):
    accept(store.ledger, event("subject.registered", personal=HER), event("hold.placed"))
    person = store.ledger.app.person("parature", PERSON)
    file = tmp_path / "e.zip"
    assert "hold-1" in cli.fails("erase", PERSON, "--yes", code=1)
    accept(store.ledger, event("hold.released"))
    assert "Aborted" in cli("erase", PERSON, stdin="n\n", code=1).output
    assert cli.json("history", PERSON)

    assert cli("erase", PERSON, stdin="y\n").stdout.endswith(f"erased; entry {size(store.ledger) - 1} says so\n")

    for name, more in (("evidence", ["-o", file]), ("erase", ["--yes"]), ("history", []), ("decide", MAY_I)):
        assert PERSON in cli.fails(name, PERSON, *more, "--controller", "parature")
    assert "is erased already" in cli.fails("erase", person, "--yes", "--controller", "parature")
    cli("evidence", person, "-o", file, "--controller", "parature", "--disclose", "all")
    assert b"ann@example.com" not in unzipped(file)
    assert cli("verify", file, "--key", cli.vkey).exit_code == 0
    types = [row["type"] for row in cli.json("history", person, "--controller", "parature")]
    assert types == ["subject.registered", "hold.placed", "hold.released", "subject.erased"]


# -- maintenance -------------------------------------------------------------------------------------------------------


def test_rebuild_says_who_differed_and_mends_it(copy):
    copy("findings", "--controller", "parature")  # folds everything
    entries = size(opening.open_ledger(copy.store))
    assert copy("rebuild").stdout == f"{entries} entries folded, 0 persons differ from before\n"
    person = copy.json("history", ANN, "--controller", "parature")[0]["person"]
    damage(copy, f"UPDATE people SET entries=entries+1 WHERE person='{person}'", beside=".projections")
    assert copy.json("rebuild", code=1)["differences"] == [{"person": person, "what": "state differs"}]
    assert copy.json("rebuild") == {"folded": entries, "differences": []}


def test_projections_that_cannot_be_written_are_one_line(store, cli):
    accept(store.ledger, event())
    damage(cli, "CREATE TRIGGER no BEFORE INSERT ON people BEGIN SELECT RAISE(ABORT, 'no'); END", beside=".projections")
    said = cli.fails("findings", "--controller", "parature", code=3)
    assert said == f"{store.path}.projections: the projections can't be used (delete that file, it is folded anew): no"
    assert_whole(store.ledger)


def test_a_person_erased_since_the_backup_is_erased_again(store, cli, tmp_path):
    accept(store.ledger, event("subject.registered", personal=HER), event("subject.linked"), event("hold.placed"))
    accept(store.ledger, event(subject="crm:other", personal={"email": "bob@example.com"}))
    saved, entries, person = tmp_path / "saved.db", size(store.ledger), store.ledger.app.person("parature", PERSON)
    assert cli("backup", saved).stdout.startswith(f"{saved}: {entries} entries")
    assert "there is a file already" in cli.fails("backup", saved)
    accept(store.ledger, event("hold.released"), event("message.sent"))
    cli("erase", PERSON, "--yes", "--controller", "parature")

    back = Cli(f"sqlite:///{tmp_path / 'back.db'}")
    assert "keys" in back.fails("restore", saved)
    assert list(tmp_path.glob("back.db*")) == []
    said = back("restore", saved, "--keys", store.keys).stdout

    assert said == f"{entries} entries restored, 2 persons erased again\n"  # under both her names
    shutil.copytree(store.keys, tmp_path / "back.db.keys")
    ledger = opening.open_ledger(back.store)
    assert_whole(ledger, stored(store.ledger)[:entries])
    assert rows(ledger, "SELECT count(*) FROM aliases") == rows(ledger, "SELECT count(*) FROM secrets") == [1]
    assert PERSON in back.fails("history", PERSON, "--controller", "parature")
    back("recover", "--yes")
    assert back.json("history", person, "--controller", "parature")[-1]["type"] == "subject.erased"
    assert back.json("history", "crm:other")[0]["personal"] == ["email"]
    assert (back("verify").stdout[:6], back("doctor").exit_code) == ("holds:", 0)
    assert "there is a store already" in back.fails("restore", saved)
    assert sorted(file.name for file in tmp_path.glob("*.partial*")) == []


def test_what_is_no_backup_is_not_restored(store, cli, tmp_path):
    back = Cli(f"sqlite:///{tmp_path / 'back.db'}")
    (tmp_path / "text").write_text("no store")
    assert f"{tmp_path}/text: not a backup" in back.fails("restore", tmp_path / "text", "--keys", store.keys)
    assert "there is no such backup" in back.fails("restore", tmp_path / "nothing", "--keys", store.keys)
    assert list(tmp_path.glob("back.db*")) == []


def test_doctor_looks_at_everything(store, cli):
    accept(store.ledger, event(personal=HER))
    store.ingest(b"no event")
    found = {row["check"]: row for row in cli.json("doctor")}
    checks = "store", "database", "log", "derived", "signed heads", "vault", "suppression", "projections", "rights"
    assert found.keys() == {*checks, "clock", "files", "dead letters"}
    assert all(row["ok"] for row in found.values())
    assert found["dead letters"]["says"].startswith("1 are waiting")
    damage(cli, "UPDATE secrets SET sealed=zeroblob(length(sealed))")
    broken = [row for row in cli.json("doctor", code=1) if not row["ok"]]
    assert [row["check"] for row in broken] == ["vault", "vault"]
    assert "sealed record of entry 2 was altered" in broken[1]["says"]


# -- packs -------------------------------------------------------------------------------------------------------------

SCENARIO = """
scenarios:
  - id: PAR-MKT-1/opted-in
    controller: parature
    given:
      - {type: consent.granted, subject: ann, time: 2026-01-02T00:00:00Z,
         data: {purpose: newsletter, list: product-news, basis: express}}
    then:
      - ask: {subject: ann, action: contact, purpose: newsletter, list: product-news, at: 2026-01-03T00:00:00Z}
        expect: {outcome: OUTCOME, clauses: [PAR-MKT-1]}
      - publish: {type: information.collected, subject: ann, time: 2026-01-04T00:00:00Z,
                  data: {categories: [national-id], origin: subject}}
        expect: {refused: PAR-COLLECT-2}
      - refusals: {at: 2026-01-05T00:00:00Z}
        expect: [{clause: PAR-COLLECT-2}]
"""


def test_pack_test_exits_with_the_result(cli, tmp_path):
    good, bad, none = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "none.yaml"
    good.write_text(SCENARIO.replace("OUTCOME", "permit"))
    bad.write_text(SCENARIO.replace("OUTCOME", "deny"))
    assert cli("pack", "test", good).stdout == "1 scenarios, 1 passed, 0 failed\n"
    failed = cli("pack", "test", good, bad, code=1).stdout
    assert "FAILED PAR-MKT-1/opted-in" in failed
    assert ("expected {'outcome': 'deny'" in failed, "'outcome': 'permit'" in failed) == (True, True)
    assert failed.endswith("2 scenarios, 1 passed, 1 failed\n")
    assert [len(one["problems"]) for one in cli.json("pack", "test", good, bad, code=1)] == [0, 1]
    for text in ("scenario: []", "[1, 2", "scenarios: [{id: x}]", SCENARIO.replace("parature", "nobody")):
        none.write_text(text)
        said = cli("pack", "test", good, none, code=2)
        assert (said.stderr.startswith(f"consent-ledger: {none}: "), said.stderr.count("\n")) == (True, 1)
    assert cli("pack", "test", tmp_path / "nothing.yaml", code=2).stderr.count("\n") == 1


@pytest.mark.parametrize("controller", sorted(PACKS))
def test_pack_show_mentions_every_clause(cli, controller):
    said = cli("pack", "show", controller).stdout
    for clause in load_pack(PACKS[controller]).clause:
        assert f"## {clause.id}: {clause.title}" in said
        assert clause.rule in said
        assert clause.interpretation is None or clause.interpretation.text in said
    assert "no problem found" in cli("pack", "check", controller).stdout


def test_what_a_pack_or_a_scenario_says_steers_no_terminal(cli, tmp_path):
    pack, story = tmp_path / "x.toml", tmp_path / "y.yaml"
    body = PACKS["parature"].decode()
    pack.write_text(re.sub('^title = "', r'title = "\\u202e\\u009b2J', body, count=1, flags=re.MULTILINE))
    story.write_text(SCENARIO.replace("PAR-MKT-1/opted-in", '"PAR-MKT-1/\\u202e\\e[2J"').replace("OUTCOME", "deny"))
    for said in (cli("pack", "show", pack).stdout, cli("pack", "test", story, code=1).stdout):
        assert r"\u202e" in said
        assert UNPRINTABLE.search(said.replace("\n", "")) is None


def test_a_name_with_colons_is_no_picture(store, cli):
    accept(store.ledger, event("subject.registered", {"kind": "customer"}, subject="app:100:x:4711"))
    assert "app:100:x:4711" in cli("state", "app:100:x:4711").stdout


def test_questions_from_a_file_with_a_mark_of_byte_order_are_all_answered(store, cli, tmp_path):
    accept(store.ledger, event("subject.registered", {"kind": "customer"}, subject="x"))
    asked = tmp_path / "questions.ndjson"
    question = b'{"subject": "x", "action": "contact", "purpose": "newsletter", "channel": "email"}\n'
    asked.write_bytes(b"\xef\xbb\xbf" + question * 2)
    answers = [orjson.loads(line)["outcome"] for line in cli("decide", "--from", asked).stdout.splitlines()]
    assert answers == ["deny", "deny"]


# -- mistakes ----------------------------------------------------------------------------------------------------------

MISTAKES = {  # what is typed; {t} is a folder with a file of text in it; what the line says
    "ingest {t}/nothing": "{t}/nothing: No such file or directory",
    "ingest {t}": "{t}: Is a directory",
    "verify {t}/nothing --key " + Signer(b"1" * 32, "a.example/l").vkey: "{t}/nothing: No such file or directory",
    "verify {t} --key " + Signer(b"1" * 32, "a.example/l").vkey: "{t}: Is a directory",
    "pack show shop": "shop: there is no such file, and no pack of that name is shipped (one in a store: consent-led",
    "state nobody --controller parature": "no person 'nobody' is known to 'parature'",
    "decide crm:4711 --action disclose --recipient unheard-of": "recipient: no recipient 'unheard-of'",
    "decide --from {t}/nothing": "{t}/nothing: No such file",
    "backup {t}/no/saved.db": "{t}/no: there is no such folder",
    "evidence crm:4711 -o {t}/no/e.zip": "{t}/no: there is no such folder (make it first)",
    "pack add {t}/text": "{t}/text: not a TOML file",
    "pack show {t}/text": "{t}/text: not a TOML file",
    "pack table parature {t}/text": "{t}/text: not a TOML file",
    "pack test {t}/text --pack {t}/text": "{t}/text: not a TOML file",
    "pack check parature {t}/nothing": "{t}/nothing: there is no such file",
    "state x --store sqlite:///{t}/nothing": "{t}/nothing: there is no such store",
    "state x --store oracle://x": "oracle://: names no store",
    "init --store sqlite:///{t}/no/new.db": "{t}/no: there is no such folder",
    "state crm:4711 --controller nobody": "controller: 'nobody' is not registered",
    "history crm:4711 --at yesterday": "at: wants an RFC 3339 time with an offset",
    "findings --known-at 2026-01-01T00:00:00": "known_at: wants an RFC 3339 time with an offset",
    "decide crm:4711 --action dance": "action: wants one of collect, use",
    "decide crm:4711 --action use --purpose telepathy": "purpose: is no purpose of this pack",
    "decide crm:4711 --action use --category shoe-size": "categories: one of them is no category",
}
FAILURES = {"evidence crm:4711 -o /dev/full": "No space left on device"}


@pytest.mark.parametrize("typed", [*MISTAKES, *FAILURES])
def test_a_mistake_is_one_line_that_says_what_to_do(store, cli, tmp_path, typed):
    accept(store.ledger, event())
    (tmp_path / "text").write_text("no pack, no zip\n")
    before = stored(store.ledger)
    says = (MISTAKES | FAILURES)[typed].format(t=tmp_path)
    said = cli(*typed.format(t=tmp_path).split(), code=3 if typed in FAILURES else 2)
    assert (said.stderr.count("\n"), said.stderr.startswith("consent-ledger: ")) == (1, True)
    assert says in said.stderr
    assert stored(store.ledger) == before


USAGES = (
    "dance; state; ingest; --store x; decide x --purple; export --from -1; dead-letters show one; pack; pack show; "
    "verify --witness x"
)


@pytest.mark.parametrize("typed", USAGES.split("; "))
def test_wrong_usage_exits_2(cli, typed):
    assert "Usage: " in cli(*typed.split(), code=2).output


def test_the_program_itself_exits_with_the_code_and_no_traceback(store, tmp_path):
    accept(store.ledger, event("consent.granted"))
    store.shut()
    file = write(tmp_path / "e.ndjson", event())
    done = command("ingest", file, "--store", store.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "1 accepted, 0 duplicate, 0 refused, 0 conflict, 0 invalid\n"
    done = command("state", "nobody", "--store", store.name, "--controller", "parature")
    said = "consent-ledger: subject: no person 'nobody' is known to 'parature'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_state_names_the_identifier_under_which_reports_list_somebody_of_several_names(store, cli):
    used = {"service": "site"}
    accept(store.ledger, event("service.used", used, subject="web:ann"), event("service.used", used))
    apart = {name: cli.json("state", name)["identifiers"] for name in (PERSON, "web:ann")}
    accept(store.ledger, event("subject.linked", personal={"other": "web:ann"}))
    joined = {name: cli.json("state", name) for name in (PERSON, "web:ann")}
    assert {tuple(one["identifiers"]) for one in joined.values()} == {tuple(sorted(one for (one,) in apart.values()))}
    assert all(apart[name] == [joined[name]["person"]] for name in joined)
    accept(store.ledger, event("message.sent", {"purpose": "newsletter", "channel": "email"}))
    listed = {row["person"] for row in cli.json("findings") if row["event"] == "message.sent"}
    assert listed == {joined[PERSON]["identifiers"][0]}
