"""Files that last: replaced whole, written to the disk, opened once."""
