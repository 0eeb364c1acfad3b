"""What the exit status says."""

FAILED = 1
"""Something failed that should not have."""
BAD_INPUT = 2
INTERRUPTED = 130
"""Ctrl-C."""
