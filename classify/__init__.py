"""Classification through the same engine."""
