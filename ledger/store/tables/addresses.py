"""Addresses of those who are there, what binds them, and what outlives the erased."""
