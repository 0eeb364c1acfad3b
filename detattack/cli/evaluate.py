"""`detattack evaluate`: a whole data set under attack, and `detattack merge`: its shards made one run."""

import sys
from contextlib import closing, redirect_stdout
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detattack.cli import options as o
from detattack.cli.groups import with_groups
from detattack.cli.status import FAILED
from detattack.core.errors import InputError

if TYPE_CHECKING:
    from detattack.runs.ray_workers import Workers
    from detattack.tasks.base import Task
    from detattack.tasks.experiment import Experiment
    from detattack.workflows.evaluate import Settings


@with_groups
def evaluate(
    context: typer.Context,
    wanted: o.GoalOptions,
    data: o.DataOptions,
    model: o.AttackedOptions,
    attack: o.AttackOptions,
    workers: o.WorkerOptions,
    run: o.RunOptions,
    spent: o.BudgetOptions,
    task: o.TaskName = "detect",
    method: o.Method = "jnd",
    missing: o.Missing = "skip",
    shard: o.Shard = None,
    batch: o.BatchOrAuto = "auto",
    max_detections: o.MaxDetections = o.DEFAULT_MAX_DETECTIONS,
    quality: o.Measures = "all",
    transfer_to: o.TransferTo = None,
    survive: o.Survive = None,
    defense: o.DefenseText = None,
    strict: o.Strict = False,
) -> None:
    """Attack a data set: success, collateral damage, distances, cost, and AP where there are annotations.

    With --budget: AP and recall once all of the budget is spent. Of several budgets each has a run folder in --out.
    With --defense: the model attacked without knowing it and through it, in a folder each.
    """
    from detattack.cli.defending import check_defense, print_defense, weigh_defense
    from detattack.cli.running import print_run, say_if_tuned_on
    from detattack.cli.scaling import workers_of
    from detattack.cli.spending import print_robustness, spend
    from detattack.cli.transferring import check_transfers, print_transfers
    from detattack.tasks.registry import find_task

    out, found_task = run.folder("evaluate"), find_task(task)
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        pool = workers_of(workers, model.device)
        options = {**asdict(wanted), **model.values(), "max_detections": max_detections}
        more = {"shard": shard, "quality": quality, "batch": batch, "missing": missing}
        budgets = spent.budgets(attack.floats)
        settings = replace(attack.settings(spent.passes), budget=budgets[0] if budgets else None)
        if defense is not None:
            check_defense(task, model, shard, transfer_to, survive, len(budgets))
            options["model"] = f"{model.model}+{defense}"  # first, as it is the one that may be wrong
            defended = _experiment(context, found_task, options, data, attack, settings, method, run, more)
            options["model"] = model.model
        experiment = _experiment(context, found_task, options, data, attack, settings, method, run, more)
        others = check_transfers(experiment, transfer_to, survive, model.device)
        say_if_tuned_on(run.config, experiment.dataset)
        if defense is not None:
            weighed = weigh_defense(experiment, defended, out, pool, run)
        elif len(budgets) > 1:
            check_alone(transfer_to, survive)
            spending = {one: replace(settings.on(experiment), budget=one) for one in budgets}
            attacks = {method: {one: each.attack(found_task, method) for one, each in spending.items()}}
            found = spend(experiment, attacks, out, pool, run)
        else:
            errors = _carry_out(experiment, pool, out, run)
    if defense is not None:
        print_defense(out, weighed, run, strict)
        return
    if len(budgets) > 1:
        print_robustness(out, found, run, strict)
        return
    print_run(found_task, out, run.json, run.quiet)
    if transfer_to or survive:
        print_transfers(out, others, survive, model.device, False, run.quiet or run.json, trust=True)
    if strict and errors:
        raise typer.Exit(FAILED)


def check_alone(transfer_to: str | None, survive: str | None) -> None:
    """Raise `InputError` where files of several budgets are to be scored again, which `verify` does one by one."""
    named = "--transfer-to" if transfer_to else "--survive" if survive else None
    if named:
        raise InputError(f"{named} goes with one --budget; `detattack verify` scores the files of each run")


def _experiment(
    context: typer.Context,
    task: "Task[Any, Any, Any]",
    options: dict[str, Any],
    data: o.DataOptions,
    attack: o.AttackOptions,
    settings: "Settings",
    method: str,
    run: o.RunOptions,
    more: dict[str, Any],
) -> "Experiment[Any, Any, Any]":
    from detattack.cli.running import batch_size, config_values
    from detattack.runs.batching import parse_shard
    from detattack.workflows.evaluate import make_experiment

    values = config_values(context, task, options) | attack.values
    experiment = make_experiment(
        task,
        values,
        settings.attack(task, method),
        data.source(attack.seed, more["missing"]),
        batch_size(more["batch"]),
        run.out if run.resume else None,
        shard=parse_shard(more["shard"]) if more["shard"] else None,
        all_measures=more["quality"] == "all",
    )
    return experiment.with_attack(settings.on(experiment).attack(task, method))


def _carry_out(experiment: "Experiment[Any, Any, Any]", pool: "Workers | None", out: Path, run: o.RunOptions) -> int:
    """Carry out an experiment, or what is left of it; return how many images ended in an error."""
    from detattack.cli.running import goes_on, progress_of, resumable
    from detattack.cli.scaling import executor_of
    from detattack.engine.budget import budget_of
    from detattack.workflows.evaluate import carried_out

    told = partial(progress_of, run.quiet, spends=budget_of(experiment.config.attack) is not None)
    with (
        executor_of(pool, experiment, run.quiet) as executor,
        resumable(goes_on(out)),
        carried_out(experiment, out, run.resume, run.retry_errors, told, executor) as folder,
    ):
        errors: int = folder.read_json("summary.json")["error"]
    return errors


@with_groups
def merge(
    out: Annotated[Path, typer.Argument(help="The folder of the whole run; new.", show_default=False)],
    shards: Annotated[list[Path], typer.Argument(help="The finished run folders of all shards.", show_default=False)],
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Join the shards of one run: the same bytes as a run without shards."""
    from detattack.cli.running import print_run
    from detattack.cli.terminal import say_notes
    from detattack.runs.manifest import mixed_notes, task_in
    from detattack.tasks.registry import find_task
    from detattack.workflows.merge import merge_runs

    with closing(merge_runs(out, shards)) as merged:
        say_notes(mixed_notes(merged.manifest))
    print_run(find_task(task_in(out)), out, json, quiet)
