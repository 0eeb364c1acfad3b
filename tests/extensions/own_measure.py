"""An own measure: what 99% of the values change by at most, in gray levels, a column with unit and format."""

import numpy as np

from detattack.metrics.image_quality import register_measure


@register_measure("p99", label="P99", unit="gray levels", format=".2f", quick=True)
def p99(original, adversarial):
    a, b = (x.astype(float) if x.dtype == np.uint8 else x * 255.0 for x in (original, adversarial))
    return float(np.quantile(np.abs(a - b), 0.99))
