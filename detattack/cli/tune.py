"""`detattack tune`: the hyper-parameters of attacks on a detector."""

import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from detattack.cli import options as o
from detattack.cli import tuning as t
from detattack.cli.groups import with_groups

if TYPE_CHECKING:
    from detattack.engine import Attack

ORIGIN = (
    *("model", "weights", "categories", "prompt", "goal", "score_threshold"),
    *("images", "annotations", "skip", "limit"),
)
SEED = 1000
"""Of the scenes to tune on, where no other is asked for: not that of the scenes of any other command."""


@with_groups
def tune(
    search: t.SearchOptions,
    wanted: o.GoalOptions,
    data: o.DataOptions,
    model: o.ModelOptions,
    run: t.SearchRunOptions,
    seed: o.Seed = SEED,
    batch: o.BatchOrAuto = "auto",
) -> None:
    """Search the step size and weights of methods; the result is a file for --config, which knows its images.

    Search on images kept apart: scenes are those of another seed than of other commands; of a data set leave the first
    N to the search with --limit N, and out of the tables with --skip N.
    """
    from detattack.cli.running import batch_size
    from detattack.tasks.detection.task import DETECTION
    from detattack.workflows.evaluate import Settings, make_experiment

    out = run.folder("tune")
    settings = Settings(search.floats, search.max_iterations, search.set or ())
    values = {**asdict(wanted), **asdict(model), "seed": seed, "precision": search.precision}
    given = {**values, **asdict(data)}

    def experiment_of(attack: "Attack") -> Any:
        before = out if run.resume else None
        return make_experiment(DETECTION, values, attack, data.source(seed), batch_size(batch), before)

    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        origin = {name: given[name] for name in ORIGIN}
        found = t.carried_out(DETECTION, search, run, out, seed, settings, experiment_of, origin)
    t.say(out, found, run.json, run.quiet)
