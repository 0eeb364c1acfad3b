"""What adapters share: columns of a head, log-odds, top-k by level, proposals, resizing, random weights."""
