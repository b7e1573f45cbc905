"""One worker of the hammer: threads that share a Ledger and do everything at random. Run by hammer.py.

    hammer_worker.py '{"store": "sqlite:////x/ledger.db", "keys": "/x/ledger.db.keys", "folder": "/x",
                       "number": 0, "life": 1, "seed": "7", "threads": 8}'

It may be killed at any moment. What it promised stands in its journal, `worker-NUMBER-LIFE.ndjson`:

    {"will": [EVENT, ..]}                            before the call
    {"acked": [[ID, KIND, POSITION, TYPE], ..]}      after it
    {"will_erase": [NAME, ..], "persons": [..]}      before and
    {"erased": [NAME, ..]}                           after an erasure
    {"counts": {..}}, {"failed": KIND, "detail": ..} what was done, and what must not be

It is told `pause`, `go` and `stop` on standard input, and answers `paused`, `running` and `stopped`.

Two kinds of persons. Shared ones are told about by every process: what opens has an earlier time than what closes, so
that an objection, once acknowledged, stands for ever, in whatever order things arrive. A thread's own persons are known
to it alone: it knows their last word, all their events, and whether they are erased.
"""

from __future__ import annotations

import faulthandler
import json
import random
import re
import signal
import sys
import threading
import traceback
from collections import Counter, deque
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from blackbox import LATE, Lines, Reader, about, event, is_unknown, open_values, question

from consent_ledger.consumers import maintenance, open_ledger
from consent_ledger.ledger.errors import InvalidQuestion, LedgerError, StoreAway

SHARED = [f"shared:{number}" for number in range(40)]
WORD = {"consent.granted": "yes", "consent.withdrawn": "no", "optout.recorded": "no", "deletion.completed": "no"}
TURNS = 100  # tries of a call that may be repeated
REPORT = 25  # actions between two lines of counts


@dataclass
class Own:
    """A person of one thread."""

    name: str
    names: list[str] = field(default_factory=list)
    word: str | None = None  # the last acknowledged
    ids: list[str] = field(default_factory=list)  # of acknowledged entries
    minutes: int = 0  # since its beginning

    def time(self):
        self.minutes += 1
        return f"2024-{4 + self.minutes // 1440:02}-01T{self.minutes // 60 % 24:02}:{self.minutes % 60:02}:00Z"

    def personal(self):
        """Addresses of this person alone: what one person says must bind nobody else."""
        return {"email": f"{self.name.replace(':', '.')}@example.com", "full_name": f"Ann {self.name}"}


class GivenUp(Exception):
    """A call failed, which is noted already; what was to follow makes no sense."""


class Past:
    """What the journals of dead and living workers say."""

    def __init__(self):
        self.events, self.acked = {}, {}
        self.doomed, self.erased, self.noes, self.known = set(), set(), set(), set()
        self.words = {}  # own person -> last acknowledged word

    def read(self, lines):
        for line in lines:
            for one in line.get("will", ()):
                self.events.setdefault(one["id"], one)
            for name, kind, *_ in line.get("acked", ()):
                self._acked(name, kind)
            self.doomed.update(line.get("will_erase", ()))
            self.erased.update(line.get("erased", ()))

    def _acked(self, name, kind):
        self.acked[name] = kind
        body = self.events[name]
        if kind != "accepted" or body.get("subject") is None:
            return
        self.known.add(body["subject"])
        if body["subject"] not in SHARED:
            self.words[body["subject"]] = WORD.get(body["type"]) or self.words.get(body["subject"])
        elif body["type"] == "optout.recorded":
            self.noes.add(body["subject"])

    def in_doubt(self):
        """Events that were announced and not acknowledged, of persons who are still there."""
        return [
            body
            for name, body in self.events.items()
            if name not in self.acked and body.get("subject") not in self.doomed
        ]

    def settled(self):
        """(name, word) of own persons about whom nothing is in doubt."""
        doubted = {body.get("subject") for body in self.in_doubt()}
        return [(name, word) for name, word in self.words.items() if word and name not in self.doomed | doubted]


