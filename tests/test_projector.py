"""The projection: exactly once, late news, rebuilt and compared."""

from __future__ import annotations

import os
import sqlite3
import threading
from hashlib import sha256
from types import SimpleNamespace

import pytest
from conftest import accept, event

from consent_ledger.consumers import maintenance
from consent_ledger.consumers.demo.generator import bench_events, generate
from consent_ledger.consumers.opening import create_ledger, open_ledger, shipped_packs
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.ledger.intake.recovery import recover
from consent_ledger.ledger.log.merkle import Frontier
from consent_ledger.ledger.times import FOREVER, parse_time
from consent_ledger.projections.fold.record import new_state
from consent_ledger.projections.fold.state import evolve, fold
from consent_ledger.projections.read import projector as module
from consent_ledger.projections.read.people import fold_person
from consent_ledger.projections.read.projector import Projector, rebuild
from consent_ledger.projections.read.snapshot import dump
from consent_ledger.projections.reports import findings


@pytest.fixture
def ledger(tmp_path):
    ledger = create_ledger(f"sqlite:///{tmp_path / 'store.db'}")
    for body in shipped_packs().values():
        ledger.app.add_pack(body)
    yield ledger
    ledger.projector.close()
    ledger.app.close()


def digest(projector):
    return sha256(repr(list(projector._contents())).encode()).hexdigest()


def fill(ledger, people=120, events=1200):
    stream = generate(people=people, events=events, packs=shipped_packs())
    ledger.app.record(stream.events, stream.told()[-1])


def test_small_pages_and_one_large_one_are_the_same(ledger, monkeypatch):
    fill(ledger)
    ledger.projector.catch_up()
    monkeypatch.setattr(module, "PAGE", 7)
    monkeypatch.setattr(module, "KEPT", 3)
    small = Projector(ledger.app, None)
    small.catch_up()
    assert digest(small) == digest(ledger.projector)


def test_every_projected_person_is_what_folding_from_the_log_gives(ledger):
    fill(ledger)
    ledger.projector.catch_up()
    checked = 0
    for controller in shipped_packs():
        for name in ledger.projector.persons(controller):
            row = ledger.projector.person(name)
            if row.linked:
                continue
            person = ledger.people._loaded(name)
            if len(person.names) > 1:
                continue
            assert dump(fold_person(person, FOREVER, FOREVER)) == dump(row.state)
            checked += 1
    assert checked > 50


def test_a_failure_in_the_middle_of_a_page_leaves_the_page_before(ledger, monkeypatch):
    fill(ledger)
    monkeypatch.setattr(module, "PAGE", 200)
    hits = []

    def fail(name):
        hits.append(name)
        if name == "projection written" and hits.count(name) == 3:
            raise RuntimeError("the power went")

    monkeypatch.setattr(crashpoints, "hook", fail)
    with pytest.raises(RuntimeError):
        ledger.projector.catch_up()
    assert ledger.projector.cursor == 400
    monkeypatch.setattr(crashpoints, "hook", None)
    ledger.projector.catch_up()
    fresh = Projector(ledger.app, None)
    fresh.catch_up()
    assert digest(fresh) == digest(ledger.projector)


def test_rebuild_says_who_differs(ledger, tmp_path):
    fill(ledger)
    ledger.projector.catch_up()
    path = ledger.projector.path
    persons = ledger.projector.persons("parature")
    ledger.projector.close()
    folded, differences = rebuild(ledger.app, path)
    assert folded == ledger.app.current_head().size
    assert differences == []
    db = sqlite3.connect(path)
    db.execute("UPDATE people SET snapshot=(SELECT snapshot FROM people WHERE person=?) WHERE person=?", persons[:2])
    db.execute("DELETE FROM people WHERE person=?", [persons[3]])
    db.commit()
    db.close()
    _, differences = rebuild(ledger.app, path)
    assert {(one.person, one.what) for one in differences} == {
        (persons[1], "state differs"),
        (persons[3], "was missing"),
    }
    assert rebuild(ledger.app, path)[1] == []
    ledger.projector = Projector(ledger.app, path)


