"""A detector behind a defense: whatever it is shown goes through a corruption, or a third party's function, first.

`demo+jpeg:75`, `demo+resize:0.5..1`, `demo+defense.py:factory` are names of models as any other: official inference and
candidates both see defended images, so that an attack on such a model knows the defense.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detattack.core.errors import InputError, kind_and_reason, unknown
from detattack.core.precision import fixed_numerics
from detattack.core.third_party import callable_of_file
from detattack.core.types import Candidates, Detections
from detattack.core.wording import counted
from detattack.datasets.corruptions import CORRUPTIONS, parse_corruption
from detattack.datasets.corruptions.differentiable import corrupted
from detattack.detectors.base import Detector

DRAWS, HELD_IN = 4, 12
"""Draws of a random defense over which an attack averages, and draws in each of which its goal has to hold."""
UNSEEN = 1000
"""The number of the first draw that no attack sees."""
SEEDS = 8
"""Seeds on which a function is tried, to know whether it is random."""
SLACK = 1e-4
"""By how much a value may lie outside of [0,1]."""


@dataclass(frozen=True, eq=False)
class Defense:
    """What is done to images before a detector sees them.

    - name: as in a model's name; of a file without its folder
    - function: of one image `[1,3,H,W]` in [0,1] and a seed; keeps size and range, differentiable or not
    - random: whether the seed matters
    - straight: whether the gradient goes straight through, because the function has none of its own
    - digest: of the file that it is from
    """

    name: str
    function: Callable[[Tensor, int], Tensor]
    random: bool = False
    straight: bool = False
    digest: str = ""

    def __call__(self, image: Tensor, seed: int) -> Tensor:
        """Defend one image `[1,3,H,W]`. Raises ValueError where what comes back is no such image."""
        defended = self.function(image, seed)
        problem = _problem(image, defended)
        if problem:
            raise ValueError(f"defense {self.name}: {problem}")
        defended = defended.to(image)
        return _Straight.apply(image, defended.detach()) if self.straight else defended


class Defended:
    """A detector that sees defended images alone; see `Detector`.

    What is random about the defense follows from the 8-bit values of an image and the number of the draw: an image
    that is judged again is judged alike, and each iterate of an attack meets draws of its own.
    """

    def __init__(self, detector: Detector, defense: Defense, draw: int = 0, draws: int = HELD_IN) -> None:
        """Put a detector behind a defense.

        - draw: the number of the draw that images go through
        - draws: in how many, from that one on, a goal has to hold, where the defense is random
        """
        self.detector, self.defense, self.draw = detector, defense, draw
        self.draws = draws if defense.random else 1
        self.name = f"{detector.name}+{defense.name}"
        self.categories, self.device = detector.categories, detector.device
        self.eval_threshold = detector.eval_threshold
        self.has_gradient = bool(getattr(detector, "has_gradient", True))
        self.note = str(getattr(detector, "note", ""))
        shortcut = getattr(detector, "logits", None)
        self.logits = None if shortcut is None else lambda images: shortcut(self.defend(images))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {counted(len(self.categories), 'class')}, {self.device})"

    @cached_property
    def judges(self) -> "tuple[Defended, ...]":
        """The draws in each of which a goal has to hold, each as a detector of its own."""
        return tuple(self.drawn(self.draw + i) for i in range(self.draws)) if self.draws > 1 else (self,)

    @property
    def descended(self) -> "tuple[Defended, ...]":
        """The draws whose losses an attack descends: the first of the judges."""
        return self.judges[:DRAWS]

    def drawn(self, draw: int) -> "Defended":
        """Return the detector that is shown one draw, and judges by that alone."""
        return Defended(self.detector, self.defense, draw, draws=1)

    def candidates(self, images: Tensor, extra_boxes: Tensor | None = None) -> Candidates:
        """Return the detector's candidates of the defended images, differentiable to the images."""
        return self.detector.candidates(self.defend(images), extra_boxes)

    def select(self, candidates: Candidates, score_threshold: float) -> list[Detections]:
        """Select detections as the detector does."""
        return self.detector.select(candidates, score_threshold)

    def detect(self, images: Tensor, score_threshold: float) -> list[Detections]:
        """Run the detector's official inference on the defended images."""
        with torch.no_grad():
            return self.detector.detect(self.defend(images), score_threshold)

    def defend(self, images: Tensor) -> Tensor:
        """Defend images `[N,3,H,W]`, each by itself. Raises ValueError where the defense returns no such images."""
        return torch.cat([self.defense(image[None], self._seed(image)) for image in images])

    def _seed(self, image: Tensor) -> int:
        if not self.defense.random:
            return 0
        pixels = (image.detach() * 255).round().to("cpu", torch.uint8).contiguous()
        digest = hashlib.sha256(f"{self.draw} ".encode() + pixels.numpy().tobytes()).digest()
        return int.from_bytes(digest[:4], "big")


