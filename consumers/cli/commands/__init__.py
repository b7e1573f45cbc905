"""The commands of the command line, a module a topic; `consumers.cli.app` puts them together."""
