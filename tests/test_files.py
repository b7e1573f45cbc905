"""Durable writes: whole or not at all, owner only, never onto a torn line."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from consent_ledger.ledger.errors import StoreBusy, StoreFull, StoreReadOnly
from consent_ledger.ledger.files import durable

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.fixture
def few_bytes(monkeypatch):
    """The kernel takes at most three bytes at a time."""
    write, pwrite = os.write, os.pwrite
    monkeypatch.setattr(os, "write", lambda handle, body: write(handle, bytes(body[:3])))
    monkeypatch.setattr(os, "pwrite", lambda handle, body, offset: pwrite(handle, bytes(body[:3]), offset))


@pytest.fixture
def full_disk(monkeypatch):
    """After five bytes the disk is full."""
    left = [5]

    def full(write):
        def some(handle, body, *offset):
            if not left[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            done = write(handle, bytes(body[: left[0]]), *offset)
            left[0] -= done
            return done

        return some

    monkeypatch.setattr(os, "write", full(os.write))
    monkeypatch.setattr(os, "pwrite", full(os.pwrite))


def test_everything_is_the_owners_alone_whatever_the_umask(tmp_path, umask):
    durable.private_folder(tmp_path / "made")
    folder = tmp_path / "made"
    durable.create(folder / "new", b"x")
    durable.replace(folder / "put", b"x")
    durable.append_line(folder / "journal", b"{}")
    assert mode(folder) == 0o700
    assert {mode(path) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("deep", [1, 2, 4])
def test_every_folder_that_is_made_is_forced_to_disk(tmp_path, monkeypatch, deep):
    forced, force = [], os.fsync

    def remember(handle):
        forced.append(Path(f"/proc/self/fd/{handle}").readlink())
        force(handle)

    monkeypatch.setattr(os, "fsync", remember)
    folder = tmp_path.joinpath(*"abcd"[:deep])
    durable.private_folder(folder)
    assert forced == list(reversed(folder.parents[:deep]))  # the one in which something was made; the uppermost first
    durable.private_folder(folder)
    assert len(forced) == deep


def test_a_folder_that_is_too_wide_is_mended_with_a_word(tmp_path, caplog):
    (tmp_path / "wide").mkdir(mode=0o755)
    (tmp_path / "wide").chmod(0o755)
    durable.private_folder(tmp_path / "wide")
    assert mode(tmp_path / "wide") == 0o700
    assert "others could read it; its rights are now 700" in caplog.text


def test_rights_that_cannot_be_mended_are_refused(tmp_path, monkeypatch):
    (tmp_path / "wide").write_bytes(b"secret")
    (tmp_path / "wide").chmod(0o644)

    def no(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", no)
    with pytest.raises(StoreReadOnly, match=r"others may read it, .*run: chmod 600 .*wide"):
        durable.mend(tmp_path / "wide")


def test_what_the_kernel_takes_in_parts_is_written_whole(tmp_path, few_bytes):
    durable.create(tmp_path / "new", b"something long")
    durable.append_line(tmp_path / "journal", b'{"a": "line"}')
    durable.append_line(tmp_path / "journal", b'{"another": "line"}')
    assert (tmp_path / "new").read_bytes() == b"something long"
    assert (tmp_path / "journal").read_bytes() == b'{"a": "line"}\n{"another": "line"}\n'


@pytest.mark.parametrize("old", [b"", b'{"old": 1}\n'], ids=["empty", "with a line"])
def test_a_line_that_does_not_fit_is_not_there_at_all(tmp_path, full_disk, old):
    (tmp_path / "journal").write_bytes(old)
    with pytest.raises(OSError, match="No space"):
        durable.append_line(tmp_path / "journal", b'{"longer": "than five bytes"}')
    assert (tmp_path / "journal").read_bytes() == old


def test_a_file_that_does_not_fit_leaves_the_old_one(tmp_path, full_disk):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        durable.replace(tmp_path / "file", b"something long")
    with pytest.raises(OSError, match="No space"):
        durable.create(tmp_path / "new", b"something long")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("torn", [b'{"torn":', b'{"whole": 1}\n{"torn', b"\0\0\0", b"nobody's\n{"])
def test_nothing_is_appended_to_a_torn_line(tmp_path, torn):
    path = tmp_path / "journal"
    path.write_bytes(torn)
    durable.append_line(path, b'{"new": 1}')
    found, foreign = durable.read_lines(path)
    assert found == ([{"whole": 1}] if b"whole" in torn else []) + [{"new": 1}]
    assert foreign == len([line for line in torn.strip(b"\0").split(b"\n") if line and b"whole" not in line])


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link", "left over", "folder"])
def test_nothing_is_written_through_what_stands_in_the_place_of_a_new_file(tmp_path, kind):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    beside = tmp_path / "file.partial"
    match kind:
        case "symlink":
            beside.symlink_to(victim)
        case "dangling":
            beside.symlink_to(tmp_path / "nowhere")
        case "hard link":
            beside.hardlink_to(victim)
        case "left over":
            beside.write_bytes(b"from an attempt that was cut short, and longer")
        case "folder":
            beside.mkdir()
    if kind == "folder":
        with pytest.raises(OSError, match=r"file\.partial"):
            durable.replace(tmp_path / "file", b"new")
    else:
        durable.replace(tmp_path / "file", b"new")
        assert (tmp_path / "file").read_bytes() == b"new"
        assert not os.path.lexists(beside)
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_whole_file_takes_nothings_place(tmp_path):
    durable.create_whole(tmp_path / "key", b"first")
    with pytest.raises(FileExistsError):
        durable.create_whole(tmp_path / "key", b"second")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("key", b"first")]
    assert (tmp_path / "key").stat().st_nlink == 1


def test_two_who_write_one_file_do_not_mix(tmp_path):
    with durable.partial(tmp_path / "file") as (handle, _):
        durable.write_all(handle, b"first")
        with pytest.raises(StoreBusy, match="another process is writing it"):
            durable.replace(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"


def test_a_file_whose_partial_was_put_away_gets_no_name(tmp_path):
    def pieces():
        yield b"first"
        (tmp_path / "file.partial").unlink()
        (tmp_path / "file.partial").write_bytes(b"somebody else's")

    with pytest.raises(StoreBusy, match="another process wrote it meanwhile"):
        durable.replace(tmp_path / "file", pieces())
    assert [path.name for path in tmp_path.iterdir()] == ["file.partial"]


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.ENOSPC, StoreFull), (errno.EIO, StoreFull), (errno.EROFS, StoreReadOnly), (errno.EACCES, StoreReadOnly)],
)
def test_errors_of_the_system_say_what_to_do(tmp_path, number, error):
    with pytest.raises(error, match=r"^/some/file: .*\("), durable.readable(tmp_path):
        raise OSError(number, os.strerror(number), "/some/file")


@pytest.mark.parametrize("calls", range(1, 40))
def test_two_files_are_replaced_both_or_neither_wherever_that_ends(tmp_path, calls):
    """The process ends at every call in turn: afterwards both files are the old ones, or both the new ones."""
    first, second = tmp_path / "first", tmp_path / "second"
    durable.replace_both(first, second, (b"old", b"old"))

    class Ended(BaseException):
        pass

    left = [calls]

    def profile(frame, kind, function):
        if kind == "c_call" and function.__name__ in (
            "open",
            "write",
            "fsync",
            "rename",
            "ftruncate",
            "flock",
            "close",
        ):
            left[0] -= 1
            if left[0] == 0:
                raise Ended

    sys.setprofile(profile)
    try:
        durable.replace_both(first, second, (b"new", b"new"))
    except Ended:
        pass
    finally:
        sys.setprofile(None)
    durable.finish_both(first, second)
    assert (first.read_bytes(), second.read_bytes()) in ((b"old", b"old"), (b"new", b"new"))
    if left[0] > 0:
        assert first.read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


# -- a store's file is SQLite's alone ----------------------------------------------------------------------------------

_OPENING = {"open", "fdopen", "read_bytes", "read_text", "write_bytes", "write_text", "mmap", "copyfile", "touch"}
# Whatever opens a file, and why it is never a store's: the one that may is `descriptor`.
_MAY = {
    "consumers/cli/app.py": "the null device",
    "consumers/cli/commands/questions.py": "files of questions",
    "consumers/cli/commands/stores.py": "files of events",
    "consumers/demo/story.py": "the demo's own evidence",
    "consumers/demo/generator.py": "files of events that it makes",
    "consumers/ingest.py": "files of events",
    "consumers/opening.py": "files of packs",
    "consumers/packs/check.py": "files of packs",
    "consumers/packs/diff.py": "files of packs",
    "consumers/packs/reference.py": "pages of the reference",
    "consumers/packs/clauses.py": "files of scenarios",
    "consumers/scenarios.py": "files of scenarios",
    "consumers/maintenance.py": "evidence",
    "ledger/files/durable.py": "what it writes itself",
    "ledger/store/postgres.py": "the pool of connections",
    "ledger/store/sqlite.py": "a new file, before it is in use",
    "ledger/vault/heads.py": "the file of heads",
    "ledger/files/held.py": "descriptor",
    "ledger/vault/keys.py": "keys and locks in the keys folder",
    "ledger/log/verifier.py": "evidence",
}


def opens(path):
    """(function, line) of every call that opens a file by itself."""
    found = []
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    if name in _OPENING:
                        found.append((function.name, node.lineno))
    return found


def test_only_one_function_opens_a_stores_file():
    sources = [path for package in ("ledger", "projections", "consumers") for path in (ROOT / package).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): names for path in sources if (names := opens(path))}
    assert found.keys() <= _MAY.keys(), "a file is opened here: never a store's (ledger/files/held.py says why)"
    assert {name for name, _ in found["ledger/files/held.py"]} == {"descriptor"}


WATCHED = """
import os, sys
from pathlib import Path
opened = []
def hook(event, args):
    if event == "open" and isinstance(args[0], (str, bytes, Path)) and os.fsdecode(args[0]).startswith(STORE):
        frame = sys._getframe(1)
        while frame.f_globals.get("__name__") in ("pathlib", "io", "os"):
            frame = frame.f_back
        opened.append((Path(os.fsdecode(args[0])).name, frame.f_globals["__name__"], frame.f_code.co_name))
