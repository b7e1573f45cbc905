"""Change the code in one small place at a time, and see whether a scenario or a random history notices.

    .venv/bin/python tests/mutants.py --module choices [--module words ...] [--jobs 2] [--only FUNCTION] [--suite]

Each mutant runs in a process forked from one that has everything loaded: first random histories, answered as
`reference.py` answers them, then the project's own scenarios, until the first difference: it is `noticed`. If there is
none, the answers to the same histories are compared with those of the code as it is. That is no test, as it says that
an answer is another one, not which is right: what only this sees is `compared`, with the field that differs, and wants
a scenario or a test as much as what nothing sees (`survived`). Both are listed with the line and the change, and the
exit code is 1. With `--suite` such a one is then written into a copy of the tree, and all tests run on it, those of
answers first, until one fails; that one is named. A change that makes no difference stands, with the reason, in
`mutants_equivalent.txt`; a line there that is no change any more is an error (exit 2).

Functions and methods are mutated, by their code objects; constants of a module, decorators and defaults are not.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import CodeType, FunctionType

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
MODULES = {
    "choices": "consent_ledger.projections.decision.choices",
    "words": "consent_ledger.projections.fold.words",
    "decide": "consent_ledger.projections.decision.decide",
    "needs": "consent_ledger.projections.decision.conditions",
    "conditions": "consent_ledger.ledger.policy.conditions",
    "door": "consent_ledger.ledger.intake.admission",
}
EQUIVALENT = HERE / "mutants_equivalent.txt"
FIRST = (
    "explanations",
    "words",
    "closed",
    "reference",
    "addresses",
    "requests",
    "packdiff",
    "properties",
    "times",
    "house",
)
SUITE_LIMIT_S = 3_600
COMPARED = ("outcome", "clauses", "because", "reason", "consequences", "obligations", "changes_at", "policy")
CODES = {what: code for code, what in enumerate(("survived", "noticed", "unreached", *COMPARED))}  # of a child
LIMIT_S = 120  # a mutant that takes longer has lost its way, and is noticed by that
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
OTHER_CALL = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """One change: `node` and `number` find it again in a fresh tree."""

    module: str
    function: str  # dotted, within the module
    line: int
    node: int
    number: int
    change: str

    @property
    def key(self) -> str:
        """What the list of equivalents names it by: no line numbers, they move."""
        return f"{self.module} | {self.function} | {self.change}"


# -- changes -----------------------------------------------------------------------------------------------------------


def changes(node: ast.AST) -> Iterator[tuple[str, str, object]]:
    """(what is said of it, field, new value) for every change of one node. A field `name.3` is an element of a list."""
    match node:
        case ast.Compare():
            for number, one in enumerate(node.ops):
                yield f"{type(one).__name__} to {SWAPS[type(one)].__name__}", f"ops.{number}", SWAPS[type(one)]()
        case ast.BoolOp():
            yield f"{type(node.op).__name__} to {SWAPS[type(node.op)].__name__}", "op", SWAPS[type(node.op)]()
            for number, one in enumerate(node.values):
                yield f"without {ast.unparse(one)}", f"values.{number}", ast.Constant(isinstance(node.op, ast.And))
        case ast.UnaryOp(op=ast.Not()):
            yield "without not", "operand", ast.UnaryOp(ast.Not(), node.operand)
        case ast.BinOp() if type(node.op) in SWAPS:
            yield f"{type(node.op).__name__} to {SWAPS[type(node.op)].__name__}", "op", SWAPS[type(node.op)]()
        case ast.Constant(value=bool() as value):
            yield f"{value} to {not value}", "value", not value
        case ast.Constant(value=int() as value):
            yield f"{value} to {value + 1}", "value", value + 1
        case ast.Call(func=ast.Name(id=name)) if name in OTHER_CALL:
            yield f"{name} to {OTHER_CALL[name]}", "func", ast.Name(OTHER_CALL[name], ast.Load())
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "returns None", "value", ast.Constant(None)
        case ast.IfExp() | ast.If() if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield f"not {ast.unparse(node.test)}", "test", ast.UnaryOp(ast.Not(), node.test)
    for field in ("body", "orelse"):
        block = getattr(node, field, None)
        for number, one in enumerate(block if isinstance(block, list) else ()):
            plain = isinstance(one, ast.Expr | ast.Assign | ast.AugAssign | ast.Continue | ast.Break)
            if plain and not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)):
                yield f"deleted: {ast.unparse(one)}", f"{field}.{number}", ast.Pass()


def apply(node: ast.AST, field: str, value: object) -> None:
    name, _, number = field.partition(".")
    if number:
        getattr(node, name)[int(number)] = value
    else:
        setattr(node, name, value)


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for one in tree.body:
        if isinstance(one, ast.FunctionDef):
            yield one.name, one
        elif isinstance(one, ast.ClassDef):
            yield from ((f"{one.name}.{inner.name}", inner) for inner in one.body if isinstance(inner, ast.FunctionDef))


def nodes_of(function: ast.FunctionDef) -> list[ast.AST]:
    """The function itself and what stands in its body, in a fixed order."""
    found: list[ast.AST] = [function]
    todo: list[ast.AST] = list(reversed(function.body))
    while todo:
        node = todo.pop()
        if not isinstance(node, ast.expr_context | ast.operator | ast.cmpop | ast.boolop | ast.unaryop):
            found.append(node)
        inner = [(name, value) for name, value in ast.iter_fields(node) if name != "annotation"]
        children = [one for _, value in inner for one in (value if isinstance(value, list) else [value])]
        todo += [one for one in reversed(children) if isinstance(one, ast.AST)]
    return found


def mutants_of(module: str) -> list[Mutant]:
    found = []
    for name, function in functions(ast.parse(source_of(module))):
        for number, node in enumerate(nodes_of(function)):
            text = name if isinstance(node, ast.FunctionDef) else "".join(ast.unparse(node).splitlines()[:1])
            line = getattr(node, "lineno", function.lineno)
            found += [
                Mutant(module, name, line, number, which, f"{text}: {what}")
                for which, (what, _, _) in enumerate(changes(node))
            ]
    return found


def source_of(module: str) -> str:
    return Path(importlib.import_module(MODULES[module]).__file__ or "").read_text()


def mutated(mutant: Mutant) -> ast.Module:
    """The module's tree with the change in it."""
    tree = ast.parse(source_of(mutant.module))
    node = nodes_of(dict(functions(tree))[mutant.function])[mutant.node]
    _, field, value = list(changes(node))[mutant.number]
    apply(node, field, value)
    return ast.fix_missing_locations(tree)