def test_a_projection_of_another_log_starts_anew(ledger, tmp_path):
    events = list(bench_events(300, 3))
    ledger.record(events)
    assert ledger.findings({"controller": "parature", "at": "2030-01-01T00:00:00Z"})
    assert ledger.projector.store.db.execute("SELECT count(*) FROM judged").fetchone()[0] > 0
    other = create_ledger(f"sqlite:///{tmp_path / 'other.db'}")
    other.app.add_pack(shipped_packs()["parature"])
    other.record(events[:50])
    strange = Projector(other.app, ledger.projector.path)
    strange.catch_up()
    assert strange.cursor == other.app.current_head().size
    assert strange.store.db.execute("SELECT count(*) FROM judged").fetchone()[0] == 0
    fresh = Projector(other.app, None)
    fresh.catch_up()
    assert digest(strange) == digest(fresh)


def test_a_cold_answer_from_the_projection_is_the_answer_from_the_log(ledger, tmp_path):
    fill(ledger)
    body = {
        "controller": "parature",
        "action": "contact",
        "purpose": "newsletter",
        "list": "product-news",
        "channel": "email",
    }
    names = sorted({f"crm:{number}" for number in range(10_000, 10_400)})
    from_log = {}
    for name in names:
        if ledger.app.person("parature", name) is not None:
            from_log[name] = ledger.decide({**body, "subject": name, "at": "2026-07-01T00:00:00Z"}).to_dict()
    assert len(from_log) > 20
    ledger.projector.catch_up()
    again = open_ledger(f"sqlite:///{tmp_path / 'store.db'}")
    for name, expected in from_log.items():
        found = again.decide({**body, "subject": name, "at": "2026-07-01T00:00:00Z"}).to_dict()
        assert {**found, "known_at": None} == {**expected, "known_at": None}


# -- what is remembered ------------------------------------------------------------------------------------------------

WW = {"controller": "whereverworks"}
ASK = {**WW, "action": "contact", "purpose": "newsletter", "channel": "email"}


def of_ww(type_name, data=None, **more):
    return event(type_name, data, **WW, **more)


def test_who_was_joined_by_the_other_is_not_answered_from_memory(store):
    accept(store.ledger, of_ww("optout.recorded"), of_ww("subject.registered", {"kind": "visitor"}, subject="web:ann"))
    ask = {**ASK, "subject": "web:ann"}
    assert store.ledger.decide(ask).outcome == "permit"
    accept(store.ledger, of_ww("subject.linked"))  # an entry of the other name's
    assert store.ledger.decide(ask).outcome == "deny"
    assert store.open().decide(ask).outcome == "deny"
    accept(store.ledger, of_ww("subject.unlinked"))
    assert store.ledger.decide(ask).outcome == "permit"


def test_a_name_is_unknown_before_it_was_told_whoever_was_joined_with_it_since(store):
    accept(store.ledger, of_ww("subject.registered", {"kind": "visitor"}))
    ask = {**ASK, "subject": "web:ann", "at": "2026-03-03T00:00:00Z", "known_at": store.clock.text}
    store.clock.forward(60)
    accept(store.ledger, of_ww("subject.linked"))
    assert store.ledger.decide({**ask, "known_at": store.clock.text}).outcome == "permit"
    with pytest.raises(InvalidQuestion, match="no person 'web:ann' is known"):
        store.ledger.decide(ask)


def linked_people(store, *pairs, minute=0):
    for one, other in pairs:
        time = f"2026-01-10T00:{minute:02}:00Z"
        accept(store.ledger, event("subject.linked", None, {"other": other}, subject=one, time=time, **WW))


