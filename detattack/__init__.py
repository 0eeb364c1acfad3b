"""detattack: how little must change in an image before a detector no longer sees what is there.

The environment default below must be in place before torch is first imported: with OpenMP's busy waiting, two
processes on a small machine slow each other down by an order of magnitude.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.2.0"
