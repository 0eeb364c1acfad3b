"""`detattack compare`: several methods over the same images and goals, in one table."""

import sys
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from typing import Annotated

import typer

from detattack.cli import names as n
from detattack.cli import options as o
from detattack.cli.groups import with_groups

Methods = Annotated[
    str,
    typer.Option(
        help="Methods with commas between; differences are to the first.", autocompletion=n.some_of(n.METHODS)
    ),
]


@with_groups
def compare(
    context: typer.Context,
    wanted: o.GoalOptions,
    data: o.DataOptions,
    model: o.ModelOptions,
    attack: o.AttackOptions,
    workers: o.WorkerOptions,
    run: o.RunOptions,
    spent: o.BudgetOptions,
    task: o.TaskName = "detect",
    methods: Methods = "jnd,baseline,fgsm,fgv,noise",
    missing: o.Missing = "skip",
    batch: o.BatchOrAuto = "auto",
    max_detections: o.MaxDetections = o.DEFAULT_MAX_DETECTIONS,
    quality: o.Measures = "quick",
    strict: o.Strict = False,
) -> None:
    """Compare methods: success, distances, AP and cost, with paired differences.

    With --budget: AP and recall once each method has spent all of each budget.
    """
    from detattack.cli.comparing import carried_out, print_comparison
    from detattack.cli.running import batch_size, config_values
    from detattack.cli.scaling import workers_of
    from detattack.cli.spending import print_robustness, spend
    from detattack.tasks.registry import find_task
    from detattack.workflows.evaluate import make_experiment, method_names

    out, found_task = run.folder("compare"), find_task(task)
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        names = method_names(methods, found_task.methods)
        settings, budgets = attack.settings(spent.passes), spent.budgets(attack.floats)
        first = replace(settings, budget=budgets[0] if budgets else None).attacks(found_task, names)[names[0]]
        options = {**asdict(wanted), **asdict(model), "max_detections": max_detections}
        experiment = make_experiment(
            found_task,
            config_values(context, found_task, options) | attack.values,
            first,
            data.source(attack.seed, missing),
            batch_size(batch),
            out / names[0] if run.resume else None,
            all_measures=quality == "all",
        )
        settings = settings.on(experiment)
        by_budget = [replace(settings, budget=one).attacks(found_task, names) for one in budgets or [None]]
        if budgets:
            spending = {name: dict(zip(budgets, [one[name] for one in by_budget], strict=True)) for name in names}
            spent_all = spend(experiment, spending, out, workers_of(workers, model.device), run)
        else:
            found = carried_out(experiment, by_budget[0], out, workers, model.device, run)
    if budgets:
        print_robustness(out, spent_all, run, strict)
    else:
        print_comparison(experiment, out, found, run, strict)