FOLDER = Path(sys.argv[1])
STORE = str(FOLDER / "s.db")
sys.addaudithook(hook)
from consent_ledger.consumers import create_ledger, open_ledger, shipped_packs
from consent_ledger.consumers.maintenance import back_up, erase, evidence_for, examine, restore
ledger = create_ledger("sqlite:///" + STORE)
pack = ledger.app.add_pack(shipped_packs()["parature"])
number = iter(range(1000))
def say(kind, subject, **data):
    body = {"specversion": "1.0", "source": "urn:app", "id": str(next(number)), "type": kind, "controller": "parature",
            "time": "2026-01-02T00:00:00Z", "data": data}
    [outcome] = ledger.record([{**body, "subject": subject} if subject else body])
    assert outcome.kind == "accepted", outcome
say("policy.published", None, version="1", text_sha256="00", pack_sha256=pack.sha256)
for name in ("ann", "ben", "cat"):
    say("service.used", name, service="desk", personal={"email": name + "@example.com"})
back_up(ledger, FOLDER / "copy.db")
say("deletion.requested", "ann", request="r", personal={"full_name": "Ann", "email": "ann@example.com"})
say("deletion.completed", "ann", request="r")
erase(ledger, {"controller": "parature", "subject": "ben"})
evidence_for(ledger, {"controller": "parature", "subject": "cat"}, ["all"], auditor=False)
assert all(row["ok"] for row in examine(ledger)), examine(ledger)
open_ledger("sqlite:///" + STORE).close()
restore(Path(STORE), FOLDER / "again.db", FOLDER / "s.db.keys")
restore(FOLDER / "copy.db", FOLDER / "older.db", FOLDER / "s.db.keys")
say("optout.recorded", "cat", scope="all")
mine = [one for one in opened if one[0] in ("s.db", "s.db.partial", "s.db-wal", "s.db-shm")]
print(sorted(set(mine)), len(mine))
"""


def test_what_a_process_opens_of_a_store_by_itself_is_opened_once(tmp_path):
    done = subprocess.run([sys.executable, "-c", WATCHED, tmp_path], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    # made before it is a store; then opened once, under that name, and its log once, for the restore
    ours = [
        ("s.db-wal", "consent_ledger.ledger.files.held", "descriptor"),
        ("s.db.partial", "consent_ledger.ledger.files.durable", "create"),
    ]
    assert done.stdout == f"{sorted([*ours, ('s.db.partial', 'consent_ledger.ledger.files.held', 'descriptor')])} 3\n"
