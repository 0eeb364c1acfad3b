"""The source of a data set as `run.json` records it, so that `detattack rerun` can open it again."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from detattack.core.errors import InputError


@dataclass(frozen=True)
class DatasetSource:
    """How to open a data set: one of `files`, `images`, `scenes` and `side`, and its options.

    Paths in a manifest are absolute.

    - files: images given one by one
    - images: a folder
    - annotations: its COCO file
    - labels: its file of labels
    - split: the part of a data set that has several
    - scenes: how many are rendered
    - seed: of the rendered scenes
    - side: in pixels, of the photos that ship with scikit-image
    - skip, limit, only_right: which of the images
    - every, first: of those that this leaves each `every`-th, and of these the first so many
    - missing: what is done where annotated images are not in the folder
    - format: of the images, where it is neither COCO's nor none
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    files: tuple[str, ...] = ()
    images: str | None = None
    annotations: str | None = None
    labels: str | None = None
    split: str | None = None
    scenes: int | None = None
    seed: int = 0
    side: int | None = None
    skip: int = 0
    limit: int | None = None
    only_right: bool = False
    missing: str = "skip"
    format: str | None = None
    every: int = 1
    first: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields that differ from the default, for the manifest."""
        return {key: value for key, value in asdict(self).items() if value != getattr(DatasetSource, key)}

    def moved(self, images: Path | None, annotations: Path | None, labels: Path | None) -> Self:
        """Return the source of the same data at another place.

        - images: the folder where the images are now, whether given one by one or as a folder
        - annotations, labels: the files' paths now

        Raises `InputError` for a path of something that the source does not have.
        """
        given = {"images": images, "annotations": annotations, "labels": labels}
        for name in (name for name, path in given.items() if path and not getattr(self, name)):
            if name != "images" or not self.files:
                raise InputError(f"--{name}: the run has none that could have moved")
        return replace(
            self,
            files=tuple(absolute(images / Path(file).name) for file in self.files) if images else self.files,
            images=absolute(images) if images and not self.files else self.images,
            annotations=absolute(annotations) if annotations else self.annotations,
            labels=absolute(labels) if labels else self.labels,
        )


def absolute(path: Path) -> str:
    """Return a path as a manifest records it."""
    return str(path.absolute())


def read_dataset_source(values: Any, where: str) -> DatasetSource:
    """Read a source from the JSON of `as_json`. Raises `InputError`.

    - values: the parsed JSON
    - where: names the file in messages
    """
    try:
        return TypeAdapter(DatasetSource).validate_python(values)
    except ValidationError as error:
        raise InputError(f"{where}: does not say where its images came from ({error.errors()[0]['msg']})") from error
