"""The data and the models that experiments name, each opened and loaded once."""

from dataclasses import dataclass
from pathlib import Path

from classify.datasets import only_right, open_labeled
from classify.models.registry import load_classifier
from classify.paper.config import Runs, from_shared
from classify.types import Classifier
from detattack.core.errors import InputError
from detattack.datasets.base import Dataset

TITLES = {"cifar10": "CIFAR-10", "imagenet": "ImageNet"}
_HINTS = {
    "cifar10": "detattack data prepare cifar10 fetches it, --cifar10 DIR names it",
    "imagenet": "--imagenet DIR and --labels FILE name it, see data/imagenet/README.md",
}


@dataclass(frozen=True)
class Given:
    """What the command line puts in the place of what the configs say. limit: images at most, for a quick look."""

    cifar10: Path | None = None
    imagenet: Path | None = None
    labels: Path | None = None
    imagenet_model: str | None = None
    imagenet_weights: str | None = None
    preprocess: str | None = None
    device: str = "auto"
    limit: int | None = None


@dataclass(frozen=True)
class Model:
    """What `load_classifier` needs."""

    spec: str
    weights: str | None
    preprocess: str | None


class Sources:
    """Classifiers and images by what is asked of them."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self._classifiers: dict[Model, Classifier] = {}
        self._images: dict[tuple[Model, str, int, int, int], Dataset] = {}

    def model(self, runs: Runs) -> Model:
        """Return the model of the runs: the config's, or that of the command line."""
        weights = None if runs.weights is None else from_shared(runs.weights)
        model = Model(runs.model, weights, runs.preprocess)
        if runs.data != "imagenet":
            return model
        given = self.given
        if given.imagenet_model is not None:
            model = Model(given.imagenet_model, None, None)
        return Model(model.spec, given.imagenet_weights or model.weights, given.preprocess or model.preprocess)

    def count(self, images: int) -> int:
        """How many images are taken where a config asks for so many."""
        return images if self.given.limit is None else min(images, self.given.limit)

    def classifier(self, runs: Runs) -> Classifier:
        """Load the classifier of the runs. Raises `InputError`."""
        model = self.model(runs)
        if model not in self._classifiers:
            self._check_weights(model)
            self._classifiers[model] = load_classifier(model.spec, self.given.device, model.weights, model.preprocess)
        return self._classifiers[model]

    def images(self, runs: Runs) -> Dataset:
        """Open the images of the runs: of those that the model gets right. Raises `InputError`."""
        count = self.count(runs.images)
        key = self.model(runs), runs.data, runs.skip, runs.every, count
        if key not in self._images:
            data = open_labeled(*self._places(runs))
            right = only_right(self.classifier(runs), data, runs.skip, 1 + (count - 1) * runs.every)
            self._images[key] = right.thinned(runs.every)
        return self._images[key]

    def _places(self, runs: Runs) -> tuple[Path, Path | None]:
        own = self.given.cifar10 if runs.data == "cifar10" else self.given.imagenet
        folder = own or Path(from_shared(runs.folder))
        if not folder.is_dir():
            raise InputError(f"{TITLES[runs.data]}: no folder {folder}; {_HINTS[runs.data]}")
        if runs.data == "cifar10" and not any(one.is_dir() for one in folder.iterdir()):  # as in a checkout
            raise InputError(f"{TITLES[runs.data]}: is not in {folder} yet; {_HINTS[runs.data]}")
        if runs.data != "imagenet" or self.given.labels is not None:
            return folder, self.given.labels if runs.data == "imagenet" else None
        return folder, Path(from_shared(runs.labels)) if runs.labels and own is None else None

    @staticmethod
    def _check_weights(model: Model) -> None:
        if model.weights not in (None, "none") and not Path(str(model.weights)).is_file():
            raise InputError(f"weights {model.weights}: no such file; --imagenet-weights FILE names another")
