"""Tasks: what is attacked and judged. `base` is the abstraction; `detection` is the object detectors'."""
