"""The fuzzer: whatever comes in, in every form that something comes in, and what becomes of it.

    python tests/fuzz.py --inputs 100000 --seed 7
    python tests/fuzz.py --seed 7 --first 4711 --inputs 1

Half of the inputs are valid ones that were mutated, half are made from the words of their format (fuzz_inputs.py). Each
goes through the functions that the command line uses. It is a failure, told with the input and what makes it again:

    escaped   an exception that is none of the ledger's own errors
    kept      an event beside a bad one that was not recorded
    slow      more than two seconds of this process's time
    hung      more than a minute
    memory    more of it at the end than after a tenth of the inputs

At the end it prints how many inputs of each kind were accepted, and which lines of the functions of the three packages
were reached: by `sys.monitoring` where Python has it, else by tracing one input in forty, which is not timed.
"""

from __future__ import annotations

import argparse
import base64
import gc
import io
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import closing, contextmanager
from functools import cache, partial
from pathlib import Path

import fuzz_inputs as make
from blackbox import PACKS, ROOT

from consent_ledger.consumers import create_ledger, maintenance, open_ledger, opening
from consent_ledger.consumers.ingest import ingest
from consent_ledger.consumers.opening import memory_ledger
from consent_ledger.consumers.packs.check import check_file
from consent_ledger.consumers.scenarios import load_scenarios, run_files
from consent_ledger.ledger.errors import LedgerError
from consent_ledger.ledger.intake.opened import Opened
from consent_ledger.ledger.intake.parse import parse_line
from consent_ledger.ledger.times import parse_time
from consent_ledger.ledger.vault.keys import FileKeys, MemoryKeys

SLOW_SECONDS = 2
HUNG_SECONDS = 60
GROWTH_BYTES = 64 << 20  # caches fill: the addresses and words that were seen last
SHOWN_BYTES = 4_000  # of an input; the command that is printed makes all of it again
RENEWED = 2_000  # inputs that one ledger in memory takes
TRACED = 40  # one input in so many, where lines are traced
NOW = parse_time("2026-06-30T12:00:00Z")
READ_MODELS = ("obligations", "findings", "recipients", "refusals", "history", "state")
# of a thousand inputs; what makes files takes a hundred times as long as a line
WEIGHTS = {"event": 520, "question": 270, "pack": 60, "scenario": 60, "evidence": 50, "backup": 15, "journal": 25}


class Hung(BaseException):
    """An input took longer than anybody waits; no `except Exception` may swallow it."""


class Broken(Exception):
    """What must be so is not."""


# -- lines that were reached -------------------------------------------------------------------------------------------


class Coverage:
    """Which lines of functions in the packages were reached."""

    PACKAGES = ("ledger", "projections", "consumers")

    def __init__(self):
        self.known, self.seen = {}, {}
        for package in self.PACKAGES:
            for path in sorted((ROOT / package).rglob("*.py")):
                self.known[str(path)] = set(self._lines(compile(path.read_text(), str(path), "exec"), inside=False))
                self.seen[str(path)] = set()
        self._monitoring = getattr(sys, "monitoring", None)

    def _lines(self, code, *, inside):
        if inside and not code.co_name.startswith("<"):
            yield from (line for _, _, line in code.co_lines() if line and line != code.co_firstlineno)
        for const in code.co_consts:
            if hasattr(const, "co_code"):
                yield from self._lines(const, inside=const.co_flags & 2)  # CO_NEWLOCALS: a function, no class

    @property
    def always(self):
        return self._monitoring is not None

    @contextmanager
    def watching(self):
        if self._monitoring is None:
            sys.settrace(self._called)
            try:
                yield
            finally:
                sys.settrace(None)
            return
        tool, line = self._monitoring.COVERAGE_ID, self._monitoring.events.LINE
        if self._monitoring.get_tool(tool) is None:
            self._monitoring.use_tool_id(tool, "fuzz")
            self._monitoring.register_callback(tool, line, self._reached)
            self._monitoring.set_events(tool, line)
        yield

    def _reached(self, code, line):
        lines = self.seen.get(code.co_filename)
        if lines is not None:
            lines.add(line)
        return self._monitoring.DISABLE

    def _called(self, frame, *_):
        lines = self.seen.get(frame.f_code.co_filename)
        if lines is None:
            return None

        def line(frame, *_):
            lines.add(frame.f_lineno)
            return line

        return line

    def report(self):
        """One line for each package: the part of the lines of its functions, and the files that were reached least."""
        rows = []
        for package in self.PACKAGES:
            inside = [path for path in self.known if Path(path).is_relative_to(ROOT / package)]
            known = sum(len(self.known[path]) for path in inside)
            seen = sum(len(self.known[path] & self.seen[path]) for path in inside)
            rows.append(f"{package:12} {seen:6} of {known:6} lines of functions, {100 * seen / known:5.1f} %")
        return rows