class _Straight(torch.autograd.Function):
    """The defended image, with the gradient of the image itself."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, defended: Tensor) -> Tensor:
        return defended

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


@fixed_numerics()
def load_defense(text: str) -> Defense:
    """Make a defense: a corruption or chain of them, `jpeg:75`, `resize:0.5..1`, or `path/to/file.py:factory`.

    The factory takes nothing and returns a function of images `[N,3,H,W]` in [0,1] to such images. Of randomness it
    may have torch's. Raises `InputError`, also for a function that returns anything else.
    """
    if ".py:" in text:
        return _of_file(text)
    name = text.partition(":")[0].partition("+")[0]
    if not text or (":" not in text and name not in CORRUPTIONS and name != "screen"):
        raise unknown("defense", text, [*CORRUPTIONS, "screen", "path/to/file.py:factory"])
    corruption = parse_corruption(text, ranges=True)
    moving = next((step.name for step in corruption.steps if step.kind.move), None)
    if moving:
        raise InputError(f"defense {text}: {moving} moves what is in the image, and boxes with it")
    if not corruption.varies:
        return Defense(text, lambda image, seed: corrupted(image, corruption))
    return Defense(text, lambda image, seed: corrupted(image, corruption.drawn(seed)), random=True)


def _of_file(text: str) -> Defense:
    factory = callable_of_file(text, "defense")
    try:
        function = factory()
    except Exception as error:  # someone else's code
        raise InputError(f"defense {text}: its factory failed ({kind_and_reason(error)})") from error
    if not callable(function):
        raise InputError(f"defense {text}: its factory returned {type(function).__name__}, not a function of images")
    path, _, called = text.rpartition(":")
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    tried = _tried(Defense(text, lambda image, seed: _seeded(function, image, seed), digest=digest))
    return replace(tried, name=f"{Path(path).name}:{called}")  # wherever the file lies


def _seeded(function: Callable[[Tensor], Tensor], image: Tensor, seed: int) -> Tensor:
    with torch.random.fork_rng(devices=[image.device] if image.is_cuda else []):
        torch.manual_seed(seed)
        return function(image)


def _tried(defense: Defense) -> Defense:
    """Try a function on an image: whether it keeps the contract, is random, and has a gradient. Raises `InputError`."""
    noise = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    image = ((noise * 255).round() / 255).requires_grad_()
    try:
        found = [defense.function(image, seed) for seed in (0, *range(SEEDS))]
    except Exception as error:  # someone else's code
        raise InputError(f"defense {defense.name}: fails ({kind_and_reason(error)})") from error
    problem = next((said for one in found if (said := _problem(image, one))), None)
    if problem:
        raise InputError(f"defense {defense.name}: {problem}")
    if not torch.equal(found[0], found[1]):
        raise InputError(f"defense {defense.name}: is random in a way that torch.manual_seed does not decide")
    differs = any(not torch.equal(found[0], one) for one in found)
    return replace(defense, random=differs, straight=not _has_gradient(image, found[0]))


def _problem(image: Tensor, defended: Any) -> str | None:
    """Say why what a defense returned of `[1,3,H,W]` is no such image; None: it is one."""
    if not isinstance(defended, Tensor):
        return f"returns {type(defended).__name__}, not a tensor"
    if defended.shape != image.shape or not defended.is_floating_point():
        kind = str(defended.dtype).removeprefix("torch.")
        return f"returns {kind} {list(defended.shape)} of an image float32 {list(image.shape)}"
    values = defended.detach()
    if not bool(values.isfinite().all()):
        return "returns values that are not finite"
    low, high = min(0.0, float(image.detach().min())), max(1.0, float(image.detach().max()))  # as `models check` tries
    if float(values.min()) < low - SLACK or float(values.max()) > high + SLACK:
        return f"returns values from {float(values.min()):g} to {float(values.max()):g}, outside [0,1]"
    return None


def _has_gradient(image: Tensor, defended: Tensor) -> bool:
    """Return whether a gradient comes through that is finite and not 0."""
    if not defended.requires_grad:
        return False
    weights = torch.rand(defended.shape, generator=torch.Generator().manual_seed(1))
    try:
        (gradient,) = torch.autograd.grad((defended * weights).sum(), image, allow_unused=True)
    except RuntimeError:
        return False
    return gradient is not None and bool(gradient.isfinite().all() and gradient.any())
