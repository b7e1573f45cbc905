"""The hammer: many processes and threads on one store, killed at random. It looks for lost and contradicted events.

    python tests/hammer.py --minutes 10 --seed 7
    python tests/hammer.py --store postgresql

Workers (hammer_worker.py) record, ask and erase at random, each with a journal of what was acknowledged. Meanwhile a
visitor runs commands of the command line: backups, restores to a scratch place, rebuilds, doctor. Workers, and now and
then a command, are killed with SIGKILL and started again. At intervals all workers are held and the store is compared
with the journals. The seed is printed: the same seed makes the same plan, as far as processes allow.

In PostgreSQL the server is killed as well, where it is one that was started for this; there are no backups there.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import blackbox
import postgres_server
from blackbox import CONTROLLER, PACKS, ROOT, Reader, opened
from hammer_worker import SHARED, journals, plain

from consent_ledger.consumers import create_ledger

PROCESSES, THREADS = 4, 8
PATIENCE_SECONDS = 90  # for an answer of a worker: SQLite alone waits ten for a lock
COMMAND_SECONDS = 120
TRIES = 20  # of a command that says that a retry can help
CHECK_SECONDS = 25  # between two looks at the held store
BACKUP_SECONDS = 3  # until the first one: somebody must be in it
SERVER_KILLS = 0.1  # of all kills
SAMPLE = 30  # erased persons looked at each time; all of them at the end


class Failures:
    """What must not be, by kind, with the first example of each."""

    def __init__(self):
        self.kinds, self.examples, self._lock = Counter(), {}, threading.Lock()

    def add(self, kind, detail=""):
        with self._lock:
            self.kinds[kind] += 1
            self.examples.setdefault(kind, str(detail))

    def text(self, width=3000):
        return "\n".join(
            f"{count:6} x {kind}\n         {self.examples[kind][-width:].replace(chr(10), chr(10) + ' ' * 9)}"
            for kind, count in self.kinds.most_common()
        )


class Process:
    """A worker process, of which there is a new one after each death."""

    def __init__(self, site, number):
        self.site, self.number, self.life = site, number, 0
        self.process = None

    def start(self):
        self.life += 1
        job = {"number": self.number, "life": self.life, "store": self.site.store}
        job |= {"keys": str(self.site.keys), "folder": str(self.site.folder)}
        job |= {"seed": str(self.site.seed), "threads": self.site.threads}
        errors = (self.site.folder / f"worker-{self.number}-{self.life}.stderr").open("wb")
        program = [sys.executable, str(ROOT / "tests" / "hammer_worker.py"), json.dumps(job)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        self.process = subprocess.Popen(program, cwd=ROOT, bufsize=0, **pipes)
        errors.close()

    def tell(self, word, answer):
        """Tell the worker something and wait until it says that it is so. A dead or deaf one is a failure."""
        try:
            self.process.stdin.write(word.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            return self._lost("worker died by itself")
        if not postgres_server.says_something(self.process.stdout, PATIENCE_SECONDS):
            self.process.send_signal(signal.SIGUSR1)  # it writes where each of its threads is
            threading.Event().wait(1)
            return self._lost(f"worker hangs: {PATIENCE_SECONDS} s without an answer")
        if self.process.stdout.readline().decode().strip() != answer:
            return self._lost("worker died by itself")
        return True

    def _lost(self, kind):
        self.kill()
        said = (self.site.folder / f"worker-{self.number}-{self.life}.stderr").read_text(errors="replace")
        self.site.failures.add(kind, said)
        return False

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Acknowledged:
    """What all journals say together."""

    def __init__(self, folder, failures):
        self.folder, self.failures = folder, failures
        self._readers, self._lock = {}, threading.Lock()
        self.acked, self.unchecked = {}, []  # id -> (kind, position, type)
        self.erased, self.persons = [], {}  # names; name -> identifiers
        self.counts = Counter()

    def read(self):
        """Take over what the workers have written since."""
        with self._lock:
            for path in journals(self.folder):
                for line in self._readers.setdefault(path, Reader(path)).news():
                    self._take(line)

    def _take(self, line):
        for name, kind, position, type_name in line.get("acked", ()):
            known = self.acked.setdefault(name, (kind, position, type_name))
            if known[1] != position:
                self.failures.add("one event acknowledged at two positions", f"{name}: {known}, {kind} {position}")
            elif position is not None:
                self.unchecked.append(name)
        for name in line.get("will_erase", ()):
            self.persons[name] = line["persons"]
        self.erased += line.get("erased", ())
        self.counts.update(line.get("counts", {}))
        if "failed" in line:
            self.failures.add(line["failed"], line["detail"])


class Site:
    """The store, the workers on it and everything known about it."""

    def __init__(self, folder, seed, processes=PROCESSES, threads=THREADS, server=None):
        self.folder, self.seed, self.threads, self.server = Path(folder), seed, threads, server
        self.path = self.folder / "ledger.db" if server is None else server.schema()
        self.store = f"sqlite:///{self.path}" if server is None else self.path
        self.keys = self.folder / "ledger.db.keys"
        self.random = random.Random(f"{seed}/parent")
        self.failures, self.counts = Failures(), Counter()
        self.said = Acknowledged(self.folder, self.failures)
        self.checked = 0  # entries that were compared so far
        self.ruined = False  # the store can't be read any more: there is nothing left to hammer
        ledger = create_ledger(self.store, str(self.keys))
        for pack in PACKS.values():
            ledger.app.add_pack(pack)
        ledger.record([blackbox.published(controller) for controller in sorted(PACKS)])
        self.vkey = ledger.app.signer.vkey
        ledger.close()
        self.workers = [Process(self, number) for number in range(processes)]

    def run(self, seconds):
        """Hammer for so long, then look at everything."""
        end = time.monotonic() + seconds
        visitor = Visitor(self)
        for worker in self.workers:
            worker.start()
        visitor.start()
        next_check = time.monotonic() + min(CHECK_SECONDS, seconds / 2)
        while (left := end - time.monotonic()) > 0 and not self.ruined:
            threading.Event().wait(min(left, self.random.uniform(0.3, 3)))
            self.kill_one()
            if time.monotonic() >= next_check:
                with visitor.between:
                    self.hold()
                next_check = time.monotonic() + CHECK_SECONDS
        visitor.stop()
        for worker in self.workers:
            if worker.tell("stop", "stopped"):
                worker.process.wait()
        self.check(every=True)
        if not self.ruined:
            self.check_commands(visitor.backups)

    def kill_one(self):
        """Kill a worker, whatever it is doing, and start it again; sometimes the server instead."""
        if isinstance(self.server, postgres_server.Own) and self.random.random() < SERVER_KILLS:
            self.server.kill()
            self.server.start()
            self.counts["kills of the server"] += 1
            return
        worker = self.random.choice(self.workers)
        if worker.process.poll() is not None:
            worker._lost("worker died by itself")
        worker.kill()
        self.counts["kills"] += 1
        worker.start()

    def hold(self):
        """Hold all workers, look, let them go on."""
        self.counts["holds"] += 1
        for worker in self.workers:
            if not worker.tell("pause", "paused"):
                worker.start()
                worker.tell("pause", "paused")
        self.check(every=False)
        for worker in self.workers:
            if not worker.tell("go", "running"):
                worker.start()

    # -- what must be true ---------------------------------------------------------------------------------------------

    def check(self, *, every):
        """Compare the store with the journals. Requires that nobody writes."""
        fail = self.failures.add
        self.said.read()
        start = 0 if every else self.checked
        try:
            problems, rows = blackbox.integrity(self.path), blackbox.log(self.path, start)
        except sqlite3.Error as error:
            problems, rows = [str(error)], None
        if problems:
            fail("SQLite finds the store damaged", problems[:10])
        if rows is None:
            self.ruined = True
            return
        if breaks := blackbox.gaps(rows, start):
            fail("positions have gaps", breaks[:10])
        if start + len(rows) < self.checked:
            fail("the log is shorter than it was", f"{self.checked}, now {start + len(rows)}")
        self.check_acknowledged({row.position: row for row in rows}, start)
        self.checked = start + len(rows)
        if every and (late := blackbox.written_after_erasure(rows)):
            fail("entries in the stream of an erased person", late[:10])
        done = self.command("verify")
        if done.returncode:
            fail(f"verify: {plain(done.stderr)}", done.stderr)
        self.check_erased(self.path, self.keys, every=every)

    def command(self, *args):
        """Run a command on the store."""
        return blackbox.command(*args, "--store", self.store, *self.with_keys)

    @property
    def with_keys(self):
        """What a command needs besides the store, where no folder of keys is beside that."""
        return [] if self.server is None else ["--keys", self.keys]

    def check_acknowledged(self, rows, start):
        for name in self.said.unchecked:
            kind, position, type_name = self.said.acked[name]
            row = rows.get(position)
            if position < start:  # told again, and compared before
                continue
            if row is None:
                self.failures.add("an acknowledged event is not in the log", f"{name} at {position}")
            elif not blackbox.fits(row, name, kind, position, type_name):
                self.failures.add("an acknowledged event is another one in the log", f"{name} ({kind}): {row}")
        if not start:
            return
        self.said.unchecked = []

    def check_erased(self, path, keys, *, every, names=None):
        """Nobody erased is back: no name is known, no field opens."""
        names = list(self.said.erased) if names is None else names
        if not every:
            names = self.random.sample(names, min(SAMPLE, len(names)))
        try:
            with opened(path, keys) as ledger:
                for name in names:
                    if not blackbox.is_unknown(ledger, name):
                        self.failures.add("erased: a name is known again", f"{name} in {path}")
                    if left := [v for one in self.said.persons[name] for v in blackbox.open_values(ledger, one)]:
                        self.failures.add("erased: a field opens again", f"{name} in {path}: {left}")
        except Exception as error:  # noqa: BLE001  the store is at rest: nothing may come
            self.failures.add(f"a store at rest: {type(error).__name__}: {plain(error)}", error)

    def check_commands(self, backups):
        """At the end, with nobody else there: no command has anything to complain of."""
        for args in (["doctor", "--json"], ["rebuild", "--json"]):
            done = self.command(*args)
            if done.returncode:
                self.failures.add(f"{args[0]} at the end", done.stdout + done.stderr)
        if self.server is not None:
            return
        saved = self.folder / "last.backup"
        done = self.command("backup", saved)
        if done.returncode:
            self.failures.add("backup at the end", done.stderr)
            return
        size = self.check_restored(saved)
        if size is not None and size < self.checked:
            self.failures.add("the restored copy is shorter than the store", f"{size} of {self.checked}")
        for old in backups:  # older than many erasures
            self.check_restored(old)

    def check_restored(self, saved):
        """Restore a backup with a copy of the keys. Nobody erased may be back. Returns the entries in it."""
        copy = self.folder / f"{saved.stem}.restored"
        shutil.copytree(self.keys, f"{copy}.keys")
        done = blackbox.command("restore", saved, "--store", f"sqlite:///{copy}")
        if done.returncode:
            self.failures.add("restore at the end", done.stderr)
            return None
        self.check_erased(copy, None, every=True)
        return len(blackbox.log(copy))

    def report(self):
        """The counts as lines."""
        acked = Counter(kind for kind, _, _ in self.said.acked.values())
        lines = {f"acknowledged {kind}": count for kind, count in sorted(acked.items())}
        lines |= {"entries": self.checked, "names erased": len(self.said.erased)}
        lines |= dict(sorted(self.counts.items())) | dict(sorted(self.said.counts.items()))
        return "\n".join(f"{count:8} {name}" for name, count in lines.items())


class Visitor(threading.Thread):
    """Runs commands at random beside the workers, one at a time; some are killed half way."""

    def __init__(self, site):
        super().__init__(daemon=True)
        self.site, self.random = site, random.Random(f"{site.seed}/visitor")
        self.between, self._done = threading.Lock(), threading.Event()
        self.backups, self.number = [], 0

    def run(self):
        commands = COMMANDS if self.site.server is None else [one for one in COMMANDS if one not in OF_FILES]
        command = "backup"  # early: whoever is erased from now on must not come back from it
        if command not in commands:
            command = commands[0]
        self._done.wait(BACKUP_SECONDS)
        while not self._done.is_set():
            with self.between:
                getattr(self, command)()
            command = self.random.choice(commands)
            self._done.wait(self.random.random())

    def stop(self):
        self._done.set()
        self.join()

    def call(self, *args, store=None, wanted=(0,)):
        """Run a command, again where its message says that this can help. Returns it if it was right."""
        name = args[0]
        for _ in range(TRIES):
            limit = self.random.uniform(0.3, 2) if store is None and self.random.random() < 0.1 else COMMAND_SECONDS
            try:
                with_keys = [] if store else self.site.with_keys
                done = blackbox.command(*args, "--store", store or self.site.store, *with_keys, timeout=limit)
            except subprocess.TimeoutExpired:  # which has killed it
                self.site.counts["commands killed"] += limit != COMMAND_SECONDS
                if limit == COMMAND_SECONDS:
                    self.site.failures.add(f"{name}: not done in {COMMAND_SECONDS} s")
                    return None
                continue
            said = done.stderr + (done.stdout if name == "doctor" else "")  # doctor tells what it found as its answer
            if "retry" not in said and "run doctor when" not in said:
                break
            self.site.counts[f"retries of {name}"] += 1
        else:
            self.site.failures.add(f"{name}: still busy after {TRIES} tries", done.stderr)
            return None
        self.site.counts[f"command {name}"] += 1
        if done.returncode in wanted and "Traceback" not in done.stderr:
            return done
        self.site.failures.add(f"command {name}: {plain(done.stderr)}", (done.returncode, done.stdout, done.stderr))
        return None

    def state(self):
        self.call(
            "state", self.random.choice(SHARED), "--controller", CONTROLLER, "--json", wanted=(0, 2)
        )  # 2: not told about yet

    def verify(self):
        self.call("verify")

    def doctor(self):
        self.call("doctor", "--json")

    def rebuild(self):
        self.call("rebuild", "--json")

    def evidence(self):
        self.number += 1
        target = self.site.folder / f"evidence-{self.number}.zip"
        about = [self.random.choice(SHARED), "--controller", CONTROLLER]
        done = self.call("evidence", *about, "-o", target, wanted=(0, 2))
        if done is not None and done.returncode == 0:
            self.call("verify", target, "--key", self.site.vkey)

    def backup(self):
        self.number += 1
        target = self.site.folder / f"saved-{self.number}.backup"
        done = self.call("backup", target, wanted=(0, 2))
        if target.exists():
            self.backups.append(target)
        elif done is not None:
            self.site.failures.add("backup: no file", done.stderr)
        for old in self.backups[1:-4]:  # the first stays
            old.unlink()
        self.backups = [*self.backups[:1], *self.backups[1:][-4:]]

    def restore(self):
        """Restore an older backup to a place of its own, with a copy of the keys: the live ones must not hear of it."""
        if not self.backups:
            return
        self.number += 1
        self.site.said.read()
        erased = list(self.site.said.erased)
        target = self.site.folder / f"restored-{self.number}.db"
        store = f"sqlite:///{target}"
        shutil.copytree(self.site.keys, f"{target}.keys", ignore=shutil.ignore_patterns("*.partial"))
        if self.call("restore", self.random.choice(self.backups), store=store) is not None:
            # it goes on as another log, unless nothing was signed since
            asked = ["state", self.random.choice(SHARED), "--controller", CONTROLLER]
            for args in (["verify"], ["recover", "--yes"], ["verify"], ["doctor"], asked):
                self.call(*args, store=store, wanted={"state": (0, 2), "recover": (0, 1)}.get(args[0], (0,)))
            if breaks := blackbox.gaps(blackbox.log(target)):
                self.site.failures.add("a restored copy has gaps", breaks[:10])
            self.site.check_erased(target, None, every=False, names=erased)
        for left in self.site.folder.glob(f"{target.name}*"):
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()


COMMANDS = ["state", "verify", "doctor", "rebuild", "evidence", "backup", "backup", "restore", "restore"]
OF_FILES = {"backup", "restore"}


def hammer(seed, seconds, *, processes=PROCESSES, threads=THREADS, keep=False, server=None):
    """Hammer a new store. Returns its Site, with what failed. `keep`: leave the folder. `server`: in that."""
    folder = Path(tempfile.mkdtemp(prefix="hammer-"))
    site = Site(folder, seed, processes, threads, server)
    try:
        site.run(seconds)
    finally:
        for worker in site.workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.kill()
        if not keep:
            shutil.rmtree(folder)
    return site


def main():
    """Hammer as the command line says. Exits 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**6)))
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--keep", action="store_true", help="leave the store and the journals")
    asked = parser.parse_args()
    sys.stdout.write(f"seed {asked.seed}\n")
    sys.stdout.flush()
    how = {"processes": asked.processes, "threads": asked.threads, "keep": asked.keep}
    server = postgres_server.server() if asked.store == "postgresql" else None
    try:
        site = hammer(asked.seed, asked.minutes * 60, **how, server=server)
    finally:
        if server is not None:
            server.stop()
    sys.stdout.write(f"{site.report()}\n{sum(site.failures.kinds.values()):8} failures\n{site.failures.text()}\n")
    if asked.keep:
        sys.stdout.write(f"kept in {site.folder}\n")
    sys.exit(bool(site.failures.kinds))


if __name__ == "__main__":
    main()
