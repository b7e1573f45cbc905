"""The main job end to end, on a generated stream: ingest, decide, look back, prove, erase, and catch a forger."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from consent_ledger.consumers import show
from consent_ledger.consumers.demo.generator import ANN, ANN_LIST, ANN_PARTNER, NOW, Stream, ann_dates, generate
from consent_ledger.consumers.demo.lives import PARATURE, WHEREVERWORKS
from consent_ledger.consumers.ingest import BATCH, Tally, ingest
from consent_ledger.consumers.maintenance import check_evidence, check_store, erase, evidence_for
from consent_ledger.consumers.opening import create_ledger, shipped_packs
from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.ledger.intake.application import open_file
from consent_ledger.ledger.log.verifier import parse_vkey
from consent_ledger.ledger.proof.audit import StoreCorrupt, verify_store
from consent_ledger.ledger.store.sqlite_forgery import flip_a_bit
from consent_ledger.ledger.times import DAY, format_time, parse_time
from consent_ledger.projections.ledger import Ledger

HISTORY_SHOWN: Final = 24


@dataclass(slots=True)
class _Demo:
    folder: Path
    out: Console
    ledger: Ledger
    stream: Stream
    moment: int

    def title(self, text: str) -> None:
        self.out.print()
        self.out.rule(f"[bold]{escape(text)}[/bold]", align="left")


def run(folder: Path | None) -> bool:
    """Show everything. Returns whether all of it came out as it should."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="consent-ledger-demo-") as temporary:
            return _run(Path(temporary))
    folder.mkdir(parents=True, exist_ok=True)
    return _run(folder)


def _run(folder: Path) -> bool:
    started = time.perf_counter()
    out = show.console()
    packs = shipped_packs()
    stream = generate(packs=packs)
    ledger = create_ledger(f"sqlite:///{folder / 'demo.db'}", origin="demo.example/consent-ledger")
    demo = _Demo(folder, out, ledger, stream, parse_time(NOW))
    ledger.clock = lambda: demo.moment
    steps: tuple[Callable[[_Demo], bool], ...] = (
        _take_in, _ask, _look_back, _prove, _erase, _tamper,
    )  # fmt: skip
    for body in packs.values():
        ledger.app.add_pack(body)
    results = [step(demo) for step in steps]  # every step, also after one that failed
    good = all(results)
    ledger.app.close()
    demo.title("What to try next")
    out.print(
        f"""  All of this took {time.perf_counter() - started:.0f} seconds. On a store of your own:
    consent-ledger init --store sqlite:///my.db
    consent-ledger pack add parature --store sqlite:///my.db
    consent-ledger ingest events.ndjson --store sqlite:///my.db
    consent-ledger decide crm:1 --action contact --purpose newsletter --list news --store sqlite:///my.db
  docs/tutorial.md goes through it step by step; consent-ledger --help lists the rest.""",
        markup=False,
    )
    return good


def _take_in(demo: _Demo) -> bool:
    """Ingest the stream as it was told, line by line, over two years."""
    demo.title("1. Two years of two organisations are told to the ledger")
    told = demo.stream.told()
    lines = list(demo.stream.lines())
    place = [0]

    def clock() -> int:
        return told[min(place[0] + BATCH - 1, len(told) - 1)]

    def progress(number: int) -> None:
        place[0] = number

    demo.ledger.clock = clock
    started = time.perf_counter()
    tally: Tally = ingest(demo.ledger, BytesIO(b"".join(lines)), "demo.ndjson", progress=progress)
    seconds = time.perf_counter() - started
    demo.ledger.clock = lambda: demo.moment
    head = demo.ledger.app.current_head()
    demo.out.print(f"  {len(lines):,} lines in {seconds:.1f} s ({len(lines) / seconds:,.0f}/s), every batch on disk")
    demo.out.print("  " + ", ".join(f"{count:,} {name}" for name, count in tally.to_dict().items()))
    for problem in tally.problems[:5]:
        demo.out.print(f"    {problem}", style="dim", markup=False)
    demo.out.print("  The log's newest checkpoint, signed:")
    for line in head.checkpoint.splitlines()[:3]:
        demo.out.print(f"    {line}", style="dim", markup=False)
    return tally.accepted > 0 and tally.invalid == demo.stream.bad


