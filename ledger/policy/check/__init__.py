"""What the words of a pack may be, and in which lines of its file they stand."""
