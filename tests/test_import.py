"""Existing consents from CSV: tried first, then recorded; the same row is the same event for ever."""

from __future__ import annotations

import csv
import io

import pytest
from conftest import PERSON, Cli, accept, assert_whole, event, size, stored

from consent_ledger.consumers.files import importing
from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.ledger.intake.parse import prepare

HEADER = "origin,date,subject,controller,purpose,list,basis,proof,personal.email"
ANN = "crm-2019,2019-05-01,crm:4711,parature,newsletter,product-news,express,form 118,ann@example.com"
BOB = "crm-2019,2020-01-02T03:04:05+01:00,crm:4712,parature,newsletter,product-news,,,bob@example.com"


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "consents.csv", HEADER, ANN, BOB)


def run(ledger, text, controller=None, delimiter=",", *, write=True):
    raw = text if isinstance(text, bytes) else text.encode()
    return importing.run(ledger, io.BytesIO(raw), controller, delimiter, write=write)


def problems(report):
    return [(row["row"], row["column"]) for row in report.problems]


def test_first_it_only_says_what_it_would_record(store, cli, file):
    before = stored(store.ledger)
    said = cli("import", file).stdout.splitlines()
    assert said[0].startswith("would be: 2 accepted, 0 duplicate, 0 refused, 0 conflict, 0 invalid")
    assert "--write" in said[0]
    assert (said[1], said[2].split()) == ("to record", list(importing.GROUPED))
    assert said[3].split() == [
        "parature", "newsletter", "product-news", "express", "system", "2", "2019-05-01T00:00:00Z",
        "2020-01-02T02:04:05Z",
    ]  # fmt: skip
    assert stored(store.ledger) == before
    assert_whole(store.ledger, before)
    assert cli.json("import", file)["written"] is False


def test_what_was_tried_leaves_no_name_in_memory_or_file(store, file):
    run(store.ledger, file.read_bytes(), write=False)
    assert store.ledger.app.person("parature", PERSON) is None
    accept(store.ledger, event())  # the writer goes on from where it was
    assert_whole(store.ledger)


def test_written_they_are_consents_by_the_system_of_their_day(store, cli, file):
    assert cli("import", file, "--write").stdout.startswith("2 accepted, 0 duplicate")
    assert_whole(store.ledger)
    (row,) = store.ledger.history({"controller": "parature", "subject": PERSON})
    assert (row["type"], row["actor"], row["source"]) == ("consent.granted", "system", "urn:import:crm-2019")
    assert (row["time"], row["personal"]) == ("2019-05-01T00:00:00Z", ["email", "proof"])
    assert row["data"] == {"purpose": "newsletter", "list": "product-news", "basis": "express"}
    assert "ann@example.com" not in str(stored(store.ledger))
    assert "form 118" not in str(stored(store.ledger))


def test_again_adds_nothing_whoever_reads_the_file(store, cli, file, tmp_path):
    cli("import", file, "--write")
    before = stored(store.ledger)
    assert cli("import", file, "--write").stdout.startswith("0 accepted, 2 duplicate")
    assert cli("import", file).stdout.startswith("would be: 0 accepted, 2 duplicate")
    columns = HEADER.split(",")
    mixed = io.StringIO()  # other order, other line ends, quotation marks, a byte order mark, a blank column more
    writer = csv.DictWriter(mixed, [*reversed(columns), "item"], quoting=csv.QUOTE_ALL, delimiter=";")
    writer.writeheader()
    writer.writerows(csv.DictReader([HEADER, BOB, ANN]))
    (tmp_path / "other.csv").write_bytes(b"\xef\xbb\xbf" + mixed.getvalue().encode())
    assert cli("import", tmp_path / "other.csv", "--write", "--delimiter", ";").stdout.startswith("0 accepted, 2 dup")
    assert stored(store.ledger) == before


