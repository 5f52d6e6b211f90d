"""The command line: a file a subcommand, which composes the parts."""
