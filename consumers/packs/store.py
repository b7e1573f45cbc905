"""The packs that a store holds: which there are, and the exact bytes of one."""

from __future__ import annotations

from typing import Any

from consent_ledger.ledger.errors import InvalidQuestion
from consent_ledger.ledger.policy.load import load_pack
from consent_ledger.ledger.policy.pack import Pack
from consent_ledger.ledger.store.tables import packs
from consent_ledger.projections.ledger import Ledger

Row = dict[str, Any]


def pack_rows(ledger: Ledger) -> list[Row]:
    """Every pack in the store, those that are registered first.

    `versions`: of the statement, as published with it.
    """
    registered = {pack.sha256 for pack in ledger.app.controller_packs().values()}
    with ledger.app.reading() as c:
        found = packs.sizes(c)
    served: dict[str, list[str]] = {}
    for controller in sorted({row[0] for row in found}):
        for entry in ledger.app.entries(f"controller:{controller}"):
            if entry.type == "policy.published":
                data = entry.data.model_dump()
                served.setdefault(data["pack_sha256"], []).append(data["version"])
    rows = [
        {
            "controller": controller,
            "sha256": sha256,
            "registered": sha256 in registered,
            "versions": served.get(sha256, []),
            "clauses": len(ledger.app.pack(sha256).clause),
            "bytes": size,
        }
        for controller, sha256, size in found
    ]
    return sorted(rows, key=lambda row: (row["controller"], not row["registered"], row["sha256"]))


def stored_pack(ledger: Ledger, name: str) -> tuple[Pack, bytes]:
    """The pack registered for a controller, or the one whose SHA-256 begins so. Raises InvalidQuestion."""
    registered = ledger.app.controller_packs().get(name)
    with ledger.app.reading() as c:
        if registered is not None:
            body = packs.body(c, registered.sha256)
            bodies = [] if body is None else [body]
        elif len(name) >= 4 and set(name) <= set("0123456789abcdef"):
            bodies = packs.beginning(c, name)
        else:
            raise InvalidQuestion("pack", f"{name!r} is no controller of this store (pack list has them)")
    if len(bodies) != 1:
        what = f"{len(bodies)} packs begin" if bodies else "no pack begins"
        raise InvalidQuestion("pack", f"{what} with {name} (pack list has them)")
    return load_pack(bodies[0]), bodies[0]