class Gate:
    """Lets threads act, or holds them between two actions."""

    def __init__(self):
        self._change = threading.Condition()
        self._state, self._inside = "open", 0

    def __enter__(self):
        with self._change:
            self._change.wait_for(lambda: self._state != "closed")
            self._inside += 1

    def __exit__(self, *_):
        with self._change:
            self._inside -= 1
            self._change.notify_all()

    def set(self, state):
        """Open, close or stop. Returns when nobody is inside, unless it opens."""
        with self._change:
            self._state = state
            self._change.notify_all()
            if state != "open":
                self._change.wait_for(lambda: self._inside == 0)

    @property
    def stopped(self):
        return self._state == "stopped"


class Worker:
    """What the threads of one process share."""

    def __init__(self, job):
        self.number, self.life, self.seed = job["number"], job["life"], job["seed"]
        self.store, self.keys, self.folder = job["store"], job["keys"], Path(job["folder"])
        self.name = f"{self.number}.{self.life}"
        self.gate, self.lock = Gate(), threading.Lock()
        self.size = 0  # of the log, at least: what was acknowledged here
        past, every = Past(), Past()
        for path in journals(self.folder):
            lines = Reader(path).news()
            every.read(lines)
            if path.name.startswith(f"worker-{self.number}-"):
                past.read(lines)
        self.noes, self.known = every.noes, every.known & set(SHARED)
        self.settled, self.in_doubt, self.unfinished = past.settled(), past.in_doubt(), past.doomed - past.erased
        self.journal = Lines(self.folder / f"worker-{self.number}-{self.life}.ndjson")
        self.hands = [Hand(self, number) for number in range(job["threads"])]
        self.ledger = self.hands[0].attempt("open_ledger", lambda: open_ledger(self.store, self.keys))

    def acknowledged(self, events, outcomes):
        """Remember what is there for good."""
        with self.lock:
            for body, outcome in zip(events, outcomes, strict=True):
                if outcome.position is not None:
                    self.size = max(self.size, outcome.position + 1)
                if outcome.kind == "accepted" and body["subject"] in SHARED:
                    self.known.add(body["subject"])
                    if body["type"] == "optout.recorded":
                        self.noes.add(body["subject"])

    def run(self):
        """Do as told until the end of standard input."""
        if self.ledger is None:
            return
        self.hands[0].finish_the_past()
        threads = [threading.Thread(target=hand.run, daemon=True) for hand in self.hands]
        for thread in threads:
            thread.start()
        for line in sys.stdin:
            word = line.strip()
            if word == "go":
                self.gate.set("open")
                say("running")
            elif word == "pause":
                self.gate.set("closed")
                say("paused")
            else:
                break
        self.gate.set("stopped")
        for thread in threads:
            thread.join()
        for hand in self.hands:
            hand.report()
        self.hands[0].attempt("close", self.ledger.close)
        say("stopped")


