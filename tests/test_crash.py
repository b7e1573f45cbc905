"""`kill -9` at every marked point and at random moments: nothing is lost, doubled or half done.

The child (crash_child.py) kills itself, at a moment that is counted and never timed. A seed names a series of random
moments: CRASH_SEED=... repeats it.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import crash_child
import pytest
from conftest import PACKS, accept, assert_whole, decoded, event, ndjson, rows, size, stored
from test_erasure import remains, traces

from consent_ledger.consumers import ingest as ingest_module
from consent_ledger.consumers import maintenance, moving, opening
from consent_ledger.consumers.demo.generator import NOW, generate, write
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import StoreError
from consent_ledger.ledger.intake.recovery import recover
from consent_ledger.ledger.log.verifier import verify_consistency
from consent_ledger.ledger.proof.evidence import prove_consistency
from consent_ledger.ledger.times import parse_time
from consent_ledger.projections.read.projector import Projector, rebuild

ROOT = Path(__file__).parents[1]
SOURCES = [path for package in ("ledger", "projections", "consumers") for path in (ROOT / package).rglob("*.py")]
POINTS = sorted({name for path in SOURCES for name in re.findall(r'points\.reached\(\s*"([^"]+)"', path.read_text())})
KINDS = ["point", "statement", "step", "call", "bytes"]
KILLED = {-signal.SIGKILL, -signal.SIGXFSZ}


class Folder:
    """A store in a folder of its own, and the child that works on it."""

    def __init__(self, folder, world):
        self.path, self.world = folder / "ledger.db", world

    def copy(self, folder):
        shutil.copytree(self.path.parent, folder)
        return Folder(folder, self.world)

    def run(self, mode, *kill):
        """Run the child. Returns whether it was killed, and what it met if it was not."""
        job = {"store": f"sqlite:///{self.path}", "mode": mode, "kill": kill, **self.world}
        command = [sys.executable, crash_child.__file__, json.dumps(job)]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode in KILLED:
            return True, None
        assert done.returncode == 0, done.stderr
        return False, Counter(json.loads(done.stdout))

    def killed(self, mode, *kill):
        assert self.run(mode, *kill)[0], f"{mode} never came to {kill}"

    @contextmanager
    def opened(self):
        ledger = opening.open_ledger(f"sqlite:///{self.path}")
        try:
            yield ledger
        finally:
            ledger.projector.close()
            ledger.app.close()

    def resume(self, ledger):
        with Path(self.world["file"]).open("rb") as stream:
            ingest_module.ingest(ledger, stream, "events")


# -- what is true after any death --------------------------------------------------------------------------------------


def told(ledger):
    """What the log says, in order, and what was undeliverable; nothing that is drawn at random."""
    said = []
    for entry in decoded(ledger):
        refused = entry.type == "intake.refused"
        said.append(
            (entry.type, *entry.data.model_dump().values()) if refused else (entry.type, entry.source, entry.id)
        )
    return said, Counter(rows(ledger, "SELECT origin, line, field, reason, bytes FROM dead_letters"))


def check_grown(ledger, before=(), old=None):
    """Nothing is half, the entries and the head from before are the beginning of today's. Returns both of today."""
    assert_whole(ledger, before)
    assert rows(ledger, "SELECT position FROM entries ORDER BY position") == list(range(len(stored(ledger))))
    head = ledger.app.current_head()
    if old is not None and old.size:
        verify_consistency(old.size, head.size, old.root, head.root, prove_consistency(ledger.app, old.size))
    return stored(ledger), head


def check_projections(ledger):
    """Caught up, the projections are what folding everything anew gives, and so says rebuild."""
    ledger.projector.catch_up()
    fresh = Projector(ledger.app, None)
    fresh.catch_up()
    assert contents(ledger.projector) == contents(fresh)
    fresh.close()
    ledger.projector.close()
    assert rebuild(ledger.app, ledger.projector.path)[1] == []
    assert list(ledger.projector.path.parent.glob("*.rebuilding*")) == []


