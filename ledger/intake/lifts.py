"""Whose lift undoes whose opt-out. Source: contract, section 2, "Lifting undoes"."""

from __future__ import annotations

from typing import Final

OTHERS: Final = ("operator", "system")  # whose lift is about their own only
NARROW_SIGNALS: Final = frozenset(("gpc", "nai", "partner", "complaint"))  # a lift with one is about that one only


def undoes(actor: str, signal: str | None, no_actor: str, no_signal: str | None) -> bool:
    """Whether a lift by `actor` with `signal` undoes an earlier no of that actor and signal, of the scope and name."""
    if actor in OTHERS and no_actor != actor:
        return False
    return signal not in NARROW_SIGNALS or no_signal == signal
