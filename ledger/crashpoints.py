"""Named places where a process may die. Tests kill it there; in production nothing listens."""

from __future__ import annotations

from collections.abc import Callable

hook: Callable[[str], None] | None = None


def reached(name: str) -> None:
    """Tell whoever listens that execution came here."""
    if hook is not None:
        hook(name)
