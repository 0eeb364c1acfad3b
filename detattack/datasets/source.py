"""Where a data set came from, as `run.json` says it, so that it can be opened again: `detattack rerun`."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from detattack.core.errors import InputError


@dataclass(frozen=True)
class Origin:
    """What opens a data set: one of `files`, `images`, `scenes` and `side`, with what goes with it. Paths are absolute.

    files: images named one by one. images: a folder; annotations: its COCO file; labels: its file of labels; split: of
    CIFAR-10 and the like. scenes: how many are rendered, by `seed`. side: of the photos that are always there. skip,
    limit, only_right: which of all these. missing: what is done where annotated images are not in the folder.
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

    def as_json(self) -> dict[str, Any]:
        """For the manifest: what is said, without the rest."""
        return {key: value for key, value in asdict(self).items() if value != getattr(Origin, key)}

    def moved(self, images: Path | None, annotations: Path | None, labels: Path | None) -> Self:
        """The same data in another place. images: the folder where the images lie now, one by one or all. Raises
        `InputError` where there is no such thing to be moved."""
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
    """A path as a manifest holds it."""
    return str(path.absolute())


def read_origin(values: Any, where: str) -> Origin:
    """From `as_json`, after a round trip through JSON. `where` is said of what cannot be read. Raises `InputError`."""
    try:
        return TypeAdapter(Origin).validate_python(values)
    except ValidationError as error:
        raise InputError(f"{where}: does not say where its images came from ({error.errors()[0]['msg']})") from error
