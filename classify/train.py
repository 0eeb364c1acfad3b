"""Training of the embedded VGG16 on CIFAR-10: SGD with one cycle, crops and flips, nothing else."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from classify.datasets import resolve_labels
from classify.models.vgg16 import CLASSES, MEAN, SIDE, STD, VGG16
from classify.types import Classifier
from detattack.core.errors import InputError
from detattack.core.files import write_bytes_atomic
from detattack.core.precision import has_fast_bf16
from detattack.core.wording import counted
from detattack.datasets.base import Dataset

__all__ = ["Progress", "TrainConfig", "accuracy", "as_tensors", "train"]

PADDING = 4
MOMENTUM = 0.9


@dataclass(frozen=True)
class TrainConfig:
    """A training run. The same config on the same machine gives the same weights, interrupted or not.

    out: folder of `checkpoint.pt` and `weights.safetensors`. width: of the network. lr: the cycle's highest rate.
    precision: "bf16", "fp32" or "auto" (bf16 where the processor has instructions for it).
    """

    out: Path
    seed: int = 0
    epochs: int = 30
    batch: int = 128
    width: float = 0.5
    lr: float = 0.1
    weight_decay: float = 5e-4
    precision: str = "auto"


@dataclass(frozen=True)
class Progress:
    """Where a run is: mean loss and share of right answers on the augmented images since the last report."""

    step: int
    steps: int
    loss: float
    right: float
    seconds_per_step: float

    @property
    def seconds_left(self) -> float:
        """At the present speed."""
        return (self.steps - self.step) * self.seconds_per_step


@dataclass
class _State:
    network: VGG16
    optimizer: torch.optim.SGD
    schedule: torch.optim.lr_scheduler.OneCycleLR
    step: int = 0


def normalized(images: Tensor) -> Tensor:
    """uint8 `[N,3,32,32]` as the network wants them."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    return ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def _augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to four pixels and mirrored half of the time."""
    count = len(images)
    padded = F.pad(images.float(), (PADDING,) * 4, mode="reflect").to(images.dtype)
    top, left = torch.randint(0, 2 * PADDING + 1, (2, count), generator=generator)
    mirrored = torch.rand(count, generator=generator) < 0.5
    side = torch.arange(SIDE)
    rows = (top[:, None] + side)[:, :, None]
    columns = torch.where(mirrored[:, None], side.flip(0), side) + left[:, None]
    picked = padded.permute(0, 2, 3, 1)[torch.arange(count)[:, None, None], rows, columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def _start(config: TrainConfig, steps: int) -> _State:
    """Make a fresh state, or load the one that the folder's checkpoint holds."""
    torch.manual_seed(config.seed)
    network = VGG16(config.width).to(memory_format=torch.channels_last).train()
    decaying = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decaying, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, config.lr, MOMENTUM, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, steps, pct_start=0.2, cycle_momentum=False)
    state = _State(network, optimizer, schedule)
    path = config.out / "checkpoint.pt"
    if path.exists():
        saved = torch.load(path, weights_only=True)
        if saved["config"] != _identity(config):
            raise ValueError(f"{path} belongs to another training: {saved['config']}")
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        state.step = saved["step"]
    return state


def _identity(config: TrainConfig) -> dict[str, object]:
    """Return what must agree for a checkpoint to be continued."""
    return {key: value for key, value in asdict(config).items() if key != "out"}


def _checkpoint(config: TrainConfig, state: _State) -> None:
    saved = {
        "config": _identity(config),
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "schedule": state.schedule.state_dict(),
        "step": state.step,
    }
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    write_bytes_atomic(config.out / "checkpoint.pt", buffer.getbuffer())


def _save_weights(config: TrainConfig, network: nn.Module) -> Path:
    """float16 safetensors; the classes and the training stand in the header."""
    weights = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in network.state_dict().items()
    }
    header = {"classes": CLASSES, "width": config.width, "training": _identity(config)}
    path = config.out / "weights.safetensors"
    write_bytes_atomic(path, save(weights, {"detattack": json.dumps(header, sort_keys=True)}))
    return path


def print_progress(progress: Progress) -> None:
    """One plain line on stderr."""
    print(
        f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f}  right {progress.right:.1%}"
        f"  {progress.seconds_per_step:.3f} s/step  {progress.seconds_left / 60:.0f} min left",
        file=sys.stderr,
        flush=True,
    )


def train(
    config: TrainConfig, images: Tensor, labels: Tensor, report: Callable[[Progress], None] = print_progress
) -> Path:
    """Trains on uint8 `[N,3,32,32]` and labels `[N]`, or goes on where the folder has a checkpoint (one an epoch).

    Returns the weights' file. Raises ValueError if the folder holds another training.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    per_epoch = len(images) // config.batch
    if not per_epoch:
        raise ValueError(f"{counted(len(images), 'image is', 'images are')} less than one batch of {config.batch}")
    state = _start(config, config.epochs * per_epoch)
    bf16 = has_fast_bf16() if config.precision == "auto" else config.precision == "bf16"
    while state.step < config.epochs * per_epoch:
        epoch = state.step // per_epoch
        started = time.monotonic()
        loss, right = _epoch(config, state, images, labels, bf16, epoch)
        seconds = (time.monotonic() - started) / per_epoch
        _checkpoint(config, state)
        report(Progress(state.step, config.epochs * per_epoch, loss, right, seconds))
    return _save_weights(config, state.network)


def _epoch(
    config: TrainConfig, state: _State, images: Tensor, labels: Tensor, bf16: bool, epoch: int
) -> tuple[float, float]:
    """One pass over the images, in an order that depends on seed and epoch alone; mean loss and share right."""
    generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
    order = torch.randperm(len(images), generator=generator)
    losses, right, count = 0.0, 0, 0
    for rows in order.split(config.batch):
        if len(rows) < config.batch:
            break
        inputs = normalized(_augmented(images[rows], generator))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = state.network(inputs).float()
        loss = F.cross_entropy(logits, labels[rows])
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        state.optimizer.step()
        state.schedule.step()
        state.step += 1
        losses += loss.item() * len(rows)
        right += int((logits.argmax(1) == labels[rows]).sum())
        count += len(rows)
    return losses / count, right / count


@torch.no_grad()
def accuracy(classifier: Classifier, images: Tensor, labels: Tensor, batch: int = 500) -> float:
    """Share of uint8 `[N,3,32,32]` that a classifier gets right, in float32."""
    right = 0
    for part, wanted in zip(images.split(batch), labels.split(batch), strict=True):
        right += int((classifier.logits(part.float() / 255).argmax(1) == wanted).sum())
    return right / len(images)


def as_tensors(data: Dataset, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """All images uint8 `[N,3,32,32]` and labels `[N]` of a data set, by class and name, whatever order they come in.

    Raises `InputError` for what cannot be used.
    """
    labels = resolve_labels(data, classes)
    samples = sorted(data.samples, key=lambda sample: (labels[sample.id] or 0, sample.stem))
    images = torch.empty(len(labels), 3, SIDE, SIDE, dtype=torch.uint8)
    wanted = torch.empty(len(labels), dtype=torch.long)
    for row, sample in enumerate(samples):
        pixels, label = sample.load().pixels, labels[sample.id]
        if pixels.shape != (SIDE, SIDE, 3) or label is None:
            what = "has no label" if label is None else f"is {pixels.shape[1]}x{pixels.shape[0]}, not {SIDE}x{SIDE}"
            raise InputError(f"{sample.source}: {what}")
        images[row] = torch.from_numpy(pixels).permute(2, 0, 1)
        wanted[row] = label
    return images, wanted
