"""The projections at rest: rows as they are, in a file of their own. All SQL that is not the log's."""
