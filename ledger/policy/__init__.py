"""A privacy statement as data: its rows, its interpretations, and how a file of it is read and checked."""
