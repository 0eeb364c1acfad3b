"""`detattack tune`: the hyper-parameters of attacks on a detector."""

import sys
from contextlib import redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from detattack.cli import options as o
from detattack.cli import tuning as t

if TYPE_CHECKING:
    from detattack.cli.tuning import Subject
    from detattack.engine.presets import Attack
    from detattack.workflows.tune_output import Found

ORIGIN = ("model", "weights", "categories", "goal", "score_threshold", "images", "annotations", "skip", "limit")
SEED = 1000
"""Of the scenes to tune on, where no other is asked for: not that of the scenes of any other command."""


def tune(
    methods: t.Methods = "jnd,baseline,fgsm,fgv",
    objective: t.Objective = "l2",
    sampler: t.Sampler = "tpe",
    trials: t.Trials = 40,
    also: t.Also = "",
    goal: o.GoalText = "suppress:all",
    images: o.ImagesDir = None,
    annotations: o.Annotations = None,
    keep_others: o.KeepOthers = False,
    model: o.Model = "demo",
    weights: o.Weights = None,
    categories: o.Categories = None,
    score_threshold: o.ScoreThreshold = 0.5,
    max_iterations: o.MaxIterations = None,
    floats: t.Floats = False,
    seed: o.Seed = SEED,
    scenes: o.Scenes = 20,
    skip: o.Skip = 0,
    limit: o.Limit = None,
    device: o.Device = "auto",
    batch: o.BatchOrAuto = "auto",
    precision: o.Precision = "fp32",
    config: o.Config = None,
    set: o.Assignments = None,
    out: t.Out = None,
    resume: o.Resume = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Search the step size and weights of methods; the result is a file for --config, which knows its images.

    Search on images kept apart: scenes are those of another seed than of other commands; of a data set leave the first
    N to the search with --limit N, and out of the tables with --skip N.
    """
    from detattack.cli.running import folder_of

    given = locals()
    out = folder_of(out, resume, "tune")
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        found = _carried_out({**given, "out": out})
    t.say(out, found, json, quiet)


def _carried_out(given: dict[str, Any]) -> "list[Found]":
    from detattack.engine.config import resolve_attack
    from detattack.engine.presets import PRESETS

    def attack_of(name: str, overrides: Any) -> "Attack":
        return resolve_attack(name, given["floats"], given["max_iterations"], overrides)

    request = t.make_request(given, PRESETS, attack_of)
    subject = _subject(given, request.spaces[0].attack.name)
    return t.tune_all(request, subject, given["out"], given["resume"], given["quiet"])


def _subject(given: dict[str, Any], method: str) -> "Subject":
    from detattack.cli.running import make_run
    from detattack.detectors.registry import fingerprint
    from detattack.tasks.detection.record import Record

    run = make_run({**given, "method": method, "set": None, "shard": None, "quality": "quick"})

    def run_of(attack: "Attack") -> Any:
        return replace(run, config=run.config.model_copy(update={"attack": attack}))

    origin = {name: given[name] for name in ORIGIN} | {"data": run.dataset.fingerprint}
    return t.Subject(Record, run_of, fingerprint(run.detector), str(run.detector.device), origin, run.dataset)
