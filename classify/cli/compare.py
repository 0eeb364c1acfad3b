"""`detattack classify compare`: several methods over the same images, in one table."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from classify.cli import options as c
from detattack.cli import names as n
from detattack.cli import options as o
from detattack.cli.status import FAILED

if TYPE_CHECKING:
    from classify.datasets import LabeledDataset
    from classify.task import ClassifyRun
    from classify.types import Classifier
    from detattack.workflows.compare import Method

Methods = Annotated[
    str,
    typer.Option(
        help="Methods with commas between; differences are to the first.",
        autocompletion=n.some_of(n.CLASSIFIER_METHODS),
    ),
]


def compare(
    methods: Methods = "jnd,baseline,fgsm,fgv,deepfool,noise",
    images: c.ImagesDir = None,
    labels: c.Labels = None,
    missing: o.Missing = "skip",
    split: c.Split = "test",
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
    floats: o.Floats = False,
    perceptual: o.Perceptual = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    batch: o.Batch = 25,
    precision: o.Precision = "fp32",
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
    """Compare methods on a classifier: success, distances and cost, with paired differences."""
    from classify.comparison import COLUMNS, skipped_line
    from detattack.cli.comparing import say
    from detattack.cli.running import folder_of
    from detattack.workflows.compare import largest_distance, success_curve, write_comparison

    given = locals()
    out = folder_of(out, resume, "classify-compare")
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        found = _carried_out(methods, given, out)
        top = largest_distance(found)
        curves = {method.name: success_curve(method, top) for method in found}
        skipped = skipped_line(found[0].summary, targeted=target is not None)
        content = write_comparison(out, found, curves, seed, COLUMNS, skipped)
    say(out, content, json, quiet)
    if strict and any(method.summary["error"] for method in found):
        raise typer.Exit(FAILED)


def _carried_out(methods: str, given: dict[str, Any], out: Path) -> "list[Method]":
    from classify.cli.running import attack_of, load, make_run
    from classify.methods import PRESETS
    from detattack.cli.comparing import check_folder, method_names, overrides_of, run_methods
    from detattack.cli.running import say_if_tuned_on
    from detattack.cli.scaling import workers_of, workforce_of

    names = method_names(methods, PRESETS)
    overrides = overrides_of(names, given["set"], PRESETS)
    attacks = {name: attack_of(given, name, overrides[name]) for name in names}
    wanted = workers_of(given)
    classifier = load(given)
    data = data_set(given, classifier)
    check_folder(out, given["resume"], given["retry_errors"])
    say_if_tuned_on(given["config"], data.dataset)
    all_measures = given["quality"] == "all"

    def run_of(name: str, lengths: dict[int, float] | None) -> "ClassifyRun":
        return make_run(given, classifier, data, attacks[name], lengths=lengths, all_measures=all_measures)

    with workforce_of(wanted, run_of(names[0], None), given["quiet"]) as workforce:
        return run_methods(names, run_of, out, given["quiet"], workforce=workforce, retry_errors=given["retry_errors"])


def data_set(given: dict[str, Any], classifier: "Classifier") -> "LabeledDataset":
    """The images that the options name, those left out that the options leave out. Raises `InputError`."""
    from classify.datasets import open_dataset
    from classify.selection import after, only_right

    missing = given.get("missing", "skip")  # `tune` has no such option
    data = open_dataset(given["images"], given["labels"], given["split"], classifier.smallest, missing)
    if given["only_right"]:
        return only_right(classifier, data, given["skip"], given["limit"])
    return after(data, given["skip"]).first(given["limit"])