def mutate(mutant: Mutant) -> bool:
    """Change the loaded function. False where nothing loaded runs it: what a library took apart when it was defined."""
    code = compile(mutated(mutant), MODULES[mutant.module], "exec", dont_inherit=True)
    loaded: object = importlib.import_module(MODULES[mutant.module])
    for name in mutant.function.split("."):
        code = next(one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name)
        loaded = vars(loaded).get(name)
    if isinstance(loaded, property):
        loaded = loaded.fget
    elif isinstance(loaded, staticmethod | classmethod):
        loaded = loaded.__func__
    elif isinstance(loaded, cached_property):
        loaded = loaded.func
    if not isinstance(loaded, FunctionType):
        return False
    loaded.__code__ = code
    return True


# -- what notices ------------------------------------------------------------------------------------------------------


def histories(examples: int) -> list[tuple]:
    """The same random histories each time: (controller, events, [(question, at, known_at, permitted, exact, answer)]).

    `exact`: whether not permitted is certain too. `answer`: what the code as it is says, the fields that are compared.
    """
    import test_reference as ref

    cases = []

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def collect(data):
        controller = data.draw(st.sampled_from(sorted(ref.PLACES)))
        place = ref.PLACES[controller]
        theme, need, loose = data.draw(ref.themes(place))
        found = data.draw(ref.rows(place, theme))
        ledger, events = ref.both(controller, found)
        asked = []
        for _ in range(3):
            body = data.draw(ref.questions(place, theme, loose))
            at, known = data.draw(ref.moments(found))
            permitted = ref.permitted(controller, events, body, need, at, known)
            kept = permitted and ref.permitted(controller, events, body, need, at, known, keeps=True)
            exact = permitted == kept and not ref.in_doubt(events, body)
            answer = ref.ask(ledger, controller, body, at, known).to_dict()
            asked.append((body, at, known, permitted, exact, {name: answer[name] for name in COMPARED}))
        cases.append((controller, found, asked))

    collect()
    return cases


def notice(cases: list[tuple], scenarios: list[tuple]) -> str:
    """`noticed`, or the first of the fields that differ from what the code as it is answered, or `survived`."""
    import test_reference as ref

    from consent_ledger.consumers.scenarios import run_scenario

    differ = set()
    for controller, found, asked in cases:
        ledger, _ = ref.both(controller, found)
        for body, at, known, permitted, exact, answer in asked:
            answered = ref.ask(ledger, controller, body, at, known).to_dict()
            came = answered["outcome"] == "permit"
            if came != permitted and (came or exact):
                return "noticed"
            differ |= {name for name in COMPARED if answered[name] != answer[name]}
    full = {"purpose": "news", "categories": ["email"], "channel": "email", "recipient": "pal", "list": "offers"}
    for type_name, data in ref.NOES:
        if any(ref.wrongly_open(type_name, data, {**full, "action": action}) for action in ref.OF_OTHER_ACTIONS):
            return "noticed"
    if any(run_scenario(scenario, body).problems for scenario, body in scenarios):
        return "noticed"
    return next((name for name in COMPARED if name in differ), "survived")


