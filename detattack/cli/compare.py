"""`detattack compare`: several methods over the same images and goals, in one table."""

import sys
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detattack.cli import options as o
from detattack.cli.status import FAILED
from detattack.errors import InputError

if TYPE_CHECKING:
    from detattack.comparison import Curve, Method
    from detattack.detection import Run

Methods = Annotated[str, typer.Option(help="Methods with commas between; differences are to the first.")]
REFERENCE, CONTROL = "jnd", "noise"


def compare(
    methods: Methods = "jnd,baseline,fgsm,fgv,noise",
    goal: o.GoalText = "suppress:all",
    images: o.ImagesDir = None,
    annotations: o.Annotations = None,
    keep_others: o.KeepOthers = False,
    model: o.Model = "demo",
    weights: o.Weights = None,
    score_threshold: o.ScoreThreshold = 0.5,
    max_iterations: o.MaxIterations = None,
    floats: o.Floats = False,
    seed: o.Seed = 0,
    scenes: o.Scenes = 20,
    limit: o.Limit = None,
    device: o.Device = "auto",
    batch: o.BatchOrAuto = "auto",
    quality: o.Measures = "quick",
    config: o.Config = None,
    set: o.Assignments = None,
    out: o.Out = None,
    resume: o.Resume = False,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Compare methods: success, distances, AP and cost, with paired differences."""
    from detattack.comparison import write_comparison

    given = locals()
    out = out or Path("runs") / f"compare-{datetime.now():%Y%m%d-%H%M%S}"
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        found, curves = _carried_out(_methods(methods), given, out)
        content = write_comparison(out, found, curves, seed)
    _say(out, content, json, quiet)
    if strict and any(method.summary["error"] for method in found):
        raise typer.Exit(FAILED)


def _methods(text: str) -> list[str]:
    from detattack.engine.attacks import PRESETS
    from detattack.errors import unknown

    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in PRESETS:
            raise unknown("method", name, PRESETS)
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise InputError(f"--methods names {doubled[0]!r} twice")
    return names


def _carried_out(names: list[str], given: dict[str, Any], out: Path) -> "tuple[list[Method], dict[str, Curve]]":
    """Runs all methods; in the order of the table, but the control after the reference whose L2 it takes."""
    from detattack.cli.running import carried_out, make_run
    from detattack.comparison import curve, largest_distance, read_method

    attacks = _attacks(names, given)
    first = make_run({**given, "method": names[0], "set": None, "shard": None, "out": out / names[0]})
    _check_folder(out, given["resume"])
    found: dict[str, Method] = {}
    lengths: dict[int, float] | None = None
    for name in sorted(names, key=lambda name: name == CONTROL):
        run = _with_attack(first, attacks[name], lengths if name == CONTROL else None)
        with carried_out(run, out / name, True, given["quiet"], name, out) as folder:
            found[name] = read_method(name, folder)
        if name == REFERENCE:
            lengths = {i: v["l2"] for i, v in found[name].values.items() if "l2" in v}
    top = largest_distance(list(found.values()))
    card = _card(first)
    curves = {}
    for name in names:
        with _opened(out / name) as folder:
            curves[name] = curve(found[name], folder, card, first.dataset, top)
    return [found[name] for name in names], curves


def _attacks(names: list[str], given: dict[str, Any]) -> dict[str, Any]:
    """The attack of each method. `--set key=value` is for all, `--set METHOD.key=value` for one."""
    from detattack.config import parse_assignments, resolve_attack

    overrides = parse_assignments(given["set"] or [])
    for key in overrides:
        if "." in key and key.partition(".")[0] not in names:
            raise InputError(f"--set {key}: {key.partition('.')[0]!r} is not among the methods")
    attacks = {}
    for name in names:
        own = {key: value for key, value in overrides.items() if "." not in key}
        own |= {
            key.partition(".")[2]: v for key, v in overrides.items() if key.partition(".")[0] == name and "." in key
        }
        attacks[name] = resolve_attack(name, given["floats"], given["max_iterations"], own)
    return attacks


def _with_attack(run: "Run", attack: Any, lengths: dict[int, float] | None) -> "Run":
    from dataclasses import replace

    return replace(run, config=run.config.model_copy(update={"attack": attack}), lengths=lengths)


def _check_folder(out: Path, resume: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"output folder {out}: is a file")
    if not resume and out.exists() and any(out.iterdir()):
        raise InputError(f"output folder {out}: is not empty; --resume continues a comparison")


def _card(run: "Run") -> Any:
    from detattack.types import DetectorCard

    return DetectorCard(run.detector.name, tuple(run.detector.categories), run.detector.eval_threshold)


def _opened(path: Path) -> Any:
    from contextlib import closing

    from detattack.runs import RunFolder

    return closing(RunFolder.open(path))


def _say(out: Path, content: dict[str, Any], json: bool, quiet: bool) -> None:
    import json as json_module

    if json:
        print(json_module.dumps({"run": str(out), "summary": content}, allow_nan=False))
    elif quiet:
        print(out, file=sys.stderr)
    else:
        print((out / "comparison.md").read_text(encoding="utf-8"))
        print(f"run folder: {out}")
