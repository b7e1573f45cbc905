"""Entries and the tree over them: RFC 6962 and C2SP, pure, without a store."""