def test_of_several_names_the_one_told_first_is_why_somebody_is_a_minor(store):
    """Names are random, and a set of them has another order in each process: nothing may hang on either."""
    for day, name in enumerate("dbca", 2):
        accept(
            store.ledger, of_ww("subject.age.learned", {"age": 5 + day}, subject=name, time=f"2026-01-0{day}T00:00:00Z")
        )
    linked_people(store, *(("a", name) for name in "bcd"))
    answer = store.ledger.decide({**ASK, "subject": "a"})
    assert [(ref.type, ref.time) for ref in answer.because][:1] == [
        ("subject.age.learned", parse_time("2026-01-02T00:00:00Z"))
    ]
    assert [ref.type for ref in answer.because][1:] == ["subject.linked"]  # by which a and d are one
    names = store.ledger.people.person(store.ledger.app.person("whereverworks", "a")).names
    assert list(new_state(sorted(names, reverse=True)).tracks) == sorted(names)


def test_who_was_never_joined_is_not_taken_apart_and_who_is_gone_takes_nobody_along(store):
    """a - b - c: without the pair a - b, b and c are still one person, and what a says opens nothing of theirs."""
    for name in "abc":
        accept(
            store.ledger, of_ww("subject.registered", {"kind": "visitor"}, subject=name, time="2026-01-02T00:00:00Z")
        )
    accept(store.ledger, of_ww("optout.recorded", subject="c", time="2026-01-03T00:00:00Z"))
    linked_people(store, ("a", "b"), ("b", "c"))

    def say(type_name, data, minute, subject, other=None):
        personal = {"other": other} if other else None
        body = event(type_name, data, personal, subject=subject, time=f"2026-01-10T00:{minute:02}:00Z", **WW)
        accept(store.ledger, body)

    say("subject.unlinked", None, 5, "a", "c")
    say("consent.granted", {"purpose": "promotion", "list": None}, 6, "a")
    ask = {**ASK, "purpose": "promotion"}
    assert {store.ledger.decide({**ask, "subject": name}).outcome for name in "abc"} == {"permit"}
    say("subject.unlinked", None, 7, "a", "b")
    say("consent.granted", {"list": None}, 8, "a")
    assert [store.ledger.decide({**ASK, "subject": name}).outcome for name in "abc"] == ["permit", "deny", "deny"]
    linked_people(store, ("a", "b"), minute=9)
    assert {store.ledger.decide({**ASK, "subject": name}).outcome for name in "abc"} == {"deny"}


# -- looking back ------------------------------------------------------------------------------------------------------


def test_what_was_known_then_is_followed_step_by_step_as_if_each_act_were_looked_at_alone(ledger, monkeypatch):
    stream = generate(people=150, events=2500, packs=shipped_packs())
    told = stream.told()
    for start in range(0, len(stream.events), 40):
        ledger.app.record(stream.events[start : start + 40], told[start : start + 40][-1])
    at = {"at": "2030-01-01T00:00:00Z", "known_at": "2029-01-01T00:00:00Z"}
    found = [row for controller in shipped_packs() for row in ledger.findings({"controller": controller, **at})]
    assert len({row["known_then"] for row in found}) == 2
    alone = findings._Past
    monkeypatch.setattr(findings, "_Past", lambda *args: SimpleNamespace(scene=lambda entry: alone(*args).scene(entry)))
    assert found == [row for controller in shipped_packs() for row in ledger.findings({"controller": controller, **at})]


def test_findings_about_many_messages_fold_each_entry_a_few_times(store, monkeypatch):
    accept(store.ledger, of_ww("optout.recorded", time="2026-03-01T00:00:00Z"))
    for _ in range(60):
        store.clock.forward(3600)
        accept(store.ledger, of_ww("message.sent", {"list": None}, time=store.clock.text))
    folded = []
    monkeypatch.setattr(findings, "evolve", lambda *args: folded.append(evolve(*args)))
    monkeypatch.setattr(
        findings, "fold", lambda entries, names: fold((folded.append(one) or one for one in entries), names)
    )
    found = store.ledger.findings({**WW, "subject": "crm:4711"})
    assert [row["known_then"] for row in found] == [True] * 60
    assert len(folded) < 4 * 61


