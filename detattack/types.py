"""The types of the contract under the name by which adapters outside of this repository import them."""

from detattack.core.types import Candidates, Category, Detections

__all__ = ["Candidates", "Category", "Detections"]
