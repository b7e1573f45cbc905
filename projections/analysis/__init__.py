"""What a check of a pack finds by reasoning over its rows."""
