"""Several detectors that are attacked at once, and what each judgment of them asks."""

from collections.abc import Sequence

from torch import Tensor

from detattack.core.types import Candidates, Detections
from detattack.detectors.base import Detector


class Several:
    """Detectors before all of which a goal has to hold. What is reported, and AP, is of the first; see `Detector`."""

    def __init__(self, models: Sequence[Detector]) -> None:
        """Take the detectors, one at least. They may name and number their classes in ways of their own."""
        self.models = tuple(models)
        self.first = first = self.models[0]
        self.name = ",".join(model.name for model in models)
        self.categories, self.device, self.eval_threshold = first.categories, first.device, first.eval_threshold
        self.has_gradient = all(getattr(model, "has_gradient", True) for model in models)
        notes = [(model.name, getattr(model, "note", "")) for model in models]
        self.note = "; ".join(f"{name}: {note}" for name, note in notes if note)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @property
    def judges(self) -> tuple[Detector, ...]:
        """All that have to agree that a goal holds."""
        return tuple(judge for model in self.models for judge in judges_of(model))

    @property
    def descended(self) -> tuple[Detector, ...]:
        """Those of them whose losses an attack descends."""
        return tuple(one for model in self.models for one in descended_of(model))

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return the candidates of the first."""
        return self.first.candidates(images, extra_boxes)

    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Select detections as the first does."""
        return self.first.select(candidates, score_threshold)

    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run the official inference of the first."""
        return self.first.detect(images, score_threshold)


def judges_of(model: Detector) -> tuple[Detector, ...]:
    """Return the detectors before all of which a goal has to hold: of most models the model itself."""
    return tuple(getattr(model, "judges", (model,)))


def descended_of(model: Detector) -> tuple[Detector, ...]:
    """Return those of the judges whose losses an attack descends: all, but for many draws of a random defense."""
    return tuple(getattr(model, "descended", (model,)))
