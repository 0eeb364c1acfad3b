"""Detectors: the contract (`base`), the adapters, and the registry that finds one by its name."""
