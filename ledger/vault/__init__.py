"""Keys, and what is sealed under them: personal fields, names, the journal of what was destroyed."""
