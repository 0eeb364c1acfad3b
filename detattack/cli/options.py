"""Options that commands share, each in one place."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.exceptions import TyperException

from detattack.cli import names as n
from detattack.cli.command import CONFIG_SET, HERE
from detattack.core.environment import be_deterministic
from detattack.core.errors import InputError, unknown

if TYPE_CHECKING:
    from detattack.datasets.source import DatasetSource
    from detattack.engine.budget import Budget
    from detattack.workflows.evaluate import Settings

DEFAULT_MODEL = "demo"
DEFAULT_SCORE_THRESHOLD, DEFAULT_MAX_DETECTIONS = 0.5, 100
"""As in `core.types`, which takes seconds to import; a test holds them equal."""


def _use_deterministic(context: typer.Context, asked: bool) -> bool:
    """Ask for it before torch is imported."""
    if asked and not context.resilient_parsing:
        be_deterministic()
    return asked


def _use_config_file(context: typer.Context, path: Path | None) -> Path | None:
    """Make a file's values the defaults, so that options on the command line win over them.

    Of `set` they win key by key: see `Command`.
    """
    if path is None or context.resilient_parsing:  # which is how a shell completes
        return path
    from detattack.engine.config import TUNED_ON, FileSetting, read_options

    known = {_spelled(p.opts): p for p in context.command.params if p.name != "config"}
    values: dict[str, Any] = {key: value for key, value in read_options(path).items() if key != TUNED_ON}
    for key in values:
        if key not in known:
            raise unknown(f"key of config {path}", key, known)
    for key, value in values.items():
        try:
            values[key] = _fitted(known[key], value)
            known[key].process_value(context, values[key])
        except TyperException as error:
            raise InputError(f"config {path}: {error.format_message()}") from error
        except InputError as error:
            raise InputError(f"config {path}: {key}: {error}") from error
    methods = [name.strip() for key in ("method", "methods") for name in str(values.get(key) or "").split(",") if name]
    context.meta[CONFIG_SET] = [FileSetting(one, path, methods) for one in values.pop("set", None) or []]
    context.default_map = {**(context.default_map or {}), **{str(known[k].name): v for k, v in values.items()}}
    return path


def _fitted(parameter: Any, value: Any) -> Any:
    """Write a value of a config file as the command line has it.

    `{key: value}` of `set` becomes `key=value`, a list of what takes commas gets commas, `ray: true` becomes `--ray`.
    Raises `InputError` for what no command line could say.
    """
    several = parameter.multiple or parameter.nargs == -1
    if isinstance(value, dict) and parameter.name == "set":
        return [f"{key}={one}" for key, one in value.items()]
    if isinstance(value, dict):
        raise InputError("takes no mapping")
    if isinstance(value, list) and not several:
        return ",".join(map(str, value))
    if isinstance(value, str) and several:
        return [value]
    if isinstance(value, bool) and parameter.name == "ray":
        return HERE if value else None
    if isinstance(value, bool) and not getattr(parameter, "is_flag", False):
        raise InputError(f"{str(value).lower()} is no value of it")
    return value


def _spelled(spellings: Sequence[str]) -> str:
    """How a config file spells an option: `--score-threshold` is `score_threshold`."""
    return spellings[-1].lstrip("-").replace("-", "_")


def list_methods() -> None:
    """Write what is registered into the help of `--method`; to be called after plugins are loaded."""
    from detattack.engine.presets import PRESETS

    _METHOD.help = f"{', '.join(PRESETS)}. A radius of N gray levels: pgd-linf@N."


def check_exclusive(**given: bool) -> None:
    """Raise `InputError` where more than one of the named options is given."""
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise InputError(f"{' and '.join(names)} exclude each other")


Images = Annotated[
    list[Path] | None, typer.Argument(help="Image files. None: rendered street scenes.", show_default=False)
]
Model = Annotated[
    str,
    typer.Option(
        help="demo, torchvision/NAME, hf/NAME, path/to/file.py:factory; see `detattack models list`.",
        autocompletion=n.a_detector,
    ),
]
Weights = Annotated[
    str | None, typer.Option(help="A file of weights, or `none` for random ones.", autocompletion=n.one_of(["none"]))
]
Categories = Annotated[
    str | None, typer.Option(help="A file that names the classes of --weights: one a line, a YOLO data.yaml, or JSON.")
]
Prompt = Annotated[
    str | None,
    typer.Option(help="What a model with an open vocabulary looks for: phrases with dots between, 'car . person'."),
]
ImagesDir = Annotated[
    Path | None,
    typer.Option(
        "--images",
        help="A folder of images, a VOC folder, or a YOLO data.yaml. None: rendered scenes.",
        show_default=False,
    ),
]
Annotations = Annotated[
    Path | None, typer.Option(help="COCO annotations of these images, or a folder of VOC's XML files; for AP.")
]
GoalText = Annotated[
    str,
    typer.Option(
        "--goal",
        help="degrade:all, suppress:all, suppress:CLASS, inject:CLASS@random|center|x1,y1,x2,y2, mislabel:A->B, "
        "flood:N (N false detections, of any class).",
        autocompletion=n.one_of(n.GOALS),
    ),
]
Missing = Annotated[
    Literal["skip", "error"],
    typer.Option(help="What to do where annotated or labeled images are not in the folder: attack the others, or end."),
]
KeepOthers = Annotated[bool, typer.Option("--keep-others", help="All other detections have to stay.")]
Format = Annotated[
    str | None,
    typer.Option(
        help="The data format of --images: coco, yolo, voc, or a plugin's. None: what it looks like, else images.",
        autocompletion=n.one_of(n.FORMATS),
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        help="The part of a YOLO data set (val where there is one) or of VOC's lists (all images).", show_default=False
    ),
]
Skip = Annotated[int, typer.Option(min=0, help="Leave out the first N images, those that were tuned on for one.")]
Limit = Annotated[int | None, typer.Option(min=1, help="The first N images only.")]
Shard = Annotated[str | None, typer.Option(help="i/n: the i-th of n parts, from 0 on; `detattack merge` joins them.")]
BatchOrAuto = Annotated[
    str,
    typer.Option(
        "--batch", help="Images of equal size attacked together; auto: what fits.", autocompletion=n.one_of(["auto"])
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Status 1 where an image ended in an error.")]
Measures = Annotated[
    Literal["all", "quick"], typer.Option("--quality", help="all: UQI, SCC, VIFP, CIEDE2000 too; quick: the others.")
]
_METHOD = typer.Option(autocompletion=n.one_of(n.METHODS))
Method = Annotated[str, _METHOD]
ScoreThreshold = Annotated[float, typer.Option(help="τ: a detection counts as seen above this score.")]
MaxDetections = Annotated[
    int, typer.Option(min=1, help="Detections of one class that count for AP, an image; COCO's own number is 100.")
]
MaxIterations = Annotated[int | None, typer.Option(min=1, help="Updates at most, an image.")]
Floats = Annotated[bool, typer.Option("--float", help="Judge floats instead of 8-bit images; kept as .npy.")]
Perceptual = Annotated[
    bool, typer.Option("--perceptual", help="The L2 counts changes for less where the image has local contrast.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random, rendered scenes included.")]
Scenes = Annotated[int, typer.Option(min=1, help="How many scenes to render where no image is given.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", autocompletion=n.one_of(n.DEVICES))]
Batch = Annotated[int, typer.Option(min=1, help="Images of equal size attacked together.")]
Precision = Annotated[
    Literal["fp32", "bf16"],
    typer.Option(help="Of the gradient: bf16 is faster where the processor has it. Float32 decides."),
]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic",
        help="The same bytes from run to run on a GPU, too, where torch can; slower.",
        callback=_use_deterministic,
        is_eager=True,
    ),
]
TaskName = Annotated[str, typer.Option("--task", help="What kind of model it is: detect, classify, or a plugin's.")]
Config = Annotated[
    Path | None,
    typer.Option(help="A YAML file of these options.", callback=_use_config_file, is_eager=True),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value or METHOD.key=value, e.g. step_size=0.2. Repeatable, also over --config's."),
]
Out = Annotated[Path | None, typer.Option(help="The run folder. Default: a new one in runs/.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run that is in --out.")]
RetryErrors = Annotated[
    bool, typer.Option("--retry-errors", help="With --resume: attack the images again that are errors.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no table.")]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Spread over processes by Ray: one started here, at HOST:PORT, or `auto`: the one that runs here already.",
        show_default=False,
        autocompletion=n.one_of(["auto"]),
    ),
]
WorkerCount = Annotated[
    int | None, typer.Option("--workers", min=1, help="With --ray. Default: as many as there is room for.")
]
CpusPerWorker = Annotated[
    int | None, typer.Option(min=1, help="With --ray: cores and threads of each. Default: OMP_NUM_THREADS, or 1.")
]
GpusPerWorker = Annotated[
    float | None, typer.Option(min=0, help="With --ray; 0.5: two share one. Default: 1 where the device is CUDA.")
]
BudgetText = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="NORM:SIZE,...",
        help="Spend all of a change of that size and keep the worst image: linf:2 (gray levels), l2:1.0 (in [0,1] "
        "units), rms:0.5 (gray levels); several: linf:1,2,4. None: stop at a success.",
        autocompletion=n.one_of(n.BUDGETS),
    ),
]
Passes = Annotated[int | None, typer.Option(min=1, help="Backward passes at most, an image.")]
Loss = Annotated[
    str | None,
    typer.Option(
        help="Losses instead of the goal's own, commas between: unmatch, miss, mislabel, mislocate, vanish, fabricate, "
        "outrank.",
        autocompletion=n.some_of(n.LOSSES),
    ),
]
ThroughModels = Annotated[
    str | None,
    typer.Option(
        "--through-models",
        help="Attack several models at once, commas between: the goal has to hold for each. Instead of --model.",
        autocompletion=n.detectors,
    ),
]
DefenseText = Annotated[
    str | None,
    typer.Option(
        "--defense",
        help="What is it worth? Attack without knowing it and through it: jpeg:75, resize:0.5..1, file.py:factory.",
        autocompletion=n.one_of(n.CHANGES),
    ),
]
Reference = Annotated[
    Literal["annotations", "detections"] | None,
    typer.Option(
        help="What the objects of degrade and flood are. Default: annotations where there are, else detections."
    ),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Let the model that the run folder names run the code of its file.")
]
RobustTo = Annotated[
    str | None,
    typer.Option(
        help="Corruptions after which the goal has to hold, too, commas between: jpeg:75, a range jpeg:60..95, chains; "
        "names as of --survive of verify. `none`: the untouched file alone.",
        autocompletion=n.some_of(n.CHANGES),
    ),
]
Within = Annotated[
    str | None,
    typer.Option(
        help="The pixels that may change: box (inside of the goal's objects), box:SHARE (their middle), outside, "
        "x1,y1,x2,y2, border:PIXELS, or a mask, white where they may.",
        autocompletion=n.one_of(n.MASKS),
    ),
]
Survive = Annotated[
    str | None,
    typer.Option(
        help="Score the same files after corruptions, commas between: jpeg:QUALITY, webp, resize:SHARE, blur:SIGMA, "
        "brightness, contrast, gamma, noise, shift, crop, bits, screen, and chains such as resize:0.5+jpeg:75.",
        autocompletion=n.some_of(n.CHANGES),
    ),
]
TransferTo = Annotated[
    str | None,
    typer.Option(help="Score the same files on other models, commas between.", autocompletion=n.detectors),
]


# Groups of options: see `with_groups`


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which detector is attacked."""

    model: Model = DEFAULT_MODEL
    weights: Weights = None
    categories: Categories = None
    prompt: Prompt = None
    device: Device = "auto"


