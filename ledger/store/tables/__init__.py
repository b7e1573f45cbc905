"""What is asked of the tables of a store and written to them, by table. Values in, values out; no rule stands here."""
