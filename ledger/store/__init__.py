"""Bytes at rest: the tables of the embedded store and one moment of them."""