@dataclass(frozen=True, kw_only=True)
class AttackedOptions(ModelOptions):
    """Which detector is attacked, or which several."""

    through_models: ThroughModels = None

    def values(self) -> dict[str, Any]:
        """Return the fields of a config. Raises `InputError` for options that do not go together."""
        values = asdict(self)
        if self.through_models is None:
            return values
        check_exclusive(**{"--model": self.model != DEFAULT_MODEL, "--through-models": True})
        names = [name.strip() for name in self.through_models.split(",")]
        if len(names) < 2 or not all(names):
            raise InputError(f"--through-models {self.through_models!r}: names of two models at least, commas between")
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled:
            raise InputError(f"--through-models: {doubled!r} is named twice")
        for option in ("weights", "categories", "prompt"):
            if values[option] is not None:
                raise InputError(f"--{option} goes with one --model, not with --through-models")
        return values | {"model": names[0], "through_models": names}


@dataclass(frozen=True, kw_only=True)
class AttackOptions:
    """How images are attacked, whatever the method."""

    max_iterations: MaxIterations = None
    floats: Floats = False
    perceptual: Perceptual = False
    precision: Precision = "fp32"
    deterministic: Deterministic = False
    seed: Seed = 0
    set: Assignments = None
    robust_to: RobustTo = None
    within: Within = None

    @property
    def values(self) -> dict[str, Any]:
        """The fields of a config that are the same for all methods."""
        own = {"robust_to": self.robust_to or (), "within": self.within}
        return {"seed": self.seed, "precision": self.precision, **own}

    def settings(self, passes: int | None = None, **more: Any) -> "Settings":
        """Gather what is asked of the methods. more: further fields of `Attack`. Raises `InputError`."""
        from detattack.datasets.corruptions import parse_corruptions
        from detattack.workflows.evaluate import Settings

        check_exclusive(**{"--passes": passes is not None, "--max-iterations": self.max_iterations is not None})
        fields = {"perceptual": self.perceptual, **more}
        each = 1 + len(parse_corruptions(self.robust_to or "", ranges=True))
        return Settings(self.floats, self.max_iterations, self.set or (), fields, passes=passes, each=each)