def _questions() -> list[tuple[str, dict[str, Any], str]]:
    dates = {name: parse_time(text) for name, text in ann_dates().items()}
    news = {"action": "contact", "purpose": "newsletter", "list": ANN_LIST, "channel": "email"}
    par, ww = {"controller": PARATURE, "subject": ANN}, {"controller": WHEREVERWORKS, "subject": ANN}

    def after(name: str, days: int = 1) -> str:
        return format_time(dates[name] + days * DAY)

    lawful = {"action": "disclose", "recipient": "county-court", "purpose": "law-enforcement", "ground": "law"}
    desk = {"action": "disclose", "recipient": "support-desk", "categories": ["name", "email"]}
    trade = {"action": "disclose", "recipient": ANN_PARTNER, "purpose": "product-workflow", "categories": ["email"]}
    first = format_time(dates["opted_in"] - DAY)
    return [
        ("The same question to both houses: may a promotion be mailed, before she said a word?",
         {**par, "action": "contact", "purpose": "promotion", "list": "gifts", "at": first}, "deny"),
        ("... and at the other house, which needs no opt-in?",
         {**ww, "action": "contact", "purpose": "promotion", "channel": "email", "at": first}, "permit"),
        ("The product news, the day after she opted in?", {**par, **news, "at": after("opted_in")}, "permit"),
        ("The same, the day after she opted out by the link?", {**par, **news, "at": after("opted_out")}, "deny"),
        ("A service message while her agreement runs, whatever the opt-outs?",
         {**par, "action": "contact", "purpose": "service-message", "at": after("opted_out")}, "permit"),
        ("Her name and e-mail to the support desk, for support?",
         {**par, **desk, "purpose": "support", "at": after("disclosed")}, "permit"),
        ("The same to the support desk, for promotions?",
         {**par, **desk, "purpose": "promotion", "at": after("disclosed")}, "deny"),
        ("To a court that the law backs, after every opt-out?",
         {**par, **lawful, "categories": ["name"], "at": after("opted_out")}, "permit"),
        ("Offers, by what is known today, in the days between her withdrawal and its telling?",
         {**par, "action": "contact", "purpose": "promotion", "list": "offers", "channel": "email",
          "at": after("withdrew", 10)}, "deny"),
        ("... and by what was known then?",
         {**par, "action": "contact", "purpose": "promotion", "list": "offers", "channel": "email",
          "at": after("withdrew", 10), "known_at": format_time(dates["withdrew"] - 40 * DAY)}, "permit"),
        ("The other house: a patch after the general opt-out?",
         {**ww, "action": "contact", "purpose": "patch", "channel": "email", "at": after("general_optout")}, "permit"),
        ("... and a newsletter?",
         {**ww, "action": "contact", "purpose": "newsletter", "at": after("general_optout")}, "deny"),
        ("Her e-mail to the trade partner she opted out of?", {**ww, **trade, "at": after("partner_optout")}, "deny"),
        ("The new use of version 2, which she refused?",
         {**ww, "action": "use", "purpose": "behavioural-advertising", "categories": ["interests"]}, "deny"),
    ]  # fmt: skip


def _ask(demo: _Demo) -> bool:
    demo.title("2. May I? A dozen questions about one person, with reasons")
    good = True
    for text, body, expected in _questions():
        answer = demo.ledger.decide(body)
        show.print_answer(answer, text)
        if answer.outcome != expected:
            good = False
            demo.out.print(f"  [red]expected {expected}[/red]")
    return good


def _look_back(demo: _Demo) -> bool:
    demo.title("3. What happened: her history, what is owed, what went wrong, who holds what")
    who = {"controller": PARATURE, "subject": ANN}
    history = demo.ledger.history(who)
    show.print_rows(f"history of {ANN} at {PARATURE}", history[:HISTORY_SHOWN], ("position", "time", "type", "data"))
    owed = demo.ledger.obligations(who)
    show.print_rows("obligations", owed, ("kind", "clause", "status", "opened", "missing", "request"))
    findings = demo.ledger.findings(who)
    show.print_rows("findings", findings, ("time", "clause", "event", "known_then", "reason"))
    held = demo.ledger.recipients(who)
    show.print_rows("recipients", held, ("recipient", "categories", "since", "stale", "clause"))
    started = time.perf_counter()
    everything = [row for one in (PARATURE, WHEREVERWORKS) for row in demo.ledger.findings({"controller": one})]
    seconds = time.perf_counter() - started
    demo.out.print(f"  Over everybody: {len(everything)} findings, judged in {seconds:.1f} s; by clause:")
    clauses: dict[str, int] = {}
    for row in everything:
        clauses[str(row["clause"])] = clauses.get(str(row["clause"]), 0) + 1
    demo.out.print("    " + ", ".join(f"{clause} {count}" for clause, count in sorted(clauses.items())))
    return bool(history and owed and findings and held)


def _prove(demo: _Demo) -> bool:
    demo.title("4. Proof: one zip that an auditor checks offline, with a key from elsewhere")
    key = demo.ledger.app.signer.vkey
    file = demo.folder / "evidence.zip"
    body = evidence_for(demo.ledger, {"controller": PARATURE, "subject": ANN}, ["email"], auditor=False)
    file.write_bytes(body)
    demo.out.print(f"  {file.name}: {len(body):,} bytes; of her personal fields only the e-mail address is opened")
    for line in str(check_evidence(file, key, [])).splitlines():
        demo.out.print(f"  {line}", style="green", markup=False)
    return True


def _erase(demo: _Demo) -> bool:
    demo.title("5. Erasure: real, although history is immutable")
    who = {"controller": PARATURE, "subject": ANN}
    _, person = demo.ledger.found(who)
    positions = erase(demo.ledger, who)
    demo.out.print(f"  {ANN} is erased at {PARATURE}: names, fields and key destroyed; entry {positions[0]} says so")
    try:
        demo.ledger.decide({**who, "action": "use", "purpose": "support"})
    except InvalidQuestion as error:
        demo.out.print(f"  Asked again: {error}", markup=False)
    file = demo.folder / "evidence-after.zip"
    body = evidence_for(demo.ledger, {"controller": PARATURE, "subject": person.person}, ["all"], auditor=False)
    file.write_bytes(body)
    for line in str(check_evidence(file, demo.ledger.app.signer.vkey, [])).splitlines()[:3]:
        demo.out.print(f"  {line}", style="green", markup=False)
    demo.out.print("  The same entries under the same kind of proof, and no field can be opened any more.")
    demo.out.print(f"  The whole store: {check_store(demo.ledger, None)}", style="green", markup=False)
    return True


def _tamper(demo: _Demo) -> bool:
    demo.title("6. A forger flips one byte in a copy of the store")
    copy = demo.folder / "forged.db"
    position = demo.ledger.app.current_head().size // 2
    flip_a_bit(demo.folder / "demo.db", copy, position)
    app = open_file(copy, demo.ledger.app.keys)
    app.load()
    try:
        verify_store(app, parse_vkey(demo.ledger.app.signer.vkey))
    except StoreCorrupt as error:
        demo.out.print(f"  verify: {error}", style="red", markup=False)
        return f"entry {position}" in str(error)
    finally:
        app.close()
        copy.unlink()
    return False
