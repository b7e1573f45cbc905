"""Every way in and out. The only place that knows the clock, the configuration and which store is in use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consent_ledger.consumers.opening import create_ledger, memory_ledger, open_ledger, shipped_packs

__all__ = ["create_ledger", "memory_ledger", "open_ledger", "shipped_packs"]


def __getattr__(name: str) -> Any:
    """What is exported, loaded when it is first asked for: the program has begun by then."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from consent_ledger.consumers import opening

    return getattr(opening, name)


if __name__ == "consumers":  # a checkout that is on the path: there is one module under one name
    from consent_ledger.ledger.short_names import stand_in

    stand_in(__name__)
