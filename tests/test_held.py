"""What SQLite cannot see of its file: other names, lost names, forks, descriptors that are closed."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from conftest import PERSON, Cli, accept, assert_whole, event, rows, stored

from consent_ledger.consumers import opening
from consent_ledger.consumers.maintenance import erase, examine
from consent_ledger.ledger import crashpoints
from consent_ledger.ledger.errors import KeyFileError, NotALedger, StoreBusy, StoreLost, StoreReadOnly, StoreShared
from consent_ledger.ledger.files import held
from consent_ledger.ledger.intake.application import open_file
from consent_ledger.ledger.store import sqlite_pool
from consent_ledger.ledger.vault import keys
from consent_ledger.ledger.vault.heads import SignedHead
from consent_ledger.ledger.vault.keys import FileKeys

OTHERS = """
import sys
from consent_ledger.consumers import open_ledger
from consent_ledger.ledger.errors import LedgerError
try:
    ledger = open_ledger(sys.argv[1], sys.argv[2])
    print("open", ledger.app.how, flush=True)
except LedgerError as error:
    print(type(error).__name__, error, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def other():
    """Another process that opens a store under a name. It lives until the test ends."""
    running = []

    def opened(path, keys):
        child = subprocess.Popen(
            [sys.executable, "-c", OTHERS, str(path), str(keys)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(child)
        return child.stdout.readline().strip()

    yield opened
    for child in running:
        child.communicate("\n")


# -- other names -------------------------------------------------------------------------------------------------------


def test_a_hard_link_of_a_store_in_use_is_refused(store, other):
    accept(store.ledger, event())
    link = store.path.with_name("link.db")
    link.hardlink_to(store.path)
    assert other(link, store.keys).startswith(f"StoreShared {link}: the same file is in use under another name")
    accept(store.ledger, event())
    assert other(store.path, store.keys) == "open linked"


@pytest.mark.parametrize("name", ["ledger.db", "link.db"])
def test_a_store_with_several_names_is_only_read(store, name):
    accept(store.ledger, event())
    given = stored(store.ledger)
    store.shut()
    link = store.path.with_name("link.db")
    link.hardlink_to(store.path)
    ledger = opening.open_ledger(str(store.path.with_name(name)), str(store.keys))
    assert stored(ledger) == given
    with pytest.raises(StoreReadOnly, match=r"several names, hard links.*remove the other names"):
        accept(ledger, event())
    ledger.projector.close()
    ledger.app.close()
    link.unlink()
    accept(store.reopen(), event())


def test_two_names_in_one_process(store):
    link = store.path.with_name("link.db")
    link.hardlink_to(store.path)
    with pytest.raises(StoreShared, match="in use under another name"):
        opening.open_ledger(str(link), str(store.keys))
    link.unlink()
    assert store.open().app.how == "rw"


@pytest.mark.parametrize("through", ["symlink", "relative", "folder"])
def test_other_ways_to_the_same_name_are_the_same_name(store, monkeypatch, through):
    monkeypatch.chdir(store.path.parent)
    match through:
        case "symlink":
            path = store.path.with_name("sym.db")
            path.symlink_to(store.path.name)
        case "relative":
            path = store.path.relative_to(store.path.parent)
        case "folder":
            folder = store.path.parent.with_name("elsewhere")
            folder.symlink_to(store.path.parent)
            path = folder / store.path.name
    again = opening.open_ledger(str(path), str(store.keys))
    accept(store.ledger, event())
    accept(again, event())
    assert stored(store.ledger) == stored(again)
    again.projector.close()
    again.app.close()


@pytest.mark.parametrize("since", ["another working folder", "the link leads elsewhere"])
def test_an_open_ledger_stays_with_its_files_wherever_their_names_lead_since(store, monkeypatch, tmp_path, since):
    """A process that goes to another folder, or a deployment that turns `current` round."""
    store.close()
    link = tmp_path / "current"
    link.symlink_to(store.path.parent)
    monkeypatch.chdir(store.path.parent)
    by = store.path.name if since == "another working folder" else str(link / store.path.name)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    opening.create_ledger(str(elsewhere / store.path.name)).close()
    theirs = {path.name: path.read_bytes() for path in elsewhere.glob("*.keys/*")}
    ledger = opening.open_ledger(by)
    monkeypatch.chdir(elsewhere)
    link.unlink()
    link.symlink_to(elsewhere)
    accept(ledger, event())
    with ThreadPoolExecutor(4) as pool:  # connections of their own
        histories = list(pool.map(lambda _: ledger.history({"controller": "parature", "subject": PERSON}), range(4)))
    assert erase(ledger, {"controller": "parature", "subject": PERSON})
    ledger.close()
    assert [len(rows) for rows in histories] == [1] * 4
    assert {path.name: path.read_bytes() for path in elsewhere.glob("*.keys/*")} == theirs
    assert '"kind":"erase"' in (store.keys / "erasures.ndjson").read_text()
    assert_whole(store.reopen())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_mount_of_the_file_is_another_name_one_of_the_folder_is_not(store, other, tmp_path, what):
    accept(store.ledger, event())
    source = store.path if what == "file" else store.path.parent
    target = tmp_path / "mounted"
    inside = target if what == "file" else target / store.path.name
    if what == "file":
        target.touch()
    else:
        target = tmp_path.parent / f"{tmp_path.name}-mounted"
        target.mkdir()
        inside = target / store.path.name
    if subprocess.run(["mount", "--bind", source, target], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        said = other(inside, store.keys)
        assert said == "open rw" if what == "folder" else said.startswith("StoreShared")
    finally:
        subprocess.run(["umount", "-l", target], check=True)


# -- lost names --------------------------------------------------------------------------------------------------------


def replaced(path):
    shutil.copyfile(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def moved(path):
    path.rename(path.with_name("moved"))


LOSSES = {"deleted": lambda path: path.unlink(), "replaced": replaced, "moved": moved}


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("when", ["before", "begun", "before commit", "after commit"])
def test_nothing_is_told_as_accepted_that_went_into_a_file_without_its_name(store, monkeypatch, suffix, how, when):
    accept(store.ledger, event())
    path = store.path.with_name(store.path.name + suffix)
    if when == "before":
        LOSSES[how](path)
    else:
        monkeypatch.setattr(
            crashpoints, "hook", lambda name: LOSSES[how](path) if name == when and path.exists() else None
        )
    with pytest.raises(StoreLost, match=rf"^{path}: was replaced or deleted while this ledger had it open"):
        store.ledger.record([event()])
    monkeypatch.setattr(crashpoints, "hook", None)
    with pytest.raises(StoreLost):
        store.ledger.record([event()])


def test_a_process_that_looks_at_the_store_takes_nothing_away(store):
    """A second ledger of the process is opened and closed, things are destroyed: another process finds the locks."""
    accept(store.ledger, event(), event("deletion.requested"), event("deletion.completed"))
    opening.open_ledger(store.name).app.close()
    examine(store.ledger)
    looked = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sqlite3; sqlite3.connect({str(store.path)!r}).execute('SELECT * FROM head').fetchall()",
        ],
        check=True,
    )
    assert looked.returncode == 0
    accept(store.ledger, event("optout.recorded"))
    assert rows(store.ledger, "SELECT count(*) FROM entries") == [store.ledger.app.current_head().size]


# -- descriptors -------------------------------------------------------------------------------------------------------


def test_one_descriptor_for_the_life_of_the_process(store):
    first = held.descriptor(store.path)
    store.reopen()
    assert held.descriptor(store.path) == first
    assert held.read(store.path, 0, 16) == b"SQLite format 3\0"
    whole = b"".join(held.chunks(store.path))
    assert whole == store.path.read_bytes()


def test_files_without_a_name_are_let_go(tmp_path):
    before = len(held._descriptors)
    for number in range(20):
        path = tmp_path / f"file-{number}"
        path.write_bytes(b"x")
        held.descriptor(path)
        path.unlink()
    (tmp_path / "last").write_bytes(b"x")
    held.descriptor(tmp_path / "last")
    assert len(held._descriptors) <= before + 1


@pytest.mark.parametrize("kind", ["folder", "fifo", "nothing"])
def test_what_is_no_file_is_not_opened(tmp_path, kind):
    path = tmp_path / "something"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(NotALedger, match=rf"^{path}: "):
        held.descriptor(path)


def test_pieces_overlap(tmp_path, monkeypatch):
    monkeypatch.setattr(held, "_CHUNK", 4)
    (tmp_path / "file").write_bytes(b"abcdefghij")
    assert list(held.chunks(tmp_path / "file", 2)) == [b"abcd", b"cdefgh", b"ghij"]


# -- forks -------------------------------------------------------------------------------------------------------------


def in_child(work):
    """What `work` returns, or raises, in a child process."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = work()
        except BaseException as error:  # noqa: BLE001  it is what the test is about
            said = f"{type(error).__name__}: {error}"
        os.write(into, str(said).encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as stream:
        said = stream.read()
    os.waitpid(child, 0)
    return said


def test_a_ledger_does_not_survive_a_fork(store):
    accept(store.ledger, event())
    given = stored(store.ledger)
    for work in (
        lambda: store.ledger.record([event()]),
        store.ledger.app.current_head,
        lambda: opening.open_ledger(store.name),
        lambda: opening.open_to_read(store.name),
    ):
        said = in_child(work)
        assert said.startswith("Forked: "), said
        assert "a ledger does not survive a fork (open it after forking" in said
    assert in_child(store.ledger.app.close) == "None"
    assert stored(store.ledger) == given
    accept(store.ledger, event())


BUSY = {  # what another thread is doing when the process forks: the locks of that are never free in the child
    "writes": lambda ledger: ledger.app._lock,
    "queues": lambda ledger: ledger.app._queue_lock,
    "folds": lambda ledger: ledger.projector._folding,
    "saves": lambda ledger: ledger.projector.store._writing,
    "loads": lambda ledger: ledger.projector.store._reading,
    "takes a session": lambda ledger: ledger._sessions._lock,
    "takes a connection": lambda ledger: ledger.app.store.datastore.pool._get_semaphore,
    "gives a connection back": lambda ledger: ledger.app.store.datastore.pool._put_condition,
}
WHO = {"controller": "parature", "subject": "crm:4711"}
CALLS = {
    "record": lambda ledger: ledger.record([event()]),
    "record below": lambda ledger: ledger.app.record([event()], 0),
    "add a pack": lambda ledger: ledger.app.add_pack(next(iter(opening.shipped_packs().values()))),
    "state": lambda ledger: ledger.state(WHO),
    "page": lambda ledger: ledger.app.page(0),
    "tell": lambda ledger: ledger.app.tell(ledger.app.current_head()),
    "fold": lambda ledger: ledger.projector.catch_up(),
    "damage": lambda ledger: ledger.projector.damaged(),
    "cursor": lambda ledger: ledger.projector.cursor,
    "doctor": examine,
    "reader": lambda ledger: ledger.app.reader(),
    "close": lambda ledger: ledger.close(),
    "forget": lambda ledger: ledger.app.store.datastore.__del__(),  # as the interpreter does at its end
}


@pytest.mark.parametrize("busy", BUSY)
def test_a_child_waits_for_no_thread_of_its_parent(store, busy):
    """A server forks while one of its threads is at work: the child is told, and does not hang."""
    accept(store.ledger, event())
    store.ledger.state(WHO)
    taken, done = threading.Event(), threading.Event()

    def work():
        with BUSY[busy](store.ledger):
            taken.set()
            done.wait()

    def soon(call):
        signal.alarm(10)  # a child that hangs ends, and says nothing
        return call(store.ledger)

    thread = threading.Thread(target=work)
    thread.start()
    assert taken.wait(30)
    try:
        said = {name: in_child(partial(soon, call)) for name, call in CALLS.items()}
    finally:
        done.set()
        thread.join()
    wrong = {name: one for name, one in said.items() if not one.startswith("Forked: ")}
    assert wrong == {"close": "None", "forget": "None"}
    accept(store.ledger, event())


def test_a_child_of_a_process_that_closed_its_ledger_opens_its_own(store):
    accept(store.ledger, event())
    store.shut()
    assert in_child(lambda: accept(opening.open_ledger(store.name), event())) == "[3]"
    assert store.reopen().app.current_head().size == 4


def test_a_child_that_ends_leaves_the_parents_log(store):
    """The interpreter of a child closes what it inherited: not these connections."""
    accept(store.ledger, event())
    child = os.fork()
    if child == 0:
        store.ledger.projector.store.db = None
        del store.ledger
        os._exit(0)
    os.waitpid(child, 0)
    log = store.path.with_name(store.path.name + "-wal")
    before = log.stat().st_ino
    accept(store.ledger, event("optout.recorded"))
    assert log.stat().st_ino == before


def test_a_child_does_not_keep_its_parents_turn(store):
    """A process forks in the middle of a write and is gone: the next writer does not wait for the child."""
    reading, writing = os.pipe()
    code = (
        "import os, sys, signal\n"
        "from consent_ledger.consumers import open_ledger\n"
        "from consent_ledger.ledger import crashpoints as points\n"
        "ledger = open_ledger(sys.argv[1])\n"
        "def hook(name):\n"
        "    if name == 'begun':\n"
        "        if os.fork() == 0:\n"
        "            os.read(int(sys.argv[2]), 1)\n"
        "            os._exit(0)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "points.hook = hook\n"
        "ledger.record([{}])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, store.name, str(reading)], pass_fds=[reading], check=False)
    assert done.returncode == -9
    accept(store.ledger, event())
    os.write(writing, b"x")
    os.close(reading)
    os.close(writing)


# -- read-only disks ---------------------------------------------------------------------------------------------------


@pytest.fixture
def read_only(store, monkeypatch):
    """Nothing of the store can be written, as on a read-only disk."""
    accept(store.ledger, event(), event("optout.recorded"))
    store.shut()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **more: mode != os.W_OK and access(path, mode, **more))
    return store


def test_a_store_that_cannot_be_written_is_read(read_only):
    before = sorted(path.name for path in read_only.path.parent.iterdir())
    ledger = opening.open_ledger(read_only.name)
    assert ledger.app.how == "immutable"
    assert len(stored(ledger)) == 4
    assert ledger.history({"controller": "parature"})
    with pytest.raises(StoreReadOnly, match="is open for reading only: the file or its disk cannot be written"):
        ledger.record([event()])
    assert all(row["ok"] for row in examine(ledger)), examine(ledger)
    ledger.projector.close()
    ledger.app.close()
    assert sorted(path.name for path in read_only.path.parent.iterdir()) == before


def test_projections_of_a_store_that_cannot_be_written_are_not_rebuilt(read_only):
    assert "is open for reading only: the file or its disk" in Cli(read_only.name).fails("rebuild", code=3)


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("closed", [True, False])
def test_what_another_mount_writes_makes_no_old_answer(read_only, monkeypatch, warm, closed):
    """A folder is mounted for reading only, and somebody has another mount of it: what he records is not overlooked."""
    reader = opening.open_ledger(read_only.name)
    question = {"controller": "parature", "subject": "crm:4711"}
    if warm:
        reader.state(question)
    code = (
        "import sys\nfrom consent_ledger.consumers import open_ledger\nledger = open_ledger(sys.argv[1])\n"
        f"ledger.record([{event('optout.recorded')!r}])\nprint(ledger.app.how, flush=True)\nsys.stdin.readline()\n"
        "ledger.close()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, read_only.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "rw\n"
        if closed:
            writer.communicate("\n")
        for ask in (lambda: reader.state(question), lambda: stored(reader), lambda: list(reader.history(question))):
            with pytest.raises(StoreLost, match=r"somebody did, by another way: what was read is old, or mixed \(open"):
                ask()
        again = opening.open_ledger(read_only.name)
        assert again.app.how == ("immutable" if closed else "denied")
        assert len(stored(again)) == 5
        again.close()
        if not closed:
            writer.communicate("\n")


def test_with_a_log_beside_it_it_is_read_through_that(store, monkeypatch):
    accept(store.ledger, event("optout.recorded"))
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **more: mode != os.W_OK and access(path, mode, **more))
    app = open_file(store.path, FileKeys(store.keys))
    assert app.how == "denied"
    app.load()
    assert app.current_head().size == 3
    app.close()


def free(handle):
    """Whether nobody has a lock on a file."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(handle, fcntl.LOCK_UN)
    return True


# -- turns -------------------------------------------------------------------------------------------------------------


def test_writers_of_one_folder_of_keys_take_turns(store):
    """Whoever waits is not overtaken twice: a writer that goes on and on lets another in."""
    first, second = FileKeys(store.keys), FileKeys(store.keys)
    order = []

    def other():
        with second.turn():
            order.append("other")

    thread = threading.Thread(target=other)
    with first.turn():
        thread.start()
        with (store.keys / "queue.lock").open("rb") as queue:
            while free(queue):  # until the other one waits
                pass
    while "other" not in order:
        with first.turn():
            order.append("mine")
    thread.join()
    assert order.count("mine") < 50
    first.close()
    second.close()


def test_a_turn_that_never_comes_is_an_error_that_can_be_tried_again(store, monkeypatch):
    monkeypatch.setattr(keys, "TURN_SECONDS", 0.01)
    other = FileKeys(store.keys)
    with other.turn(), pytest.raises(StoreBusy, match="another process with these keys is writing") as caught:
        store.ledger.record([event()])
    assert caught.value.retryable
    accept(store.ledger, event())
    other.close()


def test_nothing_is_noted_in_a_folder_that_became_another_stores(store, tmp_path):
    accept(store.ledger, event())
    opening.create_ledger(str(tmp_path / "theirs.db")).close()
    theirs, away = tmp_path / "theirs.db.keys", tmp_path / "away"
    before = {path.name: path.read_bytes() for path in theirs.iterdir()}
    store.keys.rename(away)
    theirs.rename(store.keys)
    with pytest.raises(KeyFileError, match=r"holds the keys of another store since .put the right folder back"):
        erase(store.ledger, {"controller": "parature", "subject": PERSON})
    assert {path.name: path.read_bytes() for path in store.keys.iterdir()} == before
    store.keys.rename(theirs)
    away.rename(store.keys)
    accept(store.ledger, event())
    assert_whole(store.reopen())


@pytest.mark.parametrize("lost", [("turn.lock",), ("queue.lock",), ("queue.lock", "turn.lock")])
@pytest.mark.parametrize("how", [replaced, Path.unlink], ids=["replaced", "deleted"])
def test_a_lock_whose_file_lost_its_name_excludes_nobody_and_is_taken_anew(store, monkeypatch, lost, how):
    """Somebody tidied up, or put back the folder of keys, under a process that had the files open."""
    accept(store.ledger, event())
    for name in lost:
        how(store.keys / name)
    monkeypatch.setattr(keys, "TURN_SECONDS", 0.01)
    other = FileKeys(store.keys)
    with store.ledger.app.keys.turn(), pytest.raises(StoreBusy), other.turn():
        pass
    with other.turn():
        pass
    other.close()
    accept(store.ledger, event())


def test_two_who_write_at_once_never_note_less_than_was_told(store):
    """Even where both have a turn, because the locks were deleted under one of them."""
    first, second = FileKeys(store.keys), FileKeys(store.keys)
    for one in (first, second):
        one.reserve_head()
    second.note_head(SignedHead("a/log", 6, b"r" * 32))
    first.note_head(SignedHead("a/log", 5, b"r" * 32))
    first.note_head(SignedHead("b/log", 1, b"r" * 32))
    fresh = FileKeys(store.keys)
    assert [fresh.signed_head(log).size for log in ("a/log", "b/log")] == [6, 1]
    for one in (first, second, fresh):
        one.close()


def test_a_stop_between_taking_a_lock_and_using_it_gives_it_back(store, monkeypatch):
    take = FileKeys._take

    def stopped(folder, name, until):
        take(folder, name, until)
        if name == "turn.lock":
            raise KeyboardInterrupt

    mine, other = FileKeys(store.keys), FileKeys(store.keys)
    with monkeypatch.context() as patch:
        patch.setattr(FileKeys, "_take", stopped)
        with pytest.raises(KeyboardInterrupt), mine.turn():
            pass
    monkeypatch.setattr(keys, "TURN_SECONDS", 0.01)
    with other.turn():
        pass
    mine.close()
    other.close()


def test_a_log_that_grew_under_a_reader_is_cut_back_when_that_is_gone(store, monkeypatch):
    monkeypatch.setattr(sqlite_pool, "PRAGMAS", (*sqlite_pool.PRAGMAS[:-1], "journal_size_limit=65536"))
    ledger = store.open()
    log = store.path.with_name(store.path.name + "-wal")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        while log.stat().st_size < 8 << 20:
            accept(ledger, *(event(subject=f"crm:{number}") for number in range(500)))
    for _ in range(3):
        accept(ledger, event())
    assert log.stat().st_size < 1 << 20


def test_logs_are_cut_back_in_use(store):
    for statement in sqlite_pool.PRAGMAS:
        name, value = statement.split("=")
        if name == "journal_size_limit":
            assert rows(store.ledger, f"PRAGMA {name}") == [int(value)]
            assert store.ledger.projector.store.db.execute(f"PRAGMA {name}").fetchone()[0] == int(value)


def test_sqlite_still_knows_its_own_locks(store):
    """The descriptor of ours takes none of the locks that SQLite's have: another process sees them."""
    accept(store.ledger, event())
    code = f"""
import fcntl, struct
handle = open({str(store.path)!r}, "rb+")
asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0x40000000 + 2, 510, 0)
print(struct.unpack("hhqqi4x", fcntl.fcntl(handle, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)
"""
    held.read(store.path, 0, 100)
    sqlite3.connect(store.path).close()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("how", LOSSES)
def test_nothing_is_answered_from_a_file_without_its_name(store, suffix, how):
    accept(store.ledger, event())
    question = {"controller": "parature", "subject": "crm:4711"}
    assert store.ledger.history(question)
    LOSSES[how](store.path.with_name(store.path.name + suffix))
    with pytest.raises(StoreLost, match="was replaced or deleted while this ledger had it open"):
        store.ledger.history(question)
