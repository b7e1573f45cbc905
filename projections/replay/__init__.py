"""The same history under other rules: who and what would differ."""
