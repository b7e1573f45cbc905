"""One person's and one controller's state, folded from entries."""