def contents(projector):
    return projector.cursor, projector.store.db.execute("SELECT * FROM people ORDER BY person").fetchall()


def check_resumed(store, reference):
    """Resume the killed ingest to its end: everything is there, once."""
    with store.opened() as ledger:
        before, head = check_grown(ledger)
        store.resume(ledger)
        check_grown(ledger, before, head)
        assert told(ledger) == reference
        assert all(check["ok"] for check in maintenance.examine(ledger))
        assert rows(ledger, "SELECT name FROM meta WHERE name GLOB 'unscrubbed:*'") == []
        check_projections(ledger)


def suppressed(ledger):
    """What outlives erased persons, and what is still on its way there."""
    kept = rows(ledger, "SELECT hex(key), CAST(said AS TEXT) FROM suppressed ORDER BY 1, 2")
    return [list(one) for one in kept], rows(ledger, "SELECT person FROM addresses ORDER BY 1")


def check_erased(store, whole, needles):
    """Erase again or find it done: no trace is left, and it was done once."""
    with store.opened() as ledger:
        person = ledger.app.person(*store.world["who"].values())
        before, head = check_grown(ledger)
        if person is not None:  # the transaction was taken back as a whole
            assert before == whole
            assert traces(ledger, *store.world["names"]) == needles
            maintenance.erase(ledger, store.world["who"])
        assert all(check["ok"] for check in maintenance.examine(ledger))
        check_grown(ledger, before, head)
        assert stored(ledger)[: len(whole)] == whole
        added = decoded(ledger)[len(whole) :]
        staying = [
            entry.data.marketing for entry in added if entry.type == "suppression.carried"
        ]  # of the same address
        assert all(staying)
        assert [entry.type for entry in added if entry.type != "suppression.carried"] == ["subject.erased"] * 2
        assert ledger.app.keys.erasures()
        assert suppressed(ledger) == store.world["suppressed"]
        check_projections(ledger)
    assert remains(store, needles) == set()


def check_made(store):
    """What was to be made is there whole, or not at all and made now."""
    path = store.path.with_name("made.db")
    ledger = opening.open_ledger(str(path)) if path.exists() else opening.create_ledger(str(path))
    ledger.app.add_pack(PACKS["parature"])
    assert all(check["ok"] for check in maintenance.examine(ledger))
    ledger.close()
    assert not (path.with_name("made.db.keys") / "unfinished").exists()
    assert list(path.parent.glob("made.db.partial*")) == []


OF_ERASURE = (b"log.recovered", b"subject.erased", b'"marketing":true')


def check_copied(store):
    """A backup is whole or not there, and so is what is restored from it; whoever was erased since stays erased."""
    copy, again = store.path.with_name("copy.db"), store.path.with_name("again.db")
    with store.opened() as ledger:
        keys, given = ledger.app.keys.folder, stored(ledger)
        erased = ledger.app.person(*store.world["who"].values()) is None
        if not copy.exists():
            maintenance.back_up(ledger, copy)
    if not again.exists():
        maintenance.restore(copy, again, keys)
    ledger = opening.open_ledger(str(again), str(keys))
    kept = [state for state in stored(ledger) if not any(one in state for one in OF_ERASURE)]
    assert kept == given[: len(kept)]
    # but the entries that say that somebody was erased, and who stays bound
    assert all(any(one in state for one in OF_ERASURE) for state in given[len(kept) :])
    if erased:
        assert ledger.app.person(*store.world["who"].values()) is None
    if ledger.app.how == "retired" or (erased and not ledger.app.origin.endswith("/r2")):
        recover(ledger.app, ledger.clock())
    accept(ledger, event(controller="parature", time=NOW))
    assert all(check["ok"] for check in maintenance.examine(ledger)), maintenance.examine(ledger)
    ledger.close()
    assert list(copy.parent.glob("*.partial*")) == []