# -- what takes the inputs ---------------------------------------------------------------------------------------------


class Site:
    """A folder with everything that inputs are made from and thrown at."""

    def __init__(self, folder):
        self.folder = folder
        opening.clock = lambda: NOW
        self.lives = _lives()
        self.begin = self.lives[:400]
        self.subjects = list(dict.fromkeys(one["subject"] for one in self.begin if one.get("subject")))[:40]
        self._store()
        self.inputs = {
            "event": make.Json(self.lives, partial(make.made_event, subjects=(*make.SUBJECTS, *self.subjects))),
            "question": make.Json(
                make.questions(self.subjects[:8]),
                partial(make.made_question, subjects=(*make.SUBJECTS, *self.subjects)),
            ),
            "pack": make.Packs([_small(), _small(), *PACKS.values()]),
            "scenario": make.Scenarios(_scenarios()),
            "evidence": make.Zips(self.zips),
            "backup": make.Stores(self.backup.read_bytes(), folder),
            "journal": make.Journals(self.journals),
        }
        self.memory = None
        self.taken = 0

    def _store(self):
        """A store with people, somebody erased, evidence, a backup from before that."""
        self.path, self.backup = self.folder / "store.db", self.folder / "backup.db"
        ledger = create_ledger(str(self.path), origin="fuzz.example/ledger")
        with closing(ledger):
            for body in PACKS.values():
                ledger.app.add_pack(body)
            few = self.lives[:120]
            ledger.record(few)
            ingest(ledger, io.BytesIO(b'no JSON\n{"specversion": "1.0"}\n'), "fuzz")
            people = list(dict.fromkeys((one["controller"], one["subject"]) for one in few if one.get("subject")))
            about = [{"controller": controller, "subject": subject} for controller, subject in people]
            self.zips = [maintenance.evidence_for(ledger, one, ["all"], auditor=True) for one in about[:3]]
            self.vkey = ledger.app.signer.vkey
            maintenance.back_up(ledger, self.backup)
            maintenance.erase(ledger, about[-1])
        self.keys = Path(f"{self.path}.keys")
        names = ("erasures.ndjson", "suppressed.ndjson", "signed.ndjson", "retired.ndjson")
        self.journals = {
            name: (self.keys / name).read_bytes() if (self.keys / name).exists() else b"" for name in names
        }

    def ledger(self):
        """A ledger in memory, a new one now and then: what was accepted must not fill the memory."""
        if self.memory is None or self.taken >= RENEWED:
            self.close()
            self.memory, self.taken = memory_ledger(at=lambda: NOW), 0
            for body in PACKS.values():
                self.memory.app.add_pack(body)
            self.memory.record(self.begin)
        self.taken += 1
        return self.memory

    def close(self):
        if self.memory is not None:
            self.memory.projector.close()
            self.memory.app.close()
            self.memory = None

    def take(self, kind, body):
        """Have the ledger take an input. Returns a word for what became of it; raises its errors."""
        return getattr(self, f"_{kind}")(body)

    def _event(self, body):
        ledger = self.ledger()
        beside = [self._beside(ledger) for _ in range(2)]
        told = [json.dumps(one).encode() for one in beside]
        tally = ingest(ledger, io.BytesIO(told[0] + b"\n" + body + b"\n" + told[1] + b"\n"), "fuzz")
        if [(one.kind, one.duplicate) for one in ledger.record(beside)] != [("accepted", True)] * 2:
            raise Broken(f"events beside it were not recorded: {tally}")
        return next((name for name in ("invalid", "refused", "conflict") if getattr(tally, name)), "accepted")

    def _beside(self, ledger):
        self.taken += 1
        name = f"beside-{ledger.app.current_head().size}-{self.taken}"
        head = {
            "specversion": "1.0",
            "id": name,
            "source": "urn:app:beside",
            "type": "service.used",
            "subject": "beside",
        }
        return {**head, "time": "2026-01-02T00:00:00Z", "controller": "parature", "data": {"service": "site"}}

    def _question(self, body):
        ledger = self.ledger()
        asked = parse_line(body)
        if isinstance(asked, dict) and "action" not in asked:
            for name in READ_MODELS:
                getattr(ledger, name)(asked)
            return "answered"
        answer = ledger.decide(asked).to_dict()
        about = {name: asked[name] for name in ("controller", "subject", "at", "known_at") if name in asked}
        for name in READ_MODELS:
            getattr(ledger, name)(about)
        return answer["outcome"]

    def _pack(self, body):
        file = self.folder / "pack.toml"
        file.write_bytes(body)
        report = check_file(file)
        str(report)
        opening.memory_ledger().app.add_pack(opening.read_pack(file))
        return "with problems" if report.problems else "clean"

    def _scenario(self, body):
        file = self.folder / "scenario.yaml"
        file.write_bytes(body)
        return "failed" if any(result.problems for result in run_files([file], [_small()])) else "passed"

    def _evidence(self, body):
        file = self.folder / "evidence.zip"
        file.write_bytes(body)
        maintenance.check_evidence(file, self.vkey, [])
        return "holds"

    @contextmanager
    def _scratch(self):
        scratch = self.folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        shutil.copytree(self.keys, scratch / "keys")
        yield scratch
        shutil.rmtree(scratch)

    def _backup(self, body):
        with self._scratch() as scratch:
            (scratch / "copy.db").write_bytes(body)
            done = maintenance.restore(scratch / "copy.db", scratch / "new.db", scratch / "keys")
            with closing(opening.open_to_read(str(scratch / "new.db"), str(scratch / "keys"))) as ledger:
                maintenance.check_store(ledger, None)
        return f"restored{', behind' if done.behind else ''}"

    def _journal(self, body):
        name, _, text = body.partition(b"\n")
        with self._scratch() as scratch:
            shutil.copy(self.path, scratch / "store.db")
            (scratch / "keys" / name.decode()).write_bytes(text)
            with closing(open_ledger(str(scratch / "store.db"), str(scratch / "keys"))) as ledger:
                rows = maintenance.examine(ledger)
                ledger.record([self._beside(ledger)])
        return "well" if all(row["ok"] for row in rows) else "told"


