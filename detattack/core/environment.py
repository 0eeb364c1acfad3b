"""Environment variables that decide how numbers are computed; libraries read some of them once, so they come first."""

import os

DETERMINISTIC = "DETATTACK_DETERMINISTIC"
"""1: deterministic algorithms wherever torch has them, whatever they cost."""
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
"""What cuBLAS needs to know to be deterministic, before it starts."""
KEPT = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", DETERMINISTIC, CUBLAS)
"""The variables that a manifest keeps."""


def be_deterministic() -> None:
    """Ask for deterministic algorithms, in this process and those that it starts."""
    os.environ[DETERMINISTIC] = "1"
    os.environ.setdefault(CUBLAS, ":4096:8")


def is_deterministic() -> bool:
    """Return whether deterministic algorithms are asked for."""
    return os.environ.get(DETERMINISTIC) == "1"


def deciding() -> dict[str, str]:
    """Return the variables that are set, with their values."""
    return {name: os.environ[name] for name in KEPT if name in os.environ}