def test_a_row_that_differs_in_any_cell_is_another_consent(memory):
    run(memory, f"{HEADER}\n{ANN}\n")
    for column, cell in (("date", "2019-05-02"), ("list", "offers"), ("proof", "form 119"), ("subject", "crm:1")):
        row = dict(zip(HEADER.split(","), ANN.split(","), strict=True)) | {column: cell}
        assert run(memory, f"{HEADER}\n{','.join(row.values())}\n").counts["accepted"] == 1


def test_the_id_of_a_row_cannot_be_tried_out_without_the_keys(store, memory):
    ids = set()
    for ledger in (store.ledger, memory):
        run(ledger, f"{HEADER}\n{ANN}\n")
        ids.add(ledger.history({"controller": "parature", "subject": PERSON})[0]["id"])
    assert len(ids) == 2  # of another store's keys
    assert all(one.isalpha() and len(one) == 32 for one in ids)


def test_nobody_who_was_erased_comes_back_by_the_same_file(store, file):
    run(store.ledger, file.read_bytes())
    store.ledger.erase({"controller": "parature", "subject": PERSON})
    assert run(store.ledger, file.read_bytes()).counts["accepted"] == 0
    assert store.ledger.app.person("parature", PERSON) is None


def test_a_row_with_an_id_of_its_own_keeps_it(memory):
    header = "id,subject,date,purpose"
    run(memory, f"{header}\n118,crm:4711,2019-05-01,newsletter\n", "parature")
    report = run(memory, f"{header}\n118,crm:4711,2019-05-02,newsletter\n", "parature")
    assert (report.counts["conflict"], problems(report)) == (1, [(2, "id")])


WRONG = {
    "date": ("2019-13-01", "1.5.2019", "", "2999-01-01", "2019-05-01T00:00:00"),
    "purpose": ("telepathy", "", "News Letter"),
    "basis": ("maybe",),
    "subject": ("", "x" * 300),
    "actor": ("robot",),
    "expires_at": ("soon",),
    "channels": ("pigeon", "email;pigeon"),
    "categories": ("shoe-size",),
    "controller": ("nobody",),
    "list": ("ann@example.com",),
    "policy_version": ("7" * 300,),
}


@pytest.mark.parametrize(("column", "cell"), [(name, one) for name, cells in WRONG.items() for one in cells])
def test_what_is_wrong_is_named_by_row_and_column_and_keeps_nothing_else_out(memory, column, cell):
    row = dict(zip(HEADER.split(","), ANN.split(","), strict=True)) | {column: cell}
    lines = io.StringIO()
    writer = csv.DictWriter(lines, list(row))
    writer.writeheader()
    writer.writerow(row)
    writer.writerow(dict(zip(HEADER.split(","), BOB.split(","), strict=True)))
    for really in (False, True):
        report = run(memory, lines.getvalue(), "parature", write=really)
        assert problems(report) == [(2, column)], report.problems
        assert (report.counts["accepted"], report.counts["invalid"]) == (1, 1)
        assert "ann@example.com" not in str(report.problems)


def test_a_date_that_is_none_is_told_that_a_day_will_do(memory):
    (problem,) = run(memory, f"{HEADER}\n{ANN.replace('2019-05-01', '1.5.2019')}\n").problems
    assert problem["problem"].startswith("wants a day such as 2026-01-02, or an RFC 3339 time with an offset")