def own_scenarios() -> list[tuple]:
    from consent_ledger.consumers.opening import shipped_packs
    from consent_ledger.consumers.scenarios import load_scenarios

    bodies = shipped_packs()
    files = sorted((HERE / "scenarios").glob("*.yaml"))
    found = [(one, bodies[one["controller"]]) for file in files for one in load_scenarios(file)]
    packs = sorted((HERE / "packs").glob("*.toml"))
    return found + [(one, pack.read_bytes()) for pack in packs for one in load_scenarios(pack.with_suffix(".yaml"))]


def try_out(mutant: Mutant | None, cases: list[tuple], scenarios: list[tuple]) -> str:
    """`noticed`, `compared: FIELD`, `survived` or `unreached`, of one mutant, in a process of its own.

    None: of the code as it is. What ends in an error or takes too long is noticed.
    """
    child = os.fork()
    if child == 0:
        code = CODES["noticed"]
        try:
            signal.alarm(LIMIT_S)
            with open(os.devnull, "w") as quiet:  # noqa: PTH123
                os.dup2(quiet.fileno(), 2)
            loaded = mutant is None or mutate(mutant)
            code = CODES[notice(cases, scenarios) if loaded else "unreached"]
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    found = {code: what for what, code in CODES.items()}.get(os.waitstatus_to_exitcode(status), "noticed")
    return f"compared: {found}" if found in COMPARED else found


def try_suite(mutant: Mutant) -> str:
    """The name of the first test that fails with the change in a copy of the tree, or "" where all pass."""
    from blackbox import link_names

    root = HERE.parent
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder) / root.name
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info"))
        path = copy / f"{MODULES[mutant.module].removeprefix('consent_ledger.').replace('.', '/')}.py"
        path.write_text(ast.unparse(mutated(mutant)))
        link_names(copy, copy / "names")
        tests = sorted(one.name for one in (copy / "tests").glob("test_*.py") if one.stem != "test_structure")
        tests.sort(key=lambda name: name.removeprefix("test_").removesuffix(".py") not in FIRST)
        command = [sys.executable, "-m", "pytest", "-xq", *(f"tests/{name}" for name in tests)]
        done = subprocess.run(
            command, cwd=copy, env={**os.environ, "PYTHONPATH": str(copy / "names")}, capture_output=True, text=True,
            timeout=SUITE_LIMIT_S, check=False,
        )  # fmt: skip
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "" if done.returncode == 0 else (failed or [done.stdout[-200:]])[0]


# -- the command -------------------------------------------------------------------------------------------------------


def equivalents() -> set[str]:
    lines = EQUIVALENT.read_text().splitlines() if EQUIVALENT.exists() else []
    return {line.split(" || ")[0] for line in lines if line and not line.startswith("#")}


def stale_equivalents() -> list[str]:
    """The lines of the list that are no change of the code as it stands."""
    there = {one.key for module in MODULES for one in mutants_of(module)}
    return sorted(equivalents() - there)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", action="append", choices=sorted(MODULES))
    parser.add_argument("--only", action="append", help="a function's name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--histories", type=int, default=100)
    parser.add_argument("--suite", action="store_true", help="try all tests on what is not noticed")
    args = parser.parse_args()
    if stale := stale_equivalents():
        print("no change any more, take it off the list:", *stale, sep="\n  ")  # noqa: T201
        return 2
    cases, scenarios = histories(args.histories), own_scenarios()
    if try_out(None, cases, scenarios) != "survived":
        print("the code as it stands is noticed: mend that first")  # noqa: T201
        return 2
    known = equivalents()
    found = [one for module in args.module or sorted(MODULES) for one in mutants_of(module)]
    found = [one for one in found if one.key not in known and (not args.only or one.function in args.only)]
    began = time.monotonic()
    with ThreadPoolExecutor(args.jobs) as pool:
        became = []
        for one, first in zip(found, pool.map(lambda one: try_out(one, cases, scenarios), found), strict=True):
            what = first
            if args.suite and what != "noticed" and (test := try_suite(one)):
                print(f"{one.key}: {test}", flush=True)  # noqa: T201
                what = "noticed"
            became.append(what)
            if what != "noticed":
                path = MODULES[one.module].removeprefix("consent_ledger.").replace(".", "/")
                print(f"{path}.py:{one.line}: {what}: {one.key}", flush=True)  # noqa: T201
    kinds = [what.partition(":")[0] for what in became]
    count = {what: kinds.count(what) for what in ("noticed", "compared", "survived", "unreached")}
    print(f"{len(found)} mutants in {time.monotonic() - began:.0f} s: {count}")  # noqa: T201
    return 1 if count["compared"] or count["survived"] else 0


if __name__ == "__main__":
    sys.exit(main())
