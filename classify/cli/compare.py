"""`detattack classify compare`: several methods over the same images, in one table."""

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from classify.cli import options as c
from detattack.cli import names as n
from detattack.cli import options as o
from detattack.cli.groups import with_groups

Methods = Annotated[
    str,
    typer.Option(
        help="Methods with commas between; differences are to the first.",
        autocompletion=n.some_of(n.CLASSIFIER_METHODS),
    ),
]


@with_groups
def compare(
    wanted: c.GoalOptions,
    data: c.DataOptions,
    model: c.ModelOptions,
    attack: o.AttackOptions,
    workers: o.WorkerOptions,
    run: o.RunOptions,
    methods: Methods = "jnd,baseline,fgsm,fgv,deepfool,noise",
    missing: o.Missing = "skip",
    split: c.Split = "test",
    batch: o.Batch = 25,
    quality: o.Measures = "quick",
    strict: o.Strict = False,
) -> None:
    """Compare methods on a classifier: success, distances and cost, with paired differences."""
    from classify.task import CLASSIFICATION
    from detattack.cli.comparing import carried_out, print_comparison
    from detattack.workflows.evaluate import make_experiment, method_names

    out, values = (
        run.folder("classify-compare"),
        c.values_of(model, wanted, attack.seed, attack.precision) | attack.values,
    )
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        names = method_names(methods, CLASSIFICATION.methods)
        attacks = attack.settings(**wanted.stop()).attacks(CLASSIFICATION, names)
        source, first = data.source(split, missing), attacks[names[0]]
        experiment = make_experiment(CLASSIFICATION, values, first, source, batch, all_measures=quality == "all")
        found = carried_out(experiment, attacks, out, workers, model.device, run)
    print_comparison(experiment, out, found, run, strict)
