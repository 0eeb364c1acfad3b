"""Weights from files: safetensors, or checkpoints of training programs. Only tensors are built from a file."""

import logging
import pickle
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from detattack.core.errors import InputError, reason

WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights")
"""What training programs call the model's own weights in a checkpoint, the likeliest first."""
COUNTER = "num_batches_tracked"
NO_WEIGHTS = "none"
"""What stands for random weights where a file is expected."""
REMEDY = "save `model.state_dict()`: torch.save(model.state_dict(), 'own_weights.pth')"
MOST_NESTED = 3
"""So many dictionaries deep the weights of a checkpoint are looked for."""
MOST_PREFIXES = 8
"""So many parts a prefix may have."""
_BESIDE = (
    *("argparse.Namespace", "types.SimpleNamespace", "numpy.dtype", "numpy.ndarray"),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(
        f"{module}.{kind}Path"
        for module in ("pathlib", "pathlib._local")
        for kind in ("", "Posix", "Windows", "Pure", "PurePosix", "PureWindows")
    ),
)
"""What stands beside the weights in the checkpoints of ordinary training programs: options, scores, folders."""
_AVERAGED = re.compile(r"(^|[._])(ema|swa|teacher|averaged?)([._]|$)")
Model = TypeVar("Model")
log = logging.getLogger(__name__)


def seeded(build: Callable[[], Model]) -> Model:
    """Build a model with random weights that are the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def check_own_weights(what: str, weights: str | None, categories: object) -> None:
    """Raise `InputError` where other classes than COCO's are named for weights that know these: the model's own."""
    if weights is None and categories is not None:
        raise InputError(f"{what}: its own weights know COCO's classes; pass --weights FILE too")


def downloaded(what: str, build: Callable[[], Model]) -> Model:
    """Build a model that downloads its weights. Raises `InputError` where that fails."""
    try:
        return build()
    except (URLError, OSError) as error:
        why = f"its weights cannot be downloaded ({reason(error)})"
        raise InputError(f"{what}: {why}; pass --weights FILE") from error


def read_weights(path: str | Path, names: Collection[str] = ()) -> dict[str, Tensor]:
    """Read the weights of a file, by the model's names.

    names: some or all that the model has. By them the right state dict of a checkpoint is found, and the prefix that
    a wrapper of the model (compiled, parallel, Lightning's) put before its names. What is chosen, stripped or left out
    is logged as a warning. Of a pickle only tensors are built; whatever would run code is refused.

    Raises `InputError`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"weights {path}: {'not a file' if path.exists() else 'no such file'}")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_checkpoint(path)
    return choose_weights(content, path, names)


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load the weights of a file into `network`, as `read_weights` and `fit_weights` do."""
    fit_weights(network, read_weights(path, names_of(network)), path)


def names_of(network: nn.Module) -> list[str]:
    """Return the names that a file of the network's weights must have."""
    return [name for name in network.state_dict() if not name.endswith(COUNTER)]


def choose_weights(content: object, path: str | Path, names: Collection[str] = ()) -> dict[str, Tensor]:
    """Choose the weights in the content of a file, as `read_weights` says. Raises `InputError`."""
    choices = list(_choices(content, frozenset(names), set()))
    if not choices:
        raise InputError(f"weights {path}: holds no state dict (names and tensors); {REMEDY}")
    most = max(choice.known for choice in choices)
    fitting = [choice for choice in choices if choice.known == most]
    first, *others = sorted(fitting, key=_Choice.rank)
    if others and first.rank() == others[0].rank() and (most or not names):
        found = " and ".join(repr(choice.label) for choice in (first, others[0]))
        raise InputError(f"weights {path}: holds more than one model, {found}; save the one that is meant: {REMEDY}")
    said = list(first.words())
    if others and most:
        said.append(f"left out {_first([choice.label for choice in others])}, which would fit too")
    if said:
        log.warning("weights %s: %s", path, ", ".join(said))
    return first.weights()


