"""Training of the embedded detectors on scenes that are rendered as it goes: no picture is ever seen twice."""

from __future__ import annotations

import io
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from detattack.core.files import write_bytes_atomic
from detattack.core.precision import has_fast_bf16
from detattack.datasets.scenes.scene import render
from detattack.datasets.scenes.seeds import training_seed
from detattack.datasets.scenes.types import CATEGORIES
from detattack.detectors.demo.adversarial import Adversary, attacked
from detattack.detectors.demo.network import HEADS, build_network
from detattack.detectors.weights import fit_weights, names_of, read_weights

__all__ = ["Progress", "TrainConfig", "save_weights", "train"]


@dataclass(frozen=True)
class TrainConfig:
    """A training run. The same config on the same machine gives the same weights, interrupted or not.

    out: folder of `checkpoint.pt` and `weights.safetensors`. head: one of `network.HEADS`. start: weights that the
    network begins with, those of the backbone alone if the head is another; None: random ones. steps: of `batch`
    scenes of `width` x `height` pixels. lr: highest learning rate, reached after `warmup` steps and then lowered
    along half a cosine. ema: how slowly the averaged weights follow. clip: largest gradient norm.
    checkpoint_every: steps. precision: "bf16", "fp32" or "auto" (bf16 where the processor has instructions for it).
    workers: processes that render; 0 renders in line. adversary: attacks a share of each batch; None: all of it is
    clean.
    """

    out: Path
    head: str = "retinanet"
    start: Path | None = None
    seed: int = 0
    steps: int = 5000
    batch: int = 8
    width: int = 480
    height: int = 320
    lr: float = 2e-3
    warmup: int = 300
    weight_decay: float = 0.02
    ema: float = 0.998
    clip: float = 5.0
    checkpoint_every: int = 500
    precision: str = "auto"
    workers: int = 2
    adversary: Adversary | None = None


@dataclass(frozen=True)
class Progress:
    """Where a run is. Losses (by the network's names for its terms) and speed are means since the last report."""

    step: int
    steps: int
    losses: dict[str, float]
    lr: float
    seconds_per_step: float

    @property
    def loss(self) -> float:
        """The sum that is minimized."""
        return sum(self.losses.values())

    @property
    def seconds_left(self) -> float:
        """At the present speed."""
        return (self.steps - self.step) * self.seconds_per_step


