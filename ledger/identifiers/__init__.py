"""Names, addresses and numbers as text: their forms, their spellings, and where they stand in clear text."""
