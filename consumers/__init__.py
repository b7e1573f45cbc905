"""Every way in and out. The only place that knows the clock, the configuration and which store is in use."""

from consumers.opening import create_ledger, memory_ledger, open_ledger, shipped_packs

__all__ = ["create_ledger", "memory_ledger", "open_ledger", "shipped_packs"]
