"""The picture of the imports: rooms in layers, and an arrow where one imports another and no other way leads there.

    python tests/picture.py > docs/explanation/imports.svg

Layers are those of `pyproject.toml`, which `make lint` holds the code to; arrows are read from the code.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("consumers", "projections", "ledger")
WIDTH, ROW, BOX, LEFT = 980, 62, 30, 110
SHADES = {"consumers": "#e8f0fe", "projections": "#e6f4ea", "ledger": "#fef7e0"}


def layers():
    """(package, names of the rooms in one layer), from the top down."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    of = {c["containers"][0].split(".")[1]: c["layers"] for c in contracts if c["name"].startswith("the rooms of ")}
    return [(package, [name.strip() for name in layer.split("|")]) for package in PACKAGES for layer in of[package]]


def room(name):
    """The room of a module, as `package.room`."""
    return ".".join(name.removeprefix("consent_ledger.").split(".")[:2])


def imports():
    """room -> rooms that its modules import."""
    found = defaultdict(set)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("consent_ledger."):
                    for one in node.names:
                        there = room(f"{node.module}.{one.name}")
                        if there != here and here.count(".") == 1:
                            found[here].add(there)
    rooms = {f"{package}.{name}" for package, names in layers() for name in names}
    return {one: {there for there in found[one] if there in rooms} for one in sorted(rooms)}


def reach(graph, start):
    """All that can be reached from a room. Raises ValueError for a circle."""
    seen, todo = set(), list(graph[start])
    while todo:
        one = todo.pop()
        if one == start:
            raise ValueError(f"a circle through {start}")
        if one not in seen:
            seen.add(one)
            todo += graph[one]
    return seen


def reduced(graph):
    """The arrows without those that a longer way says already."""
    far = {one: reach(graph, one) for one in graph}
    return {one: {to for to in graph[one] if not any(to in far[other] for other in graph[one] - {to})} for one in graph}


def draw():
    """The picture, as SVG."""
    rows, places, out = layers(), {}, []
    for number, (package, names) in enumerate(rows):
        step = (WIDTH - LEFT) / len(names)
        for place, name in enumerate(names):
            places[f"{package}.{name}"] = (LEFT + step * (place + 0.5), 30 + number * ROW)
    for package in PACKAGES:
        mine = [number for number, (of, _) in enumerate(rows) if of == package]
        top, height = 30 + mine[0] * ROW - 24, len(mine) * ROW - 6
        out.append(f'<rect x="4" y="{top}" width="{WIDTH - 8}" height="{height}" rx="8" fill="{SHADES[package]}"/>')
        out.append(f'<text x="14" y="{top + height / 2:.0f}" font-weight="bold">{package}</text>')
    for one, others in reduced(imports()).items():
        for other in sorted(others):
            (x1, y1), (x2, y2) = places[one], places[other]
            out.append(
                f'<line x1="{x1:.0f}" y1="{y1 + BOX / 2:.0f}" x2="{x2:.0f}" y2="{y2 - BOX / 2:.0f}" '
                'stroke="#777" marker-end="url(#arrow)"/>'
            )
    for name, (x, y) in places.items():
        label = name.partition(".")[2]
        wide = 8 * len(label) + 18
        out.append(
            f'<rect x="{x - wide / 2:.0f}" y="{y - BOX / 2:.0f}" width="{wide}" height="{BOX}" rx="5" fill="#fff" '
            'stroke="#555"/>'
        )
        out.append(f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle">{label}</text>')
    arrow = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#777"/></marker></defs>'
    )
    height = 30 + len(rows) * ROW
    box = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="14"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>'
    return "\n".join(
        [head, "<title>Which room imports which: arrows lead down only</title>", arrow, *out, "</svg>", ""]
    )


if __name__ == "__main__":
    sys.stdout.write(draw())
