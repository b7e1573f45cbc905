"""The one way in: parse, admit, seal, append, destroy."""
