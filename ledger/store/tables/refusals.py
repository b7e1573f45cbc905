"""Refused events by key, and whom they name."""