def test_what_a_policy_refuses_is_named_by_its_clause(memory):
    report = run(memory, f"{HEADER},personal.ssn\n{ANN},078-05-1120\n", write=False)
    assert (report.counts["refused"], problems(report)[0][0]) == (1, 2)
    assert problems(report)[0][1].startswith("PAR-")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "subject is missing"),
        ("subject,date\nx,2019-05-01\n", "purpose is missing"),
        ("subject,date,purpose,shoe\n", "'shoe' is no column"),
        ("subject,date,purpose,date\n", "'date' is there twice"),
        ("subject,date,purpose,personal.\n", "'personal.' is no column"),
        ('subject,"date\n', "is no CSV"),
        (b"\xff\xfe,date\n", "is no column: the file is UTF-16: save it as CSV in UTF-8"),
        ("subject,date,purpose\n".encode("utf-16"), "is no column: the file is UTF-16: save it as CSV in UTF-8"),
        ("subject,date,purpose\n".encode("utf-16-be"), "is no column: the file is UTF-16"),
        ("subject;date;purpose\n", "is no column: its cells are separated otherwise: give --delimiter ';'"),
        ("subject\tdate\tpurpose\n", "is no column: its cells are separated otherwise: give --delimiter \\$'\\\\t'"),
        ("subject;shoe\n", "separated otherwise"),
        ("shoe;size\n", "is no column: there are id, origin"),
    ],
)
def test_a_header_that_cannot_be_meant_is_refused_before_anything(memory, text, says):
    before = stored(memory)
    with pytest.raises(InvalidQuestion, match=rf"^header: .*{says}"):
        run(memory, text)
    assert stored(memory) == before


def test_rows_that_are_no_rows_are_problems_too(memory):
    text = (
        b"subject,date,purpose\n\n , ,\n"
        b"a,2019-05-01,newsletter,more\n"
        b"\xff,2019-05-01,newsletter\n"
        b"a\x00b,2019-05-01,newsletter\n"
        b"b,2019-05-01,newsletter\n"
        b'"c"x,2019-05-01,newsletter\n'
        b"short\n"
        b'd,"2019-05-01,newsletter\n'
    )
    report = run(memory, text, "parature")
    assert report.counts["accepted"] == 1
    assert problems(report) == [(4, "event"), (5, "subject"), (6, "subject"), (8, "event"), (9, "date"), (10, "event")]


def test_a_file_of_several_controllers_needs_a_word(memory):
    text = "subject,date,purpose\nx,2019-05-01,newsletter\n"
    assert problems(run(memory, text)) == [(2, "controller")]
    assert run(memory, text, "parature").counts["accepted"] == 1


def test_the_same_row_twice_is_one_consent_also_when_it_is_tried(memory, monkeypatch):
    monkeypatch.setattr(importing, "BATCH", 2)
    for really in (False, True):
        report = run(memory, f"{HEADER}\n{ANN}\n{BOB}\n{ANN}\n{ANN}\n", write=really)
        assert (report.counts["accepted"], report.counts["duplicate"]) == (2, 2)


def test_every_column_there_is_makes_an_event(memory):
    cells = {
        "id": "1", "origin": "x", "date": "2026-02-01", "subject": "s", "controller": "parature", "actor": "operator",
        "purpose": "newsletter", "categories": "email; full_name", "recipients": "r", "channels": "email;sms",
        "list": "l", "item": "i", "basis": "use", "policy_version": "1", "expires_at": "2030-01-01T00:00:00Z",
        "proof": "p", "shown.text_sha256": "00" * 32, "shown.language": "de", "shown.method": "paper",
        "shown.form": "f",
    }  # fmt: skip
    assert set(importing.columns()) <= set(cells)
    event = importing._event(memory, importing.columns(), [cells[name] for name in importing.columns()], None)
    assert prepare(event).type == "consent.granted"


def test_problems_exit_1_and_have_csv(store, tmp_path):
    cli = Cli(store.name)
    bad = write(tmp_path / "bad.csv", HEADER, ANN, BOB.replace("newsletter", "telepathy"))
    said = cli("import", bad, code=1).stdout
    assert "3    purpose" in said
    rows = list(csv.DictReader(io.StringIO(cli("import", bad, "--csv", code=1).stdout)))
    assert [(row["row"], row["column"]) for row in rows] == [("3", "purpose")]
    assert cli.json("import", bad, "--write", code=1)["accepted"] == 1
    assert size(store.ledger) == 3
    assert "no column" in cli.fails("import", write(tmp_path / "none.csv", "a,b"))
    assert cli("import", "-", stdin=bad.read_bytes(), code=1).stdout.startswith("would be: 0 accepted, 1 duplicate")
