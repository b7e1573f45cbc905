"""One moment for a whole answer, and the stored read models."""