@cache
def _lives():
    return make.events(PACKS)


@cache
def _scenarios():
    """Every scenario of the project's own, as JSON has it."""
    files = [load_scenarios(path) for path in sorted((ROOT / "tests" / "scenarios").glob("*.yaml"))]
    return [one for scenarios in files for one in scenarios]


@cache
def _small():
    """The pack of the how-to, put together from its pieces."""
    text = (ROOT / "docs" / "how-to" / "write-a-pack.md").read_text()
    return "\n".join(part.split("```")[0] for part in text.split("```toml\n")[1:]).encode()


@contextmanager
def fixed_randomness(seed):
    """Keys and identifiers that are the same each time, so that stores and proofs are."""
    rng = random.Random(seed)
    keywords = [Opened.__init__.__kwdefaults__, FileKeys.__init__.__kwdefaults__]
    before = [one["randomness"] for one in keywords], MemoryKeys.__init__.__defaults__
    for one in keywords:
        one["randomness"] = rng.randbytes
    MemoryKeys.__init__.__defaults__ = (rng.randbytes,)
    try:
        yield
    finally:
        for one, randomness in zip(keywords, before[0], strict=True):
            one["randomness"] = randomness
        MemoryKeys.__init__.__defaults__ = before[1]


# -- the run -----------------------------------------------------------------------------------------------------------


