"""`detattack classify tune`: the hyper-parameters of attacks on a classifier."""

import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from classify.cli import options as c
from detattack.cli import options as o
from detattack.cli import tuning as t
from detattack.cli.groups import with_groups

if TYPE_CHECKING:
    from detattack.engine import Attack

ORIGIN = ("model", "weights", "preprocess", "target", "images", "labels", "split", "only_right", "skip", "limit")


@with_groups
def tune(
    search: t.SearchOptions,
    wanted: c.GoalOptions,
    data: c.DataOptions,
    model: c.ModelOptions,
    run: t.SearchRunOptions,
    split: c.Split = "train",
    seed: o.Seed = 0,
    batch: o.Batch = 25,
) -> None:
    """Search the step size and weights of methods; the result is a file for --config, which knows its images.

    Search on images kept apart: the training split, where there is one; else leave the first N to the search with
    --limit N, and out of the tables with --skip N.
    """
    from classify.task import CLASSIFICATION
    from detattack.workflows.evaluate import Settings, make_experiment

    out = run.folder("classify-tune")
    settings = Settings(search.floats, search.max_iterations, search.set or (), wanted.stop())
    values = c.values_of(model, wanted, seed, search.precision)
    given = {**values, **asdict(data), "split": split}

    def experiment_of(attack: "Attack") -> Any:
        return make_experiment(CLASSIFICATION, values, attack, data.source(split), batch)

    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        origin = {name: given[name] for name in ORIGIN}
        found = t.carried_out(CLASSIFICATION, search, run, out, seed, settings, experiment_of, origin)
    t.say(out, found, run.json, run.quiet)
