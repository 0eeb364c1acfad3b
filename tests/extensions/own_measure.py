"""An own measure: the root mean square of the change in gray levels, a column with unit and format."""

import numpy as np

from detattack.metrics.image_quality import register_measure


@register_measure("rms", label="RMS", unit="gray levels", format=".2f", quick=True)
def rms(original, adversarial):
    a, b = (x.astype(float) if x.dtype == np.uint8 else x * 255.0 for x in (original, adversarial))
    return float(np.sqrt(np.mean((a - b) ** 2)))