def check_moved(store):
    """A copy of the store is there whole, or not at all and made now; it goes on where the store was."""
    path = store.path.with_name("moved.db")
    with store.opened() as ledger:
        keys, given = ledger.app.keys.folder, stored(ledger)
    if not path.exists():
        moving.copy(f"sqlite:///{store.path}", f"sqlite:///{path}", str(keys))
    ledger = opening.open_ledger(str(path), str(keys))
    accept(ledger, event(controller="parature", time=NOW))
    assert_whole(ledger, given)
    assert all(check["ok"] for check in maintenance.examine(ledger))
    ledger.close()
    assert list(path.parent.glob("*.partial*")) == []


# -- fixtures ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def settings():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "clock", lambda: parse_time(NOW))
        patch.setattr(ingest_module, "BATCH", crash_child.BATCH)
        yield


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A store with packs and nothing else, and the events that are to come."""
    folder = tmp_path_factory.mktemp("crash")
    stream = generate(people=100, events=1500, packs=PACKS)
    write(folder / "events.ndjson", stream)
    linked = next(one for one in stream.events if one["type"] == "subject.linked" and one["controller"] == "parature")
    names = [linked["subject"], linked["data"]["personal"]["other"]]
    who = {"controller": "parature", "subject": names[0]}
    no = event("optout.recorded", {"scope": "all"}, {"email": "ann@example.com"}, subject=names[0], time=NOW)
    with (folder / "events.ndjson").open("ab") as lines:
        lines.write(ndjson(no))
    store = folder / "empty"
    store.mkdir()
    ledger = opening.create_ledger(f"sqlite:///{store / 'ledger.db'}")
    for body in PACKS.values():
        ledger.app.add_pack(body)
    ledger.projector.close()
    ledger.app.close()
    return Folder(store, {"file": str(folder / "events.ndjson"), "who": who, "names": names})


@pytest.fixture(scope="module")
def whole(empty, tmp_path_factory):
    """The same after an ingest that nothing interrupted, and what the child met on its way."""
    store = empty.copy(tmp_path_factory.mktemp("whole") / "store")
    killed, met = store.run("ingest")
    assert not killed
    return store, met


@pytest.fixture(scope="module")
def reference(whole):
    with whole[0].opened() as ledger:
        said, letters = told(ledger)
        kinds = Counter(kind for kind, *_ in said)
        assert len(said) > 1400
        assert min(kinds["intake.refused"], kinds["deletion.completed"], letters.total()) > 5
        return said, letters


@pytest.fixture(scope="module")
def met(whole, tmp_path_factory):
    """What each mode meets when nothing kills it."""
    store, by_ingest = whole
    found = {"ingest": by_ingest}
    for mode in crash_child.MODES.keys() - found.keys():
        done = store.copy(tmp_path_factory.mktemp(mode) / "store")
        found[mode] = done.run(mode)[1]
        if mode == "erase":
            with done.opened() as ledger:
                store.world["suppressed"] = suppressed(ledger)
            assert store.world["suppressed"][0]
    return found


# -- the tests ---------------------------------------------------------------------------------------------------------


def test_the_points_are_found_in_the_source():
    assert len(POINTS) >= 16
    assert {"before commit", "after commit", "before swap", "after swap"} <= set(POINTS)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point(point, empty, whole, reference, met, tmp_path):
    modes = [mode for mode in crash_child.MODES if met[mode][f"point {point}"]]
    assert modes, f"no child comes to {point!r}: give crash_child.py a mode that does"
    for mode in modes:
        times = met[mode][f"point {point}"]
        for number in sorted({1, times}):
            store = (empty if mode == "ingest" else whole[0]).copy(tmp_path / f"{mode}-{number}")
            if mode == "ingest":
                store.killed(mode, "point", point, number)
                check_resumed(store, reference)
            elif mode == "erase":
                with store.opened() as ledger:
                    before, needles = stored(ledger), traces(ledger, *store.world["names"])
                store.killed(mode, "point", point, number)
                check_erased(store, before, needles)
            elif mode == "rebuild":
                store.killed(mode, "point", point, number)
                with store.opened() as ledger:
                    check_projections(ledger)
            else:
                store.killed(mode, "point", point, number)
                {"init": check_made, "copy": check_moved}.get(mode, check_copied)(store)


def random_kill(kind, rng, met):
    """A moment to die at, within the first third of the work."""
    if kind == "bytes":
        return kind, rng.randrange(40_960, 1_000_000)
    name = [kind]
    if kind == "point":
        name = ["point", rng.choice([one for one in POINTS if met[f"point {one}"] > 3])]
    return *name, rng.randrange(1, max(2, met[" ".join(name)] // 3))


def test_fifty_kills_at_random_moments(empty, reference, met, tmp_path):
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(2**32))
    print(f"CRASH_SEED={seed}")  # noqa: T201  shown where the test fails
    rng, died, stores = random.Random(seed), Counter(), 0
    while died.total() < 50 or stores < 6:
        stores += 1
        assert stores < 30, died
        store, before, head = empty.copy(tmp_path / f"store-{stores}"), [], None
        for _ in range(rng.randrange(3, 9)):
            kill = random_kill(KINDS[died.total() % len(KINDS)], rng, met["ingest"])
            print("store", stores, "kill", *kill)  # noqa: T201
            if not store.run("ingest", *kill)[0]:
                break
            died[kill[0]] += 1
            with store.opened() as ledger:
                before, head = check_grown(ledger, before, head)
        check_resumed(store, reference)
        shutil.rmtree(store.path.parent)
    print(stores, "stores", dict(died))  # noqa: T201


# -- the projections, without a death ----------------------------------------------------------------------------------


def test_two_who_fold_into_one_file_count_each_entry_once(store):
    app, path = store.ledger.app, store.path.with_name("shared")
    one, other = Projector(app, path), Projector(app, path)
    for turn in (one, other, one, one, other):
        accept(store.ledger, event(), event())
        turn.catch_up()
    fresh = Projector(app, None)
    fresh.catch_up()
    assert contents(one) == contents(other) == contents(fresh)


def test_while_one_folds_a_page_the_other_waits_and_then_leaves_it_to_that(store, monkeypatch):
    path = store.path.with_name("shared")
    one, other = Projector(store.ledger.app, path), Projector(store.ledger.app, path)
    other.store.db.execute("PRAGMA busy_timeout=1")
    accept(store.ledger, event())
    fold = one._fold

    def folding(entries):
        touched = fold(entries)
        assert other.catch_up() == 0
        return touched

    monkeypatch.setattr(one, "_fold", folding)
    assert one.catch_up() == other.cursor == size(store.ledger)
    assert contents(one) == contents(other)


@pytest.mark.parametrize("where", ["locked", "refold", "point"])
def test_what_could_not_be_folded_is_folded_once_later(store, monkeypatch, where):
    projector = Projector(store.ledger.app, store.path.with_name("other"))
    projector.store.db.execute("PRAGMA busy_timeout=1")
    accept(store.ledger, event(), event(subject="crm:2"))
    projector.catch_up()
    late = event(subject="crm:2", time="2025-06-01T00:00:00Z")
    accept(store.ledger, event(), *([late] if where == "refold" else []))

    def fail(*_):
        raise sqlite3.OperationalError("no")

    with sqlite3.connect(projector.path, isolation_level=None) as lock, monkeypatch.context() as patch:
        if where == "locked":
            lock.execute("BEGIN IMMEDIATE")
        elif where == "refold":
            patch.setattr(projector, "_refold", fail)
        else:
            patch.setattr(crashpoints, "hook", fail)
        if where == "locked":
            assert projector.catch_up() == 0
        else:
            with pytest.raises(StoreError):
                projector.catch_up()
    lock.close()
    projector.catch_up()
    fresh = Projector(store.ledger.app, None)
    fresh.catch_up()
    assert contents(projector) == contents(fresh)