def fit_weights(network: nn.Module, weights: dict[str, Tensor], path: str | Path) -> None:
    """Load `weights` into `network`, strictly except for the counters of batch norms. Raises `InputError`."""
    own = network.state_dict()
    missing = [k for k in own if k not in weights and not k.endswith(COUNTER)]
    extra = [k for k in weights if k not in own and not k.endswith(COUNTER)]
    if missing or extra:
        what = f"has no {_first(missing)}" if missing else f"has {_first(extra)}, which the model has not"
        what += f" but {_first(extra)}" if missing and extra else ""
        count = f"{len(missing)} missing, {len(extra)} unexpected of {len(own)}"
        raise InputError(f"weights {path}: do not fit the model: the file {what} ({count})")
    for key, value in weights.items():
        if key in own and own[key].shape != value.shape:
            sizes = f"{tuple(value.shape)} in the file, {tuple(own[key].shape)} in the model"
            raise InputError(f"weights {path}: do not fit the model: {key!r} is {sizes}")
    network.load_state_dict({k: v.to(own[k].dtype) for k, v in weights.items() if k in own}, strict=False)


@dataclass(frozen=True)
class _Choice:
    """A state dict of a checkpoint that may be the model's.

    - tensors: The state dict.
    - wrapper: Its keys in the checkpoint, joined by dots.
    - prefix: A prefix of its names.
    - known: How many names the model has too, without the prefix.
    """

    tensors: dict[str, Tensor]
    wrapper: str
    prefix: str
    known: int

    @property
    def label(self) -> str:
        return ".".join(filter(None, (self.wrapper, self.prefix.removesuffix("."))))

    def rank(self) -> tuple[bool, int, bool]:
        """Return a sort key, lowest for the likeliest: by average or not, then `WRAPPERS`, then prefix or not."""
        name = (self.wrapper or self.prefix).partition(".")[0]
        place = -1 if not self.label else WRAPPERS.index(name) if name in WRAPPERS else len(WRAPPERS)
        return bool(_AVERAGED.search(self.label)), place, bool(self.prefix)

    def words(self) -> Iterator[str]:
        """Yield what the user should know of the choice."""
        if self.wrapper:
            yield f"taken from {self.wrapper!r}"
        if self.prefix:
            yield f"prefix {self.prefix!r} stripped from the names"
        beside = len(self.tensors) - len(self.weights())
        if beside:
            yield f"{beside} without it left out"

    def weights(self) -> dict[str, Tensor]:
        prefix = self.prefix
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


def _choices(
    content: object, names: frozenset[str], seen: set[int], wrapper: str = "", depth: int = 0
) -> Iterator[_Choice]:
    """Yield every state dict in a checkpoint, once, with each prefix that leaves most of the model's names.

    seen: the dictionaries that were looked at, by their `id`; a checkpoint may hold itself.
    """
    if not isinstance(content, dict) or not content or id(content) in seen:
        return
    seen.add(id(content))
    if not all(isinstance(key, str) for key in content):
        return
    if all(_is_plain(value) for value in content.values()):
        known = _known(content, names) or Counter({"": 0})
        most = max(known.values())
        yield from (_Choice(content, wrapper, prefix, most) for prefix, count in known.items() if count == most)
    elif depth < MOST_NESTED:
        for key, value in content.items():
            yield from _choices(value, names, seen, f"{wrapper}.{key}" if wrapper else key, depth + 1)


def _known(tensors: dict[str, Tensor], names: frozenset[str]) -> Counter[str]:
    """Count, for each prefix, the names of tensors that are the model's without it."""
    found: Counter[str] = Counter()
    for key in tensors:
        starts = (0, *(point.end() for point in islice(re.finditer(r"\.", key), MOST_PREFIXES)))
        found.update(key[:start] for start in starts if key[start:] in names)
    return found


def _is_plain(value: object) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"


class _Blank:
    """Stand in for an object that is not needed; ignores its parts."""

    def __init__(self, *parts: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def _read_checkpoint(path: Path) -> object:
    blanks: Any = [(_Blank, name) for name in _BESIDE]
    try:
        with torch.serialization.safe_globals(blanks):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):  # no pickle at all: a page of an error, the pointer of a large file
            raise InputError(f"weights {path}: no checkpoint that can be read; refused; {REMEDY}") from error
        named = re.search(r"GLOBAL ([\w.]+)", str(error), re.ASCII)
        what = f"holds more than plain tensors{f', {named[1]}' if named else ''}"
        raise InputError(f"weights {path}: {what}, which can run code; refused; {REMEDY}") from error
    except Exception as error:  # a damaged file can make the unpickler raise nearly anything
        what = f"no checkpoint that can be read ({type(error).__name__})"
        raise InputError(f"weights {path}: {what}; {REMEDY}") from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"weights {path}: not a safetensors file ({reason(error)})") from error


def _first(keys: Sequence[str], limit: int = 3) -> str:
    return ", ".join(map(repr, keys[:limit])) + (", ..." if len(keys) > limit else "")
