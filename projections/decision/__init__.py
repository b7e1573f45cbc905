"""A question, the rows that decide it, and the answer."""
