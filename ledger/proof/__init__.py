"""What an auditor is given, and what the store is held to."""
