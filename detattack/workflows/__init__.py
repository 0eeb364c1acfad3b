"""What the commands do, callable without a command line: a module a command."""