def resident():
    """Bytes of memory that this process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Run:
    """Some inputs of one seed."""

    def __init__(self, seed, inputs, first=0):
        self.seed, self.inputs, self.first = seed, inputs, first
        self.coverage, self.counts, self.failures, self.slowest = Coverage(), Counter(), [], (0.0, 0, "")
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self.grown = 0

    def run(self, progress=None):
        previous = signal.signal(signal.SIGALRM, self._alarm)
        clock, early = opening.clock, 0
        logging.disable(logging.WARNING)  # of what others could read
        try:
            with fixed_randomness("fuzz"):
                site = Site(self.folder)
            for number in range(self.first, self.first + self.inputs):
                if number - self.first == self.inputs // 10:
                    early = resident()
                self._one(site, number)
                if progress and number % 1_000 == 999:
                    progress(self, number)
            site.close()
            self.grown = resident() - early if self.inputs >= 10 else 0
            if self.grown > GROWTH_BYTES:
                self._fail("memory", f"grew by {self.grown >> 20} MiB since a tenth of the inputs")
        finally:
            opening.clock = clock
            logging.disable(logging.NOTSET)
            signal.signal(signal.SIGALRM, previous)
            shutil.rmtree(self.folder, ignore_errors=True)
        return self

    @staticmethod
    def _alarm(*_):
        raise Hung

    def made(self, site, number):
        """(kind, how, input) of a number: of this and the seed alone."""
        rng = random.Random(f"{self.seed}:{number}")
        kind = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        how = "mutation" if rng.random() < 0.5 else "generation"
        return kind, how, getattr(site.inputs[kind], how)(rng)

    def _one(self, site, number):
        kind, how, body = self.made(site, number)
        traced = self.coverage.always or number % TRACED == 0
        site.ledger()
        begun = time.process_time()
        signal.alarm(HUNG_SECONDS)
        try:
            if traced:
                with self.coverage.watching():
                    became = site.take(kind, body)
            else:
                became = site.take(kind, body)
        except LedgerError as error:
            became = type(error).__name__
        except Hung:
            became = "hung"
            self._fail(became, "".join(traceback.format_exc(limit=-6)), number, kind, body)
            site.close()
        except (Exception, SystemExit) as error:  # noqa: BLE001  it is what is looked for
            became = "escaped"
            self._fail(f"{became}: {type(error).__name__}", "".join(traceback.format_exc(limit=-6)), number, kind, body)
            site.close()
        finally:
            signal.alarm(0)
        took = time.process_time() - begun
        if not traced or self.coverage.always:
            self.slowest = max(self.slowest, (took, number, kind))
            if took > SLOW_SECONDS:
                self._fail("slow", f"{took:.1f} s", number, kind, body)
        self.counts[kind, how, became] += 1

    def _fail(self, what, detail, number=None, kind=None, body=b""):
        again = f"python tests/fuzz.py --seed {self.seed}" + (
            f" --first {number} --inputs 1" if number is not None else ""
        )
        shown = (
            f"{len(body)} bytes, base64: {base64.b64encode(body[:SHOWN_BYTES]).decode()}"
            if len(body) > SHOWN_BYTES
            else repr(body)
        )
        self.failures.append(f"{what} ({kind}): {again}\n  input: {shown}\n  {detail}")

    def report(self):
        rows = [
            f"seed {self.seed}: {self.inputs} inputs, {len(self.failures)} failures",
            f"memory grew by {self.grown >> 20} MiB since a tenth of them",
            f"slowest: {self.slowest[0]:.2f} s, number {self.slowest[1]}, {self.slowest[2]}",
        ]
        for kind in WEIGHTS:
            became = Counter()
            for (one, _, word), count in self.counts.items():
                became[word] += count * (one == kind)
            rows.append(
                f"{kind:10} {sum(became.values()):7}: "
                + ", ".join(f"{word} {n}" for word, n in became.most_common() if n)
            )
        return "\n".join([*rows, *self.coverage.report()])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", default=str(random.randrange(10**6)))
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    given = parser.parse_args()
    begun = time.monotonic()

    told = [0]

    def progress(run, number):
        for failure in run.failures[told[0] :]:
            sys.stderr.write(failure + "\n")
        told[0] = len(run.failures)
        sys.stderr.write(f"{number + 1}: {len(run.failures)} failures, {time.monotonic() - begun:.0f} s\n")

    sys.stdout.write(f"seed {given.seed}\n")
    run = Run(given.seed, given.inputs, given.first).run(progress)
    sys.stdout.write("\n".join((*run.failures, run.report(), "")))
    sys.exit(bool(run.failures))


if __name__ == "__main__":
    main()
