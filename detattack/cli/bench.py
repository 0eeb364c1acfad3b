"""`detattack bench`: what an iteration takes on the user's own machine."""

import re
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detattack.cli import options as o
from detattack.core.errors import InputError
from detattack.core.wording import counted

if TYPE_CHECKING:
    from detattack.tasks.detection.benchmark import Speed

SMALLEST = 128
"""Pixels of the shorter side of a rendered scene."""

Size = Annotated[str, typer.Option(help="WIDTHxHEIGHT of the images in pixels.")]


def bench(
    model: o.Model = "demo",
    weights: o.Weights = None,
    categories: o.Categories = None,
    prompt: o.Prompt = None,
    size: Size = "640x480",
    goal: o.GoalText = "suppress:all",
    batch: o.Batch = 1,
    device: o.Device = "auto",
    precision: o.Precision = "fp32",
    json: o.Json = False,
) -> None:
    """Measure an iteration of the attack against one bare pass forward and backward of the model, in turns."""
    from dataclasses import asdict
    from json import dumps

    import torch

    from detattack.detectors.registry import load_detector
    from detattack.tasks.detection.benchmark import measure_speed, scenes
    from detattack.tasks.detection.goals import parse_goal

    width, height = _parse_size(size)
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        detector = load_detector(model, device, weights, categories, prompt)
        wanted = parse_goal(goal)
        wanted.check(detector.categories)
        if wanted.kind in ("inject", "mislabel") or wanted.box:
            raise InputError(f"goal '{goal}': bench takes suppress, degrade and flood, everywhere in the image")
        speed = measure_speed(detector, scenes(batch, width, height, detector.device), precision, wanted)
    where = {
        "model": model,
        "goal": goal,
        "device": str(detector.device),
        "width": width,
        "height": height,
        "batch": batch,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if json:
        print(dumps({**where, **asdict(speed), "ratio": speed.ratio}))
    else:
        _print(where, speed)


def _parse_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text.strip())
    if not match or min(map(int, match.groups())) < SMALLEST:
        raise InputError(f"--size {text!r}: not WIDTHxHEIGHT of at least {SMALLEST} pixels each, e.g. 640x480")
    return int(match[1]), int(match[2])


def _print(where: dict[str, Any], speed: "Speed") -> None:
    print(
        f"{where['model']}, {where['batch']} of {where['width']}x{where['height']} pixels, {where['precision']}, on "
        f"{where['device']} ({counted(where['threads'], 'thread')})"
    )
    peak = "-" if speed.peak_bytes is None else f"{speed.peak_bytes / 2**20:.0f} MiB"
    for name, text in (
        ("bare", f"{1000 * speed.bare_s:.1f} ms   one pass forward and backward, float32, nothing else"),
        ("ours", f"{1000 * speed.ours_s:.1f} ms   an iteration of the attack, {where['goal']}"),
        ("ratio", f"{speed.ratio:.2f}"),
        ("prepare", f"{speed.prepare_s:.2f} s   once, to make the model ready"),
        (
            "passes",
            f"{counted(speed.forwards, 'forward')}, {counted(speed.backwards, 'backward')} in "
            f"{counted(speed.iterations, 'iteration')}",
        ),
        ("peak memory", peak),
    ):
        print(f"{name:12}{text}")