@dataclass(frozen=True, kw_only=True)
class BudgetOptions:
    """What an attack may spend."""

    budget: BudgetText = None
    passes: Passes = None

    def budgets(self, floats: bool) -> "tuple[Budget, ...]":
        """Parse the budgets, the smallest first; none: a success is looked for. Raises `InputError`."""
        from detattack.engine.budget import check_floats, parse_budgets

        found = () if self.budget is None else parse_budgets(self.budget)
        if found:
            check_floats(found, floats)
        return found


@dataclass(frozen=True, kw_only=True)
class GoalOptions:
    """What is wanted of a detector, over a data set."""

    goal: GoalText = "suppress:all"
    loss: Loss = None
    reference: Reference = None
    keep_others: KeepOthers = False
    score_threshold: ScoreThreshold = DEFAULT_SCORE_THRESHOLD


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which images are attacked."""

    images: ImagesDir = None
    annotations: Annotations = None
    format: Format = None
    split: Split = None
    scenes: Scenes = 20
    skip: Skip = 0
    limit: Limit = None

    def source(self, seed: int, missing: str = "skip") -> "DatasetSource":
        """Name where the images come from. Raises `InputError`."""
        from detattack.datasets.source import DatasetSource

        if self.images is None:
            if self.annotations is not None:
                raise InputError("--annotations needs --images, the folder of the images that it speaks of")
            if self.format is not None:
                raise InputError("--format needs --images, what is of that format")
            if self.split is not None:
                raise InputError("--split needs --images, what has it")
            return DatasetSource(scenes=self.skip + self.scenes, seed=seed, skip=self.skip, limit=self.limit)
        annotations = None if self.annotations is None else str(self.annotations)
        images = str(self.images)
        return DatasetSource(
            images=images,
            annotations=annotations,
            skip=self.skip,
            limit=self.limit,
            missing=missing,
            format=self.format,
            split=self.split,
        )


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Who attacks."""

    ray: Ray = None
    workers: WorkerCount = None
    cpus_per_worker: CpusPerWorker = None
    gpus_per_worker: GpusPerWorker = None


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where results go, and what is printed."""

    out: Out = None
    json: Json = False
    quiet: Quiet = False

    def folder(self, command: str) -> Path:
        """Name the run folder: that of `--out`, or a new one in `runs/`."""
        return self.out or Path("runs") / f"{command}-{datetime.now():%Y%m%d-%H%M%S}"


@dataclass(frozen=True, kw_only=True)
class ResumableOptions(OutputOptions):
    """The same of what may be continued, with the options of a file."""

    config: Config = None
    resume: Resume = False

    def folder(self, command: str) -> Path:
        """Name the run folder. Raises `InputError` where a run is to be continued and none is named."""
        if self.resume and self.out is None:
            raise InputError("--resume needs --out, the folder of what it is to continue")
        return super().folder(command)


@dataclass(frozen=True, kw_only=True)
class RunOptions(ResumableOptions):
    """The same of a run."""

    retry_errors: RetryErrors = False
