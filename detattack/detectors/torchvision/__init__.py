"""Adapters of torchvision's detectors."""