# -- whose rows these are ----------------------------------------------------------------------------------------------


def behind(ledger, *statements):
    """Change the projections' file behind everybody's back."""
    with sqlite3.connect(ledger.projector.path, isolation_level=None) as db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0, statement
    db.close()


OPT_IN = {"controller": "parature", "action": "contact", "purpose": "newsletter", "list": "product-news",
          "channel": "email"}  # fmt: skip
TAMPERED = {
    "another's row": ("UPDATE people SET (snapshot, tip, tag) = (SELECT snapshot, tip, tag FROM people ORDER BY person "
                      "DESC LIMIT 1) WHERE person=(SELECT min(person) FROM people)"),
    "a flag": "UPDATE people SET linked=1 WHERE person=(SELECT min(person) FROM people)",
    "a snapshot": "UPDATE people SET snapshot=(SELECT max(snapshot) FROM people) WHERE person=(SELECT min(person) FROM "
                  "people)",
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_a_row_that_does_not_fit_its_person_is_not_used_and_nothing_is_built_on_it(store, what):
    ledger = store.ledger
    accept(ledger, event("optout.recorded", subject="crm:1"), event("consent.granted", subject="crm:2"))
    ledger.projector.catch_up()
    assert ledger.projector.damaged() == []
    behind(ledger, TAMPERED[what])
    person = min(ledger.app.person("parature", subject) for subject in ("crm:1", "crm:2"))
    assert [one.person for one in ledger.projector.damaged()] == [person]
    assert ledger.projector.person(person) is None
    fresh = store.open()
    answers = [fresh.decide({**OPT_IN, "subject": subject}).outcome for subject in ("crm:1", "crm:2")]
    assert answers == ["deny", "permit"]
    accept(ledger, event(subject="crm:1"), event(subject="crm:2"))
    fresh.projector.catch_up()
    assert ledger.projector.damaged() == []
    anew = Projector(ledger.app, None)
    anew.catch_up()
    assert digest(fresh.projector) == digest(anew)


def test_judgements_that_were_altered_are_made_again(store):
    ledger = store.ledger
    accept(ledger, event("message.sent", {"list": None, "purpose": "promotion"}))
    found = ledger.findings({"controller": "parature"})
    assert found
    behind(ledger, "UPDATE judged SET findings='[]'")
    assert [one.what for one in ledger.projector.damaged()] == ["the row in judged was altered (run rebuild)"]
    assert store.open().findings({"controller": "parature", "subject": "crm:4711"}) == found
    assert ledger.projector.damaged() == []


@pytest.mark.parametrize("longer", [0, 1], ids=["as long", "longer"])
def test_a_projection_of_another_history_as_long_as_this_one_is_not_believed(store, tmp_path, longer):
    """An older copy of the store was put back, and life went on."""
    accept(store.ledger, event("subject.registered"))
    maintenance.back_up(store.ledger, tmp_path / "monday.db")
    accept(store.ledger, event("consent.granted"))
    store.ledger.findings({"controller": "parature"})
    store.shut()
    (tmp_path / "monday.db").replace(store.path)
    store.ledger = ledger = store.open()
    recover(ledger.app, store.clock())
    accept(ledger, event("optout.recorded"), *(event() for _ in range(longer)))
    fresh = store.open()
    assert fresh.decide({**OPT_IN, "subject": "crm:4711"}).outcome == "deny"
    assert "of another log" in str(fresh.projector.damaged())
    assert fresh.projector.catch_up() == fresh.app.current_head().size
    assert fresh.projector.damaged() == []
    assert fresh.decide({**OPT_IN, "subject": "crm:4711"}).outcome == "deny"


def test_the_cursor_carries_the_root_of_the_log_there(ledger, monkeypatch):
    fill(ledger, people=20, events=200)
    monkeypatch.setattr(module, "PAGE", 77)
    roots = []
    monkeypatch.setattr(crashpoints, "hook", lambda name: name == "projection committed" and roots.append(None))
    ledger.projector.catch_up(lambda _: roots.__setitem__(-1, ledger.projector.store.cursor()))
    with ledger.app.reading() as c:
        c.execute("SELECT leaf FROM entries ORDER BY position")
        leaves = [row[0] for row in c.fetchall()]
    assert len(roots) == -(-len(leaves) // 77)
    for cursor, root in roots:
        frontier = Frontier()
        frontier.extend(leaves[:cursor])
        assert root == frontier.root()


def test_rows_are_used_while_others_fold_further(store):
    """A row is of its person's entries, wherever the cursor stands."""
    accept(store.ledger, event("consent.granted"), event(subject="crm:2"))
    store.ledger.projector.catch_up()
    accept(store.ledger, event(subject="crm:2"))
    other = store.open()
    other.people._read = lambda _: 1 / 0  # of the log nothing is read
    assert other.decide({**OPT_IN, "subject": "crm:4711"}).outcome == "permit"
    assert other.decide({**OPT_IN, "subject": "crm:4711"}).size == other.app.current_head().size


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_owner_reads_the_projections_whatever_the_umask(ledger, umask):
    fill(ledger, people=5, events=50)
    path = ledger.projector.path.with_name("fresh")
    before = os.umask(umask)
    try:
        projector = Projector(ledger.app, path)
        projector.catch_up()
        files = {path, path.with_name("fresh-wal"), path.with_name("fresh-shm")}
        assert {file: oct(file.stat().st_mode & 0o777) for file in files} == dict.fromkeys(files, "0o600")
        projector.close()
        rebuild(ledger.app, path)
        assert oct(path.stat().st_mode & 0o777) == "0o600"
    finally:
        os.umask(before)


def test_rebuilding_exchanges_the_rows_under_those_who_have_them_open(ledger, monkeypatch):
    fill(ledger, people=5, events=50)
    path = ledger.projector.path
    file = path.stat().st_ino
    other = Projector(ledger.app, path)
    other.catch_up()
    told = []

    def meanwhile(name):
        if name == "before swap" and not told:
            told.append(name)
            with pytest.raises(sqlite3.OperationalError, match="locked"):  # nobody folds into what is exchanged
                sqlite3.connect(path, timeout=0, isolation_level=None).execute("BEGIN IMMEDIATE")

    monkeypatch.setattr(crashpoints, "hook", meanwhile)
    folded, differences = rebuild(ledger.app, path)
    assert (folded, differences, told) == (ledger.app.current_head().size, [], ["before swap"])
    assert path.stat().st_ino == file
    fill(ledger, people=2, events=10)
    assert other.catch_up() > 0
    assert other.damaged() == []
    other.close()
    assert [one.name for one in path.parent.glob("*.rebuilding*")] == []


def test_rebuilding_while_others_record_and_fold_finds_no_difference(ledger, monkeypatch):
    """Between the long fold and the comparison the log grows, and another process has folded that already."""
    fill(ledger, people=5, events=50)
    path = ledger.projector.path
    grown = []
    exchange = module._exchange

    def later(app, old, fresh):
        if len(grown) < 3:
            grown.append(fill(ledger, people=2, events=10))
            ledger.projector.catch_up()
        return exchange(app, old, fresh)

    monkeypatch.setattr(module, "_exchange", later)
    assert rebuild(ledger.app, path)[1] == []
    assert ledger.projector.cursor == ledger.app.current_head().size


def test_a_page_that_another_process_folded_beyond_what_is_seen_is_left_alone(ledger):
    fill(ledger, people=3, events=20)
    other = Projector(ledger.app, ledger.projector.path)
    with ledger.app.reading_newest():  # an answer sees no more than this
        done = threading.Thread(target=lambda: (fill(ledger, people=3, events=20), other.catch_up()))
        done.start()
        done.join()
        assert ledger.projector._fold_page() == 0
        assert ledger.projector.catch_up() == 0
    assert other.cursor == ledger.app.current_head().size
    assert ledger.projector.damaged() == []
    other.close()
