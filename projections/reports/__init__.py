"""What is owed, what was found, what was told: read models over folded states."""