class _Scenes(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Scene i of a training run: image uint8 [3,H,W], boxes float32 [M,4], labels int64 [M]."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        scene = render(training_seed(self.config.seed, index), self.config.width, self.config.height)
        image = torch.from_numpy(scene.image).permute(2, 0, 1).contiguous()
        return image, torch.from_numpy(scene.boxes), torch.from_numpy(scene.labels)


def _one_thread(_: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _batches(config: TrainConfig, start: int) -> Iterator[list[tuple[Tensor, Tensor, Tensor]]]:
    """Yield the batches from step `start` on: which scenes they hold depends on the step alone."""
    loader = DataLoader(
        _Scenes(config),
        batch_size=config.batch,
        sampler=range(start * config.batch, config.steps * config.batch),
        num_workers=config.workers,
        collate_fn=list,
        worker_init_fn=_one_thread,
        multiprocessing_context="spawn" if config.workers else None,
        prefetch_factor=4 if config.workers else None,
    )
    generator = torch.get_rng_state()
    batches = iter(loader)
    if start:  # this has drawn a number, which the checkpoint's generator had done before it was saved
        torch.set_rng_state(generator)
    return batches


def _learning_rate(config: TrainConfig, step: int) -> float:
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def _optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW; biases and norms do not decay."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr)


def _losses(state: _State, config: TrainConfig, batch: list[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return the terms of the loss of a batch, after the config's adversary has attacked its share of it."""
    first_label = HEADS[config.head].first_label
    images = torch.stack([image for image, _, _ in batch]).float() / 255
    targets = [{"boxes": boxes, "labels": labels + first_label} for _, boxes, labels in batch]
    if config.adversary is not None:
        count = config.adversary.count(len(batch))
        random = torch.Generator().manual_seed(training_seed(config.seed, state.step))
        loss = partial(_sum_of_losses, state.network, targets[:count])
        images[:count] = attacked(state.network, images[:count], loss, config.adversary, random)
    return state.network(list(images), targets)


def _sum_of_losses(network: nn.Module, targets: list[dict[str, Tensor]], images: Tensor) -> Tensor:
    return _total(network(list(images), targets))


def _total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def _run_in_bf16(network: nn.Module) -> None:
    """Lets the backbone and the dense heads, where the time goes, run in bfloat16; losses stay in float32."""

    def cast(output: Any) -> Any:
        return type(output)((key, value.float()) for key, value in output.items())

    def in_bf16(forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            with torch.autocast("cpu", torch.bfloat16):
                return cast(forward(*inputs))

        return run

    for name in ("backbone", "head"):
        part = getattr(network, name, None)
        if part is not None:
            part.forward = in_bf16(part.forward)


@torch.no_grad()
def _follow(average: dict[str, Tensor], network: nn.Module, step: int, decay: float) -> None:
    """Exponential average of weights and statistics, quick at first."""
    keep = min(decay, (1 + step) / (10 + step))
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value, 1 - keep)
        else:
            average[key].copy_(value)


@dataclass
class _State:
    network: nn.Module
    optimizer: torch.optim.AdamW
    average: dict[str, Tensor]
    step: int = 0


def _start(config: TrainConfig) -> _State:
    """Make a fresh state, or load the one that the folder's checkpoint holds."""
    torch.manual_seed(config.seed)
    network = build_network(config.head).train()
    if config.start is not None:
        _begin_with(network, config.start)
    state = _State(network, _optimizer(network, config), {k: v.clone() for k, v in network.state_dict().items()})
    path = config.out / "checkpoint.pt"
    if path.exists():
        saved = torch.load(path, weights_only=True)
        if saved["config"] != _identity(config):
            raise ValueError(f"{path} belongs to another training: {saved['config']}")
        network.load_state_dict(saved["network"])
        state.optimizer.load_state_dict(saved["optimizer"])
        state.average, state.step = saved["average"], saved["step"]
        torch.set_rng_state(saved["rng"])
    return state


def _begin_with(network: nn.Module, path: Path) -> None:
    """Load all weights of a network of the same kind, or the backbone's alone of another kind. Raises `InputError`."""
    weights = read_weights(path, names_of(network))
    if weights.keys() == network.state_dict().keys():
        fit_weights(network, weights, path)
        return
    prefix = "backbone."
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    fit_weights(network.get_submodule("backbone"), own, path)


def _identity(config: TrainConfig) -> dict[str, object]:
    """Return what must agree for a checkpoint to be continued."""
    free = ["out", "workers", "checkpoint_every"]
    if config.adversary is None:
        free.append("adversary")  # so that checkpoints from before there was one are continued
    values = {key: value for key, value in asdict(config).items() if key not in free}
    return values | {"start": config.start and config.start.name}


def save_weights(path: Path, weights: dict[str, Tensor], training: dict[str, object]) -> None:
    """Write `weights` as float16 safetensors, atomically; what is not floating point keeps its dtype.

    `training` and the classes go into the header as JSON under one key: several keys are written in random order.
    """
    half = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in weights.items()}
    header = {"classes": [category.name for category in CATEGORIES], "training": training}
    write_bytes_atomic(path, save(half, {"detattack": json.dumps(header, sort_keys=True)}))


def _checkpoint(config: TrainConfig, state: _State) -> None:
    saved = {
        "config": _identity(config),
        "network": state.network.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "average": state.average,
        "step": state.step,
        "rng": torch.get_rng_state(),
    }
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    write_bytes_atomic(config.out / "checkpoint.pt", buffer.getbuffer())
    training = {**_identity(config), "step": state.step}
    save_weights(config.out / "weights.safetensors", state.average, training)


def print_progress(progress: Progress) -> None:
    """One plain line on stderr."""
    terms = ", ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
    print(
        f"step {progress.step}/{progress.steps}  loss {progress.loss:.3f} ({terms})  lr {progress.lr:.1e}"
        f"  {progress.seconds_per_step:.2f} s/step  {progress.seconds_left / 60:.0f} min left",
        file=sys.stderr,
        flush=True,
    )


def train(config: TrainConfig, report: Callable[[Progress], None] = print_progress, report_every: int = 50) -> Path:
    """Run `config`, or go on with it where its folder has a checkpoint; returns the averaged weights' file.

    `report` is called every `report_every` steps. Raises ValueError if the folder holds another training.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    state = _start(config)
    if has_fast_bf16() if config.precision == "auto" else config.precision == "bf16":
        _run_in_bf16(state.network)
    sums, mark = dict[str, float](), time.monotonic()
    batches = _batches(config, state.step) if state.step < config.steps else iter(())
    for batch in batches:
        lr = _learning_rate(config, state.step)
        for name, value in _step(state, config, batch, lr).items():
            sums[name] = sums.get(name, 0.0) + value
        if state.step % report_every == 0 or state.step == config.steps:
            count, now = (state.step - 1) % report_every + 1, time.monotonic()
            losses = {name: value / count for name, value in sums.items()}
            report(Progress(state.step, config.steps, losses, lr, (now - mark) / count))
            sums, mark = {}, now
        if state.step % config.checkpoint_every == 0 or state.step == config.steps:
            _checkpoint(config, state)
    return config.out / "weights.safetensors"


def _step(
    state: _State, config: TrainConfig, batch: list[tuple[Tensor, Tensor, Tensor]], lr: float
) -> dict[str, float]:
    """One update; returns the terms of the loss."""
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    losses = _losses(state, config, batch)
    total = _total(losses)
    if not torch.isfinite(total):
        raise FloatingPointError(f"the loss is {total.item()} at step {state.step}")
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    nn.utils.clip_grad_norm_(state.network.parameters(), config.clip)
    state.optimizer.step()
    state.step += 1
    _follow(state.average, state.network, state.step, config.ema)
    return {name: value.item() for name, value in losses.items()}
