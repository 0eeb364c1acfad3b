"""`detattack classify tune`: the hyper-parameters of attacks on a classifier."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classify.cli import options as c
from detattack.cli import options as o
from detattack.cli import tuning as t

if TYPE_CHECKING:
    from detattack.cli.tuning import Subject
    from detattack.engine import Attack
    from detattack.workflows.tune_output import Found

ORIGIN = ("model", "weights", "preprocess", "target", "images", "labels", "split", "only_right", "skip", "limit")


def tune(
    methods: t.Methods = "jnd,baseline,fgsm,fgv",
    objective: t.Objective = "l2",
    sampler: t.Sampler = "tpe",
    trials: t.Trials = 40,
    also: t.Also = "",
    images: c.ImagesDir = None,
    labels: c.Labels = None,
    split: c.Split = "train",
    target: c.Target = None,
    only_right: c.Only = False,
    skip: o.Skip = 0,
    limit: o.Limit = None,
    model: c.Model = "vgg16_cifar10",
    weights: o.Weights = None,
    preprocess: c.Preprocess = None,
    categories: c.Categories = None,
    stop_confidence: c.StopConfidence = None,
    classes: c.Classes = None,
    max_iterations: o.MaxIterations = None,
    floats: t.Floats = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    batch: o.Batch = 25,
    precision: o.Precision = "fp32",
    config: o.Config = None,
    set: o.Assignments = None,
    out: t.Out = None,
    resume: o.Resume = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Search the step size and weights of methods; the result is a file for --config, which knows its images.

    Search on images kept apart: the training split, where there is one; else leave the first N to the search with
    --limit N, and out of the tables with --skip N.
    """
    from detattack.cli.running import folder_of

    given = locals()
    out = folder_of(out, resume, "classify-tune")
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        found = _carried_out(given, out)
    t.say(out, found, json, quiet)


def _carried_out(given: dict[str, Any], out: Path) -> "list[Found]":
    from classify.cli.running import attack_of
    from classify.methods import PRESETS

    request = t.make_request(given, PRESETS, lambda name, overrides: attack_of(given, name, overrides))
    return t.tune_all(request, _subject(given), out, given["resume"], given["quiet"])


def _subject(given: dict[str, Any]) -> "Subject":
    from classify.attack_batch import ClassificationRecord
    from classify.cli.compare import data_set
    from classify.cli.running import load, make_run
    from detattack.core.fingerprint import fingerprint_of_tensors

    classifier = load(given)
    data = data_set(given, classifier)

    def run_of(attack: "Attack") -> Any:
        return make_run(given, classifier, data, attack)

    model = fingerprint_of_tensors(classifier, classifier.classes)
    origin = {name: given[name] for name in ORIGIN} | {"data": data.dataset.fingerprint}
    return t.Subject(ClassificationRecord, run_of, model, str(classifier.device), origin, data.dataset)
