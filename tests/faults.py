"""The fault table: every system call of a job fails once, and the process dies at every one.

    python tests/faults.py --job erase --every 5

A job (faults_child.py) runs under strace on a copy of one small store. Its calls on the folder of the store and its
keys are counted, those of SQLite too, nothing else. For each there are two runs: the call returns an error (ENOSPC
where something is written, EIO elsewhere), and the process is killed when it enters the call, before this takes effect.
Killed after a call is killed before the next one in order of time: nothing in between changes a file, since every call
that can is in CALLS, and one more call stands at the end of each job.

After each run: what was acknowledged is there, what was erased is not back, a target is whole or absent, and the same
job again finishes. strace counts the calls of each thread by itself: a job's writes are expected in its first.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import blackbox
from blackbox import PACKS, ROOT, about, event, opened
from faults_child import BATCHES, CARL, GONE, JOBS

from consent_ledger.consumers import create_ledger, maintenance
from consent_ledger.ledger.errors import InvalidQuestion, NotALedger

WRITES = ["write", "pwrite64", "writev", "pwritev", "ftruncate", "fallocate", "sendfile", "copy_file_range", "mkdir"]
CALLS = [
    *WRITES, "openat", "fsync", "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "link", "linkat",
    "chmod", "fchmod", "rmdir",
]  # fmt: skip
SECONDS = 60  # for one run
OUR_FILES = re.compile(r"(store|old|copy|saved|new)\.db(-wal|-shm|\.projections(-wal|-shm|-journal)?|\.keys)?|trace")


@dataclass(frozen=True)
class Place:
    """One call of a job: the `number`-th of its kind, from 1."""

    job: str
    call: str
    number: int
    line: str


@dataclass
class Result:
    """What became of a job in which one call failed or was the last."""

    place: Place
    how: str  # error, kill
    reached: bool
    said: list = field(default_factory=list)
    problems: list = field(default_factory=list)


class World:
    """One small store, with a backup that is older than an erasure and a deletion; runs work on copies of it."""

    def __init__(self, folder):
        self.template, self.folder = Path(folder) / "template", Path(folder) / "run"
        self.template.mkdir()
        self.persons, self.sealed = {}, {}
        path = self.template / "store.db"
        ledger = create_ledger(f"sqlite:///{path}")
        ledger.app.add_pack(PACKS[blackbox.CONTROLLER])
        ledger.record([blackbox.published()])
        names = ["ann", CARL, GONE, "eve", "dan"]
        for name in names:
            personal = {"email": f"{name}@example.com", "full_name": f"{name} of the fault table"}
            ledger.record([
                event("consent.granted", name, f"{name}-1", "2024-02-01T00:00:00Z", personal=personal),
                event("deletion.requested", name, f"{name}-2", "2024-02-02T00:00:00Z", data={"request": f"r-{name}"}),
                event("optout.recorded", name, f"{name}-3", "2024-02-03T00:00:00Z"),
            ])  # fmt: skip
            self.persons[name] = ledger.state(about(name))["person"]
        self.sealed = self._sealed_bytes(path)
        maintenance.back_up(ledger, self.template / "old.db")
        maintenance.erase(ledger, about("eve"))
        done = event("deletion.completed", "dan", "dan-4", "2024-02-04T00:00:00Z", data={"request": "r-dan"})
        ledger.record([done])
        ledger.close()
        self.rows = blackbox.log(path)
        shutil.copytree(f"{path}.keys", self.template / "copy.db.keys")

    def _sealed_bytes(self, path):
        """The sealed record of each person: bytes that must be in no file once they are erased."""
        with closing(blackbox.sqlite3.connect(path)) as db:
            found = db.execute("SELECT stream, sealed FROM secrets JOIN entries USING (position)").fetchall()
        names = {person: name for name, person in self.persons.items()}
        return {names[stream]: sealed for stream, sealed in found}

    def fresh(self):
        """A fresh copy to run on, always at the same path."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.template, self.folder)

    # -- runs ----------------------------------------------------------------------------------------------------------

    def trace(self, job, *options):
        """Run a job under strace. Returns (return code, lines said, trace)."""
        trace = self.folder / "trace"
        start = ["strace", "-f", "-qq", "-y", "-o", str(trace), "-e", "signal=none", "-e", "trace=" + ",".join(CALLS)]
        child = [sys.executable, str(ROOT / "tests" / "faults_child.py"), job, str(self.folder)]
        done = subprocess.run(
            [*start, *options, *child], cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS
        )
        said = [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode not in (0, -9, 137):
            said.append({"failed": "the child broke", "documented": False, "says": done.stderr[-1500:]})
        return done.returncode, said, trace.read_text(errors="replace")

    def places(self, job):
        """Every call of a job on the folder, in order of time, and the paths that were touched."""
        self.fresh()
        code, said, trace = self.trace(job)
        assert code == 0, said
        assert not any("failed" in line for line in said), said
        counts, places, paths = Counter(), [], set()
        for line in trace.splitlines():
            call = re.match(r"\d+ +(\w+)\(", line)
            here = re.findall(rf'["<]({re.escape(str(self.folder))}(?:/[^">]*)?)[">]', line)
            if call and here:
                counts[call[1]] += 1
                places.append(Place(job, call[1], counts[call[1]], line.replace(f"{self.folder}/", "")[:200]))
                paths.update(here)
        self.paths = sorted(paths)
        return places, self.paths

    def run(self, place, how, paths):
        """Run a job with one fault, then look at what it left."""
        self.fresh()
        error = "ENOSPC" if place.call in WRITES else "EIO"
        fault = f"error={error}" if how == "error" else "signal=KILL"
        only = [part for path in paths for part in ("-P", path)]
        try:
            code, said, trace = self.trace(place.job, *only, "-e", f"inject={place.call}:{fault}:when={place.number}")
        except subprocess.TimeoutExpired:
            return Result(place, how, reached=True, problems=[f"hangs: not done in {SECONDS} s"])
        reached = code in (-9, 137) if how == "kill" else "(INJECTED)" in trace
        result = Result(place, how, reached, said)
        try:
            result.problems = Look(self, place.job, said).problems()
        except Exception as error:  # noqa: BLE001  the store can't even be looked at
            result.problems.append(f"looking at it: {type(error).__name__}: {error}")
        return result


class Look:
    """What a job that was struck must have left."""

    def __init__(self, world, job, said):
        self.world, self.job, self.said, self.folder = world, job, said, world.folder
        self.path, self.found = world.folder / "store.db", []
        self.acked = [one for line in said for one in line.get("acked", ())]

    def problems(self):
        """Look, do the job again, look again."""
        self.found += [
            f"raw error: {one['failed']}: {one['says']}" for one in self.said if not one.get("documented", 1)
        ]
        self.target()
        self.store("after it")
        self.again()
        self.store("after the job was done again")
        self.finished()
        return self.found

    def store(self, when):
        """The store is sound, knows what was acknowledged, and nobody erased."""
        with opened(self.path):
            pass  # which finishes what was interrupted
        rows = blackbox.log(self.path)
        found = [f"gap at {breaks[0]}"] if (breaks := blackbox.gaps(rows)) else []
        if rows[: len(self.world.rows)] != self.world.rows:
            found.append("older entries are not what they were")
        for name, kind, position, type_name in self.acked:
            if position >= len(rows) or not blackbox.fits(rows[position], name, kind, position, type_name):
                found.append(f"acknowledged {name} is not at {position}")
        found += [f"SQLite: {one}" for one in blackbox.integrity(self.path)]
        with opened(self.path) as ledger:
            found += blackbox.unhealthy(ledger)
            found += self.people(ledger, rows)
        found += self.copy()
        self.found += [f"{when}: {one}" for one in found]

    def gone(self):
        """(names that must be unknown, names of whom no field may open) by what was said."""
        erased = ["eve", *(line["erased"] for line in self.said if "erased" in line)]
        deleted = [CARL] if any(one[0] == "new-4" for one in self.acked) else []
        return erased, ["dan", *deleted, *erased]

    def people(self, ledger, rows):
        erased, closed = self.gone()
        found = [f"{name} is known again" for name in erased if not blackbox.is_unknown(ledger, name)]
        found += [f"a field of {one} opens" for one in closed if blackbox.open_values(ledger, self.world.persons[one])]
        person = self.world.persons[GONE]
        signs = {
            blackbox.is_unknown(ledger, GONE),
            not blackbox.open_values(ledger, person),
            any((row.stream, row.type) == (person, "subject.erased") for row in rows),
        }
        return found + (["an erasure is half done"] if len(signs) > 1 else [])

    def copy(self):
        """Whoever was erased stays so in a copy restored from the older backup, with a copy of the keys."""
        scratch = self.folder.with_name("scratch")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        target, keys = scratch / "copy.db", scratch / "copy.db.keys"
        shutil.copytree(f"{self.path}.keys", keys)
        shutil.copyfile(self.folder / "old.db", scratch / "old.db")
        maintenance.restore(scratch / "old.db", target, keys)
        with opened(target, keys) as ledger:
            erased, closed = self.gone()
            found = [f"{name} is known" for name in erased if not blackbox.is_unknown(ledger, name)]
            persons = self.world.persons
            found += [f"a field of {one} opens" for one in closed if blackbox.open_values(ledger, persons[one])]
            found += blackbox.unhealthy(ledger, older=True)
        return [f"in a restored copy: {one}" for one in found]

    # -- the target of a job -------------------------------------------------------------------------------------------

    def target(self):
        """What a job makes is whole or absent; there, where the job said that it is done."""
        name = {"backup": "saved.db", "restore": "copy.db", "init": "new.db"}.get(self.job)
        if name is None:
            return
        made = self.folder / name
        done = any("done" in line for line in self.said)
        if not made.exists():
            self.found += [f"{name} was said to be there"] if done else []
            return
        scratch = self.folder.with_name("target")  # looking leaves traces: on a copy
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        keys = self.folder / ("store.db.keys" if name == "saved.db" else f"{name}.keys")
        for file in self.folder.glob(f"{name}*"):
            if file.is_file():
                shutil.copyfile(file, scratch / file.name)
        try:
            shutil.copytree(keys, scratch / "keys")
            if gap := blackbox.gaps(blackbox.log(scratch / name)):
                self.found.append(f"{name} has a gap at {gap[0]}")
            with opened(scratch / name, scratch / "keys") as ledger:
                self.found += [f"{name}: {one}" for one in blackbox.unhealthy(ledger, older=name == "copy.db")]
                if name == "copy.db":
                    self.found += [f"copy.db: {one}" for one in self.forgotten(ledger)]
        except Exception as error:  # noqa: BLE001  whatever comes, the target is of no use
            self.found.append(f"{name} is half: {type(error).__name__}: {error}")

    def forgotten(self, ledger):
        found = [] if blackbox.is_unknown(ledger, "eve") else ["eve is known"]
        persons = self.world.persons
        return found + [
            f"a field of {one} opens" for one in ("eve", "dan") if blackbox.open_values(ledger, persons[one])
        ]

    def again(self):
        """The same job finishes. What is done already says so, in its documented way."""

        def say(**line):
            self.said.append(line)
            self.acked += line.get("acked", ())
            if "failed" in line:
                self.found.append(f"the job again: {line['failed']}: {line['says']}")

        try:
            JOBS[self.job](self.folder, say)
        except (InvalidQuestion, NotALedger) as error:
            there = {"backup": "saved.db", "restore": "copy.db", "init": "new.db"}.get(self.job, "none")
            done = self.job == "erase" and isinstance(error, InvalidQuestion)
            if not done and not (isinstance(error, NotALedger) and (self.folder / there).exists()):
                self.found.append(f"the job again: {type(error).__name__}: {error}")
            elif done:
                self.said.append({"erased": GONE})
        except Exception as error:  # noqa: BLE001  whatever comes is noted
            self.found.append(f"the job again: {type(error).__name__}: {error}")

    def finished(self):
        """What is true when the job was done to its end."""
        self.target()
        for name in self.gone()[1]:
            files = [file for file in self.folder.glob("store.db*") if file.is_file()]
            sealed = self.world.sealed[name]
            left = [file.name for file in files if any(end in file.read_bytes() for end in (sealed[:16], sealed[-16:]))]
            self.found += [f"sealed bytes of {name} are left in {file}" for file in left]
        left = [file.name for file in self.folder.iterdir() if not OUR_FILES.fullmatch(file.name)]
        self.found += [f"left over: {name}" for name in sorted(left)]
        if self.job == "intake":
            ids = Counter(row.id for row in blackbox.log(self.path))
            wanted = [one["id"] for batch in BATCHES for one in batch]
            self.found += [f"{one} is {ids[one]} times in the log" for one in wanted if ids[one] != 1]
        if self.job == "pack":
            with opened(self.path) as ledger:
                (outcome,) = ledger.record([blackbox.published("whereverworks")])
                self.found += [] if outcome.kind == "accepted" else [f"the pack is not there: {outcome}"]


# -- the table ---------------------------------------------------------------------------------------------------------


def faults(jobs, every=1, *, wanted=None, seen=lambda _: None):
    """Strike every so-manieth call of these jobs, each by an error and by a death. Returns the results.

    `wanted`: so many runs in all, spread over the jobs, by errors and deaths in turn.
    """
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        world = World(folder)
        traced = {job: world.places(job) for job in jobs}
        plan = [(place, paths) for places, paths in traced.values() for place in places]
        if wanted is None:
            runs = [(place, how, paths) for place, paths in plan[::every] for how in ("error", "kill")]
        else:
            some = plan[:: max(len(plan) // wanted, 1)][:wanted]
            runs = [(place, ("error", "kill")[turn % 2], paths) for turn, (place, paths) in enumerate(some)]
        results = []
        for place, how, paths in runs:
            results.append(world.run(place, how, paths))
            seen(results[-1])
        return results
    finally:
        shutil.rmtree(folder)


def table(results):
    """By job and call: how many runs, errors that came out, deaths, calls that were not reached, runs with problems."""
    rows = {}
    for one in results:
        row = rows.setdefault((one.place.job, one.place.call), Counter())
        row["runs"] += 1
        row["deaths"] += one.how == "kill" and one.reached
        row["errors"] += any("failed" in line for line in one.said) and one.how == "error"
        row["not reached"] += not one.reached
        row["wrong"] += bool(one.problems)
    names = ["runs", "errors", "deaths", "not reached", "wrong"]
    lines = [f"{'job':10}{'call':18}" + "".join(f"{name:>13}" for name in names)]
    for (job, call), row in sorted(rows.items()):
        lines.append(f"{job:10}{call:18}" + "".join(f"{row[name]:13}" for name in names))
    return "\n".join(lines)


def kinds(results):
    """Problems by job, fault and what they say, with the calls at which they came."""
    found = {}
    for one in results:
        for problem in one.problems:
            text = re.sub(r"\S*/|[0-9a-f]{32}|\d+", "~", problem.split("\n")[0])[:160]
            found.setdefault((one.place.job, one.how, text), []).append(f"{one.place.call} {one.place.number}")
    return "\n".join(
        f"{len(places):5} x {job}, {how}: {text}\n        at {', '.join(dict.fromkeys(places[:6]))}"
        for (job, how, text), places in sorted(found.items(), key=lambda item: -len(item[1]))
    )


def told(result):
    """One result with problems, as lines."""
    place = result.place
    head = f"{place.job}: {result.how} at {place.call} {place.number}: {place.line}"
    return "\n".join([head, *(f"    {one[:400]}" for one in result.problems)])


def missing():
    """Why strace can't be used here; None where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=openat", "-e", "inject=openat:error=EIO:when=1", "true"]
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    return (
        None
        if "ptrace" not in done.stderr.lower() and "inject" not in done.stderr
        else f"strace: {done.stderr.strip()}"
    )


def main():
    """Print the table. Exits 1 if anything was wrong, 2 where strace can't be used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--job", choices=sorted(JOBS), action="append")
    parser.add_argument("--every", type=int, default=1)
    asked = parser.parse_args()
    if reason := missing():
        sys.exit(f"faults: {reason}")

    def seen(result):
        if result.problems:
            sys.stdout.write(told(result) + "\n")
            sys.stdout.flush()

    results = faults(asked.job or list(JOBS), asked.every, seen=seen)
    sys.stdout.write(f"{table(results)}\n{kinds(results)}\n")
    sys.exit(any(one.problems for one in results))


if __name__ == "__main__":
    main()
