"""The columns of `images.csv` of a classifier's run, beside those of every task."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from classify.record import ClassificationRecord
from detattack.tasks.columns import RecordColumn, field_column

Which = Literal["clean", "adversarial"]


def _class(key: str, text: str) -> tuple[RecordColumn, RecordColumn]:
    """Make the columns of a field that holds the index of a class, −1 for none: the index, and the name."""

    def index(record: ClassificationRecord, manifest: Mapping[str, Any]) -> int | None:
        return None if getattr(record, key) < 0 else getattr(record, key)

    def name(record: ClassificationRecord, manifest: Mapping[str, Any]) -> str | None:
        label = index(record, manifest)
        return None if label is None else manifest["classes"][label]

    return RecordColumn(key, "integer", index, f"{text}: its index"), RecordColumn(
        f"{key}_name", "text", name, f"{text}: its name"
    )


def _likeliest(which: Which, text: str) -> tuple[RecordColumn, RecordColumn]:
    """Make the columns of the likeliest class: its name, and its probability."""

    def name(record: ClassificationRecord, manifest: Mapping[str, Any]) -> str | None:
        labels = getattr(record, which).get("labels")
        return manifest["classes"][labels[0]] if labels else None

    def score(record: ClassificationRecord, manifest: Mapping[str, Any]) -> float | None:
        scores = getattr(record, which).get("scores")
        return scores[0] if scores else None

    return RecordColumn(f"{which}_name", "text", name, f"the likeliest class of {text}"), RecordColumn(
        f"{which}_score", "number", score, "its probability", "0 to 1"
    )


RECORD_COLUMNS: Sequence[RecordColumn] = (
    *_class("label", "what the image shows, where that is known"),
    *_class("leaves", "the class to leave"),
    *_class("wrong", "the class to go to"),
    field_column("targeted", "boolean", "whether only that class is a success"),
    *_likeliest("clean", "the original"),
    *_likeliest("adversarial", "the adversarial image"),
    *_class("file_label", "the prediction for the 8-bit file"),
)
