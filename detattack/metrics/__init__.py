"""Measures of the effect of an attack: COCO AP, rates with intervals, image quality, difference maps."""
