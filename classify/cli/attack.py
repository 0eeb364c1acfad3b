"""`detattack classify attack`: single images against a classifier."""

import sys
from contextlib import redirect_stdout

from classify.cli import options as c
from detattack.cli import options as o


def attack(
    images: c.Images = None,
    target: c.Target = None,
    model: c.Model = "vgg16_cifar10",
    weights: o.Weights = None,
    preprocess: c.Preprocess = None,
    categories: c.Categories = None,
    method: c.Method = "jnd",
    stop_confidence: c.StopConfidence = None,
    classes: c.Classes = None,
    max_iterations: o.MaxIterations = None,
    floats: o.Floats = False,
    perceptual: o.Perceptual = False,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    batch: o.Batch = 1,
    precision: o.Precision = "fp32",
    config: o.Config = None,
    set: o.Assignments = None,
    out: o.Out = None,
    resume: o.Resume = False,
    retry_errors: o.RetryErrors = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Make a classifier take images for something else."""
    from classify.cli.running import load, make_run
    from classify.cli.tables import print_table
    from classify.datasets import named_images, photos
    from detattack.cli.running import carried_out, folder_of, say_if_tuned_on
    from detattack.cli.tables import print_json

    given = locals()
    out = folder_of(out, resume, "classify")
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        classifier = load(given)
        data = named_images(images) if images else photos(PHOTO_SIDES.get(model, 256))
        run = make_run(given, classifier, data, figures=True)
        say_if_tuned_on(config, data.dataset)
        with carried_out(run, out, resume, quiet, retry_errors=retry_errors) as folder:
            records, summary = folder.records(), folder.read_json("summary.json")
    if json:
        print_json(out, records, summary)
    elif quiet:
        print(out, file=sys.stderr)
    else:
        print_table(out, records, summary, classifier.classes)


PHOTO_SIDES = {"vgg16_cifar10": 32}
"""The size of the installed photos for a model; others resize by themselves."""
