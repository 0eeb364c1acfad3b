"""`detattack classify attack`: single images against a classifier."""

import sys
from contextlib import redirect_stdout
from functools import partial

from classify.cli import options as c
from detattack.cli import options as o
from detattack.cli.groups import with_groups

PHOTO_SIDES = {"vgg16_cifar10": 32}
"""The size of the installed photos for a model; others resize by themselves."""
PHOTO_SIDE = 256


@with_groups
def attack(
    wanted: c.GoalOptions,
    model: c.ModelOptions,
    attack: o.AttackOptions,
    run: o.RunOptions,
    images: c.Images = None,
    method: c.Method = "jnd",
    batch: o.Batch = 1,
) -> None:
    """Make a classifier take images for something else."""
    from classify.task import CLASSIFICATION
    from detattack.cli.running import goes_on, print_attacks, progress_of, resumable, say_if_tuned_on
    from detattack.datasets.source import DatasetSource
    from detattack.workflows.evaluate import carried_out, make_experiment

    out, files = run.folder("classify"), tuple(map(str, images or ()))
    source = DatasetSource(files=files) if files else DatasetSource(side=PHOTO_SIDES.get(model.model, PHOTO_SIDE))
    values = c.values_of(model, wanted, attack.seed, attack.precision) | attack.values
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        chosen = attack.settings(**wanted.stop()).attack(CLASSIFICATION, method)
        experiment = make_experiment(CLASSIFICATION, values, chosen, source, batch, figures=True)
        say_if_tuned_on(run.config, experiment.dataset)
        with (
            resumable(goes_on(out)),
            carried_out(experiment, out, run.resume, run.retry_errors, partial(progress_of, run.quiet)),
        ):
            pass
    print_attacks(CLASSIFICATION, out, run.json, run.quiet)
