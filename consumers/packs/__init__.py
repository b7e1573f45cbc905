"""Packs at the command line: checked, compared, explained, stored."""