class Hand:
    """One thread."""

    def __init__(self, worker, number):
        self.worker, self.name = worker, f"{worker.name}.{number}"
        self.random = random.Random(f"{worker.seed}/{self.name}")
        self.counts, self.own, self.recent = Counter(), [], deque(maxlen=50)
        self.size, self.events, self.persons = 0, 0, 0
        self.idle = threading.Event()  # never set: to wait a little

    def run(self):
        done = 0
        while not self.worker.gate.stopped:
            with self.worker.gate:
                self.act()
                done += 1
                if done % REPORT == 0:
                    self.report()

    def act(self):
        """One action at random. What must not happen is noted, and the next one comes."""
        action = self.random.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        try:
            action(self)
        except GivenUp:
            pass
        except Exception as error:  # noqa: BLE001  whatever comes is what the hammer looks for
            self.failed(f"{action.__name__}: {type(error).__name__}", traceback.format_exc())

    def report(self):
        counts, self.counts = self.counts, Counter()
        self.worker.journal.add(counts=counts)

    def failed(self, kind, detail):
        self.worker.journal.add(failed=kind, detail=detail)
        self.idle.wait(0.05)

    def attempt(self, what, call):
        """Call, and call again where the error says that it can help. None where it failed."""
        for _ in range(TURNS):
            try:
                return call()
            except InvalidQuestion:
                raise
            except LedgerError as error:
                self.counts[f"error {type(error).__name__} of {what}"] += 1
                if not error.retryable:
                    self.failed(f"{what}: {type(error).__name__}: {plain(error)}", traceback.format_exc())
                    return None
                self.idle.wait(1 if isinstance(error, StoreAway) else self.random.random() / 20)
            except Exception as error:  # noqa: BLE001  no documented error
                self.failed(f"{what}: {type(error).__name__}: {plain(error)}", traceback.format_exc())
                return None
        self.failed(f"{what}: still busy after {TURNS} tries", "")
        return None

    # -- in ------------------------------------------------------------------------------------------------------------

    def make(self, type_name, subject, time, **more):
        self.events += 1
        return event(type_name, subject, f"e-{self.name}-{self.events}", time, **more)

    def record(self, events, ledger=None, wanted="accepted"):
        """Record, with a line before and one after. Returns whether all came out as wanted."""
        self.worker.journal.add(will=events)
        outcomes = self.attempt("record", lambda: (ledger or self.worker.ledger).record(events))
        if outcomes is None:
            return False
        rows = [[one["id"], out.kind, out.position, one["type"]] for one, out in zip(events, outcomes, strict=True)]
        self.worker.journal.add(acked=rows)
        self.worker.acknowledged(events, outcomes)
        self.counts[f"events {wanted}"] += len(events)
        self.recent += zip(events, outcomes, strict=True)
        wrong = [out for out in outcomes if out.kind != wanted]
        if wrong:
            self.failed(f"record: {wanted} came out as {wrong[0].kind}", repr(wrong))
        return not wrong

    def tell(self, person, *events, ledger=None):
        """Record about an own person. One about whom anything is in doubt is left alone from then on: GivenUp."""
        if not self.record(list(events), ledger):
            self.own.remove(person)
            raise GivenUp
        person.ids += [one["id"] for one in events]
        for one in events:
            person.word = WORD.get(one["type"]) or person.word

    def someone(self):
        """An own person, often a new one as long as there are few. Raises GivenUp."""
        if self.own and self.random.random() > 2 / (2 + len(self.own)):
            return self.random.choice(self.own)
        self.persons += 1
        person = Own(f"own:{self.name}.{self.persons}")
        person.names.append(person.name)
        self.own.append(person)
        first = self.make("consent.granted", person.name, person.time(), personal=person.personal())
        self.tell(person, self.make("subject.registered", person.name, person.time()), first)
        return person

    def say_something(self, ledger=None):
        person = self.someone()
        kinds = self.random.choices(
            ["consent.granted", "consent.withdrawn", "optout.recorded", "service.used", "information.collected"],
            k=self.random.choice([1, 1, 1, 2, 5]),
        )
        events = []
        for kind in kinds:
            personal = person.personal() if kind == "service.used" else None
            events.append(self.make(kind, person.name, person.time(), personal=personal))
        self.tell(person, *events, ledger=ledger)

    def say_of_shared(self):
        """What opens is of spring, what closes of summer."""
        kinds = ["consent.granted", "consent.granted", "service.used", "consent.withdrawn", "optout.recorded"]
        events = []
        for _ in range(self.random.choice([1, 1, 2, 8])):
            kind, subject = self.random.choice(kinds), self.random.choice(SHARED)
            month = 7 if kind in ("optout.recorded", "consent.withdrawn") else 2
            events.append(self.make(kind, subject, f"2024-0{month}-{self.random.randint(1, 28):02}T00:00:00Z"))
        self.record(events)

    def link_shared(self):
        other = {"other": self.random.choice(SHARED)}
        first = self.random.choice([one for one in SHARED if one != other["other"]])
        self.record([self.make("subject.linked", first, "2024-03-01T00:00:00Z", personal=other)])

    def link_own(self):
        person = self.someone()
        other = f"{person.name}/{len(person.names)}"
        linked = self.make("subject.linked", person.name, person.time(), personal={"other": other})
        self.tell(person, linked)
        person.names.append(other)

    def delete(self):
        person = self.someone()
        request = {"request": f"r-{self.name}-{self.events}"}
        asked = self.make("deletion.requested", person.name, person.time(), data=request, personal=person.personal())
        done = self.make("deletion.completed", person.name, person.time(), data=request)
        together = [[asked, done]] if self.random.random() < 0.5 else [[asked], [done]]
        for events in together:
            self.tell(person, *events)
        left = self.attempt("evidence", lambda: open_values(self.worker.ledger, person.name))
        if left:
            self.failed("a field opens after its deletion was acknowledged", f"{person}: {left}")

    def invalid(self):
        kind, data = self.random.choice([("information.collected", {"categories": ["nonsense"]}), ("x.y", {})])
        self.record([self.make(kind, self.random.choice(SHARED), LATE, data=data)], wanted="invalid")

    def refused(self):
        bad = self.make("information.collected", self.random.choice(SHARED), LATE, data={"categories": ["national-id"]})
        self.record([bad], wanted="refused")

    def conflict(self):
        told = [one for one, outcome in self.recent if outcome.kind == "accepted" and one["subject"] in SHARED]
        if told:
            again = {**self.random.choice(told), "time": f"2024-01-02T00:00:0{self.random.randrange(10)}Z"}
            self.worker.journal.add(will=[again])
            outcomes = self.attempt("record", lambda: self.worker.ledger.record([again]))
            if outcomes and outcomes[0].kind != "conflict":
                self.failed(f"record: a conflict came out as {outcomes[0].kind}", repr((again, outcomes)))

    def twice(self):
        if not self.recent:
            return
        body, before = self.random.choice(self.recent)
        outcomes = self.attempt("record", lambda: self.worker.ledger.record([body]))
        self.counts["events twice"] += 1
        if outcomes and (outcomes[0].kind, outcomes[0].position) != (before.kind, before.position):
            self.failed("record: the same again came out otherwise", repr((body, before, outcomes)))

    # -- questions -----------------------------------------------------------------------------------------------------

    def ask(self, name, word, ledger=None):
        """Ask, and hold the answer against what was acknowledged before the question. `word`: yes, no or None."""
        with self.worker.lock:
            least, denied = self.worker.size, word == "no" or name in self.worker.noes
        try:
            answer = self.attempt("decide", lambda: (ledger or self.worker.ledger).decide(question(name)))
        except InvalidQuestion as error:
            self.failed("decide: an acknowledged person is unknown", f"{name}: {error}")
            return
        if answer is None:
            return
        self.counts["questions"] += 1
        size = getattr(answer, "size", answer.position)
        if size < self.size:
            self.failed("decide: size decreased in one thread", f"{self.size}, then {size}")
        if size < least:
            self.failed("decide: an answer did not see what was acknowledged before", f"{least}, then {size}")
        self.size = max(size, self.size)
        if denied and answer.outcome == "permit":
            self.contradicted("permitted after an acknowledged no", name, answer, ledger)
        if word == "yes" and answer.outcome != "permit":
            self.contradicted("denied after an acknowledged yes", name, answer, ledger)

    def contradicted(self, what, name, answer, ledger):
        """Note a wrong answer, with what the same Ledger and a new one say to the same question right after."""
        again = self.attempt("decide", lambda: (ledger or self.worker.ledger).decide(question(name)))
        with closing(open_ledger(self.worker.store, self.worker.keys)) as fresh:
            new = self.attempt("decide", lambda: fresh.decide(question(name)))
            told = [(row["position"], row["type"], row["time"]) for row in fresh.history(about(name))]
        self.failed(f"decide: {what}", f"{name}: {answer}\nagain: {again}\na new Ledger: {new}\ntold: {told}")

    def ask_about_own(self, ledger=None):
        person = self.someone()
        self.ask(person.name, person.word, ledger)

    def ask_about_shared(self):
        with self.worker.lock:
            known = sorted(self.worker.known)
        if known:
            self.ask(self.random.choice(known), None)

    def ask_about_the_past(self):
        if self.worker.settled:
            self.ask(*self.random.choice(self.worker.settled))

    def look(self):
        person = self.someone()
        model = self.random.choice(["state", "obligations", "findings", "recipients", "history"])
        rows = self.attempt(model, lambda: getattr(self.worker.ledger, model)({**about(person.name), "at": LATE}))
        self.counts[f"looks at {model}"] += 1
        if model == "history" and rows is not None:
            missing = set(person.ids) - {row["id"] for row in rows}
            if missing:
                self.failed("history: an acknowledged event is missing", f"{person.name}: {sorted(missing)}")

    def second(self):
        """A Ledger of this thread's own."""
        ledger = self.attempt("open_ledger", lambda: open_ledger(self.worker.store, self.worker.keys))
        if ledger is not None:
            with closing(ledger):
                self.say_something(ledger)
                self.ask_about_own(ledger)
            self.counts["second ledgers"] += 1

    # -- erasure -------------------------------------------------------------------------------------------------------

    def erase(self):
        person = self.own[0] if self.own else self.someone()  # the oldest: most backups know it
        self.own.remove(person)  # nothing is said under these names any more
        states = [self.attempt("state", lambda n=name: self.worker.ledger.state(about(n))) for name in person.names]
        persons = [state["person"] for state in states if state is not None]
        self.worker.journal.add(will_erase=person.names, persons=persons)
        if self.erased(person.name):
            self.worker.journal.add(erased=person.names)
            self.counts["erasures"] += 1
            self.check_erased(person.names, persons)

    def erased(self, name):
        """Erase, or find it done by a try before. Returns whether it is done."""
        try:
            return self.attempt("erase", lambda: maintenance.erase(self.worker.ledger, about(name))) is not None
        except InvalidQuestion as error:
            return error.field == "subject"

    def check_erased(self, names, persons):
        ledger = self.worker.ledger
        known = [name for name in names if self.attempt("decide", lambda n=name: is_unknown(ledger, n)) is False]
        if known:
            self.failed("erased: a name is still known", str(known))
        left = [v for one in persons for v in self.attempt("evidence", lambda n=one: open_values(ledger, n)) or []]
        if left:
            self.failed("erased: a field still opens", f"{persons}: {left}")

    def finish_the_past(self):
        """Tell again what was in doubt when the one before died, and erase again."""
        worker = self.worker
        for body in worker.in_doubt:
            outcomes = self.attempt("record", lambda b=body: worker.ledger.record([b]))
            if outcomes:
                worker.journal.add(will=[body])
                worker.journal.add(acked=[[body["id"], outcomes[0].kind, outcomes[0].position, body["type"]]])
                worker.acknowledged([body], outcomes)
        self.counts["told again"] += len(worker.in_doubt)
        for name in sorted(worker.unfinished):
            if self.erased(name):
                worker.journal.add(erased=[name])


ACTIONS = {
    Hand.say_something: 20, Hand.say_of_shared: 20, Hand.link_shared: 1, Hand.link_own: 3, Hand.delete: 2,
    Hand.invalid: 3, Hand.refused: 3, Hand.conflict: 2, Hand.twice: 6, Hand.ask_about_own: 25,
    Hand.ask_about_shared: 15, Hand.ask_about_the_past: 5, Hand.look: 6, Hand.second: 1, Hand.erase: 2,
}  # fmt: skip


def journals(folder):
    """The journals in order of lives: what a later one told again comes after what its forerunner told."""
    return sorted(folder.glob("worker-*.ndjson"), key=lambda path: [int(one) for one in path.stem.split("-")[1:]])


def plain(error):
    """The message without what differs from one time to the next: folders, numbers, names."""
    text = re.sub(r"\S*/|own:\S*|[0-9a-f]{32}|\d+", "~", (str(error).splitlines() or [""])[0])
    return text[:120]


def say(word):
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)
    Worker(json.loads(sys.argv[1])).run()
