"""One module under one name, whatever it is imported by.

With a checkout on the path, `ledger`, `projections` and `consumers` can be imported as they lie there. Each module
would then be there twice, beside the one under `consent_ledger`: two classes of every error, two ideas of which files
are in use and locked. So whoever imports by the short name gets the one module there is, also by the name that it had
before there were rooms.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Final

NAME: Final = "consent_ledger"
PACKAGES: Final = ("ledger", "projections", "consumers")
FORMER: Final = {
    "consumers.bench": "consumers.demo.bench",
    "consumers.clauses": "consumers.packs.clauses",
    "consumers.cli": "consumers.cli.app",
    "consumers.commands": "consumers.cli.commands",
    "consumers.demo": "consumers.demo.story",
    "consumers.generator": "consumers.demo.generator",
    "consumers.generator_lives": "consumers.demo.lives",
    "consumers.importing": "consumers.files.importing",
    "consumers.packcheck": "consumers.packs.check",
    "consumers.packdiff": "consumers.packs.diff",
    "consumers.packstore": "consumers.packs.store",
    "consumers.program": "consumers.cli.program",
    "consumers.prose": "consumers.packs.prose",
    "consumers.reference": "consumers.packs.reference",
    "consumers.yamlfile": "consumers.files.yamlfile",
    "ledger.acts": "ledger.events.acts",
    "ledger.addresses": "ledger.intake.addresses",
    "ledger.append": "ledger.intake.batch",
    "ledger.application": "ledger.intake.application",
    "ledger.audit": "ledger.proof.audit",
    "ledger.checkup": "ledger.proof.checkup",
    "ledger.cleartext": "ledger.identifiers.cleartext",
    "ledger.closing": "ledger.events.closing",
    "ledger.collector": "ledger.gcpause",
    "ledger.conditions": "ledger.policy.conditions",
    "ledger.copying": "ledger.intake.copying",
    "ledger.deadletters": "ledger.intake.dead_letters",
    "ledger.decisionid": "ledger.events.decision_id",
    "ledger.derived": "ledger.proof.derived",
    "ledger.documents": "ledger.intake.documents",
    "ledger.door": "ledger.intake.admission",
    "ledger.ends": "ledger.intake.ends",
    "ledger.entry": "ledger.log.entry",
    "ledger.erasure": "ledger.intake.erasure",
    "ledger.events": "ledger.events.catalogue",
    "ledger.eventwords": "ledger.intake.vocabulary",
    "ledger.evidence": "ledger.proof.evidence",
    "ledger.facts": "ledger.events.facts",
    "ledger.files": "ledger.files.durable",
    "ledger.heads": "ledger.vault.heads",
    "ledger.held": "ledger.files.held",
    "ledger.hints": "ledger.intake.hints",
    "ledger.incoming": "ledger.intake.parse",
    "ledger.keys": "ledger.vault.keys",
    "ledger.letterwords": "ledger.intake.letter_words",
    "ledger.lifts": "ledger.intake.lifts",
    "ledger.marks": "ledger.identifiers.marks",
    "ledger.media": "ledger.intake.media",
    "ledger.merkle": "ledger.log.merkle",
    "ledger.notes": "ledger.log.checkpoint",
    "ledger.pack": "ledger.policy.pack",
    "ledger.packfile": "ledger.policy.load",
    "ledger.packwords": "ledger.policy.check.words",
    "ledger.person": "ledger.intake.persons",
    "ledger.personal": "ledger.policy.personal_fields",
    "ledger.points": "ledger.crashpoints",
    "ledger.reader": "ledger.store.sqlite_reader",
    "ledger.readings": "ledger.policy.interpretations",
    "ledger.recorder": "ledger.store.sqlite_pool",
    "ledger.recovery": "ledger.intake.recovery",
    "ledger.spellings": "ledger.identifiers.spellings",
    "ledger.staying": "ledger.intake.staying",
    "ledger.suppression": "ledger.intake.suppression",
    "ledger.tomllines": "ledger.policy.check.lines",
    "ledger.traces": "ledger.intake.traces",
    "ledger.trying": "ledger.intake.dry_run",
    "ledger.upgrade": "ledger.intake.upgrade",
    "ledger.vault": "ledger.vault.vault",
    "ledger.verifier": "ledger.log.verifier",
    "projections.acts": "projections.reports.acts",
    "projections.addresses": "projections.decision.addresses",
    "projections.asking": "projections.replay.asking",
    "projections.atthedoor": "projections.decision.admission",
    "projections.bearing": "projections.replay.relevance",
    "projections.beside": "projections.read.beside",
    "projections.bounces": "projections.read.bounces",
    "projections.choices": "projections.decision.choices",
    "projections.decide": "projections.decision.decide",
    "projections.document": "projections.reports.document",
    "projections.duties": "projections.reports.duties",
    "projections.judge": "projections.reports.findings",
    "projections.needs": "projections.decision.conditions",
    "projections.obligations": "projections.reports.obligations",
    "projections.packcheck": "projections.analysis.packcheck",
    "projections.packclocks": "projections.analysis.clocks",
    "projections.packdifference": "projections.replay.difference",
    "projections.packduties": "projections.analysis.duties",
    "projections.packreach": "projections.analysis.reachability",
    "projections.packties": "projections.analysis.conflicts",
    "projections.patterns": "projections.decision.patterns",
    "projections.people": "projections.read.people",
    "projections.projector": "projections.read.projector",
    "projections.question": "projections.decision.question",
    "projections.record": "projections.fold.record",
    "projections.regions": "projections.analysis.regions",
    "projections.rehearsal": "projections.replay.rehearsal",
    "projections.session": "projections.read.session",
    "projections.snapshot": "projections.read.snapshot",
    "projections.state": "projections.fold.state",
    "projections.versions": "projections.decision.versions",
    "projections.words": "projections.fold.words",
    "projections.world": "projections.fold.world",
}


class _There(Loader):
    """Loads nothing: the module is there."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:  # noqa: ARG002  the interface's
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Short(MetaPathFinder):
    """Finds what is imported by a short name."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        package, dot, _ = fullname.partition(".")
        if not dot or package not in PACKAGES or not _is_ours(package):
            return None
        for name in (fullname, *_today(fullname)):
            if find_spec(f"{NAME}.{name}") is not None:
                module = import_module(f"{NAME}.{name}")
                return ModuleSpec(fullname, _There(module), is_package=hasattr(module, "__path__"))
        return None


def _today(name: str) -> list[str]:
    """What a module of a former name is called, if it is one."""
    parts = name.split(".")
    return [
        ".".join((FORMER[former], *parts[end:]))
        for end in range(len(parts), 1, -1)
        if (former := ".".join(parts[:end])) in FORMER
    ]


def _is_ours(package: str) -> bool:
    """Whether what is imported by that name is this program, and no app's own."""
    return sys.modules.get(package) is sys.modules.get(f"{NAME}.{package}")


def stand_in(package: str) -> None:
    """Have a package that was imported by its short name be the one under the full name."""
    sys.modules[package] = import_module(f"{NAME}.{package}")
    if not any(isinstance(one, _Short) for one in sys.meta_path):
        sys.meta_path.insert(0, _Short())
