"""The catalogue of events: their models, types and schemas."""
