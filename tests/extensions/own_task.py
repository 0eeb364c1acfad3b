"""An own task: images counted by their bright pixels; an attack makes an image count as dark.

A model is a level of brightness, written as text: `--model 0.5`. A pixel is bright where its mean exceeds the level;
an image is bright where more than a tenth of its pixels are.
"""

from dataclasses import dataclass, replace

import torch

from detattack.core.errors import InputError
from detattack.core.types import Evaluation
from detattack.runs.record import BaseRecord
from detattack.tasks.base import Prepared, Task, TaskConfig
from detattack.tasks.columns import COLUMNS, IMAGE_COLUMNS, Column, ImageColumn
from detattack.tasks.registry import register_task
from detattack.tasks.summary import common_summary

SHARE = 0.1


@dataclass(frozen=True)
class Counter:
    """Counts the bright pixels of images `[n,3,H,W]` in 0..1."""

    level: float
    device: torch.device = torch.device("cpu")

    def excess(self, images):
        """By how much the mean of each pixel exceeds the level: `[n,H*W]`."""
        return images.mean(1).flatten(1) - self.level

    def share(self, image):
        """The share of bright pixels of `[3,H,W]`."""
        return float((self.excess(image[None]) > 0).float().mean())


class CountObjective:
    """What the engine minimizes: how far the pixels that have to go exceed the level."""

    def __init__(self, counter, share):
        self.counter, self.most = counter, share

    def __call__(self, images, index):
        excess = self.counter.excess(images)
        shares = (excess > 0).float().mean(1)
        spared = int(self.most * excess.shape[1])  # the brightest may stay
        rest = excess.sort(descending=True).values[:, spared:]
        return Evaluation((rest + 0.01).relu().sum(1), shares <= self.most, shares)

    def confirm(self, image, index):
        return self.counter.share(image) <= self.most


@dataclass(frozen=True, repr=False)
class CountRecord(BaseRecord):
    task = "count"
    bright_after: int = 0


class CountConfig(TaskConfig):
    model: str = "0.5"


class CountTask(Task[CountRecord, CountConfig, Counter]):
    name = "count"
    record_type, config_type = CountRecord, CountConfig
    columns = (*COLUMNS, Column("bright_left", "bright left", "d"))
    image_columns = (ImageColumn("bright", lambda record, manifest: str(record.bright_after)), *IMAGE_COLUMNS)

    def load_model(self, config, device=None):
        try:
            return Counter(float(config.model))
        except ValueError:
            raise InputError(f"model {config.model!r}: expected a level of brightness from 0 to 1") from None

    def fingerprint(self, model):
        return f"counter {model.level}"

    def prepare(self, model, config, record, picture, truth):
        height, width = picture.pixels.shape[:2]
        image = torch.from_numpy(picture.pixels.copy()).permute(2, 0, 1)[None] / 255
        share = model.share(image[0])
        status, reason = ("", "") if share > SHARE else ("nothing", f"{share:.0%} of the pixels are bright")
        known = {"width": width, "height": height, "status": status, "reason": reason, "confidence_before": share}
        return Prepared(replace(record, **known), picture, image)

    def objective(self, model, config, prepared):
        return CountObjective(model, SHARE)

    def judge(self, model, config, prepared, record, saved):
        share, won = model.share(saved.judged), self.holds(model, config, record, saved.judged)
        return replace(
            record,
            status=record.status or ("success" if won else "failure"),
            confidence_after=share,
            file_success=self.holds(model, config, record, saved.on_file),
            bright_after=round(share * record.width * record.height),
        )

    def holds(self, model, config, record, image):
        return model.share(image) <= SHARE

    def summarize(self, folder, dataset):
        return common_summary(folder.iterate()) | {"bright_left": sum(r.bright_after for r in folder.iterate())}


register_task(CountTask())
