"""Measures of what an attack did: COCO AP, rates with intervals, image quality, difference maps."""
