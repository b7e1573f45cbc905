"""A made-up life of two organisations, and the measurements over it."""
