"""The embedded detectors: networks, adapters, training, evaluation, weights."""
