"""`detattack compare`: several methods over the same images and goals, in one table."""

import sys
from contextlib import closing, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detattack.cli import names as n
from detattack.cli import options as o
from detattack.cli.status import FAILED

if TYPE_CHECKING:
    from detattack.tasks.detection.task import Run
    from detattack.workflows.compare import Curve, Method

Methods = Annotated[
    str,
    typer.Option(
        help="Methods with commas between; differences are to the first.", autocompletion=n.some_of(n.METHODS)
    ),
]


def compare(
    methods: Methods = "jnd,baseline,fgsm,fgv,noise",
    goal: o.GoalText = "suppress:all",
    images: o.ImagesDir = None,
    annotations: o.Annotations = None,
    missing: o.Missing = "skip",
    keep_others: o.KeepOthers = False,
    model: o.Model = "demo",
    weights: o.Weights = None,
    categories: o.Categories = None,
    score_threshold: o.ScoreThreshold = 0.5,
    max_iterations: o.MaxIterations = None,
    floats: o.Floats = False,
    perceptual: o.Perceptual = False,
    seed: o.Seed = 0,
    scenes: o.Scenes = 20,
    skip: o.Skip = 0,
    limit: o.Limit = None,
    device: o.Device = "auto",
    batch: o.BatchOrAuto = "auto",
    precision: o.Precision = "fp32",
    max_detections: o.MaxDetections = 100,
    quality: o.Measures = "quick",
    ray: o.Ray = None,
    workers: o.WorkerCount = None,
    cpus_per_worker: o.CpusPerWorker = None,
    gpus_per_worker: o.GpusPerWorker = None,
    config: o.Config = None,
    set: o.Assignments = None,
    out: o.Out = None,
    resume: o.Resume = False,
    retry_errors: o.RetryErrors = False,
    strict: o.Strict = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Compare methods: success, distances, AP and cost, with paired differences."""
    from detattack.cli.comparing import method_names, say
    from detattack.cli.running import folder_of
    from detattack.cli.tables import say_ap_notes, skipped_line, warn_of_parity
    from detattack.engine.presets import PRESETS
    from detattack.tasks.detection.record import RunFolder
    from detattack.workflows.compare import write_comparison

    given = locals()
    out = folder_of(out, resume, "compare")
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        found, curves = _carried_out(method_names(methods, PRESETS), given, out)
        with closing(RunFolder.open(out / found[0].name)) as folder:
            skipped = skipped_line(folder, found[0].summary)
        content = write_comparison(out, found, curves, seed, skipped=skipped)
    warn_of_parity(found[0].summary)
    say_ap_notes([method.summary for method in found])
    say(out, content, json, quiet)
    if strict and any(method.summary["error"] for method in found):
        raise typer.Exit(FAILED)


def _carried_out(names: list[str], given: dict[str, Any], out: Path) -> "tuple[list[Method], dict[str, Curve]]":
    from detattack.cli.comparing import check_folder, run_methods
    from detattack.cli.running import make_run, say_if_tuned_on
    from detattack.cli.scaling import workers_of, workforce_of
    from detattack.core.types import DetectorCard
    from detattack.tasks.detection.record import RunFolder
    from detattack.workflows.compare import curve, largest_distance

    attacks, wanted = _attacks(names, given), workers_of(given)
    first = make_run({**given, "method": names[0], "set": None, "shard": None, "out": out / names[0]})
    check_folder(out, given["resume"], given["retry_errors"])
    say_if_tuned_on(given["config"], first.dataset)
    with workforce_of(wanted, first, given["quiet"]) as workforce:
        run_of = partial(_with_attack, first, attacks)
        found = run_methods(names, run_of, out, given["quiet"], workforce=workforce, retry_errors=given["retry_errors"])
    top = largest_distance(found)
    card = DetectorCard(first.detector.name, tuple(first.detector.categories), first.detector.eval_threshold)
    curves = {}
    for method in found:
        with closing(RunFolder.open(out / method.name)) as folder:
            curves[method.name] = curve(method, folder, card, first.dataset, top)
    return found, curves


def _attacks(names: list[str], given: dict[str, Any]) -> dict[str, Any]:
    from detattack.cli.comparing import overrides_of
    from detattack.engine.config import resolve_attack
    from detattack.engine.presets import PRESETS

    common = {"perceptual": given["perceptual"]}
    return {
        name: resolve_attack(name, given["floats"], given["max_iterations"], common | own)
        for name, own in overrides_of(names, given["set"], PRESETS).items()
    }


def _with_attack(run: "Run", attacks: dict[str, Any], name: str, lengths: dict[int, float] | None) -> "Run":
    return replace(run, config=run.config.model_copy(update={"attack": attacks[name]}), lengths=lengths)
