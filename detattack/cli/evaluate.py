"""`detattack evaluate`: a whole data set under attack, and `detattack merge`: its shards made one run."""

import sys
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from detattack.cli import options as o
from detattack.cli.status import FAILED


def evaluate(
    goal: o.GoalText = "suppress:all",
    images: o.ImagesDir = None,
    annotations: o.Annotations = None,
    missing: o.Missing = "skip",
    keep_others: o.KeepOthers = False,
    model: o.Model = "demo",
    weights: o.Weights = None,
    categories: o.Categories = None,
    method: o.Method = "jnd",
    score_threshold: o.ScoreThreshold = 0.5,
    max_iterations: o.MaxIterations = None,
    floats: o.Floats = False,
    perceptual: o.Perceptual = False,
    seed: o.Seed = 0,
    scenes: o.Scenes = 20,
    skip: o.Skip = 0,
    limit: o.Limit = None,
    shard: o.Shard = None,
    device: o.Device = "auto",
    batch: o.BatchOrAuto = "auto",
    precision: o.Precision = "fp32",
    max_detections: o.MaxDetections = 100,
    quality: o.Measures = "all",
    transfer_to: o.TransferTo = None,
    survive: o.Survive = None,
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
    """Attack a data set: success, collateral damage, distances, cost, and AP where there are annotations."""
    from detattack.cli.running import carried_out, folder_of, make_run, say_if_tuned_on
    from detattack.cli.scaling import workers_of, workforce_of
    from detattack.cli.transferring import check_transfers, transfers_of

    given = locals()
    out = folder_of(out, resume, "evaluate")
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        wanted = workers_of(given)
        others = check_transfers(transfer_to, survive, device)
        run = make_run({**given, "out": out})
        say_if_tuned_on(config, run.dataset)
        with (
            workforce_of(wanted, run, quiet) as workforce,
            carried_out(run, out, resume, quiet, workforce=workforce, retry_errors=retry_errors) as folder,
        ):
            summary = folder.read_json("summary.json")
    _say(out, summary, json, quiet)
    if transfer_to or survive:
        transfers_of(out, [(None, None, None), *others], survive, device, False, quiet or json, trust=True)
    if strict and summary["error"]:
        raise typer.Exit(FAILED)


def merge(
    out: Annotated[Path, typer.Argument(help="The folder of the whole run; new.", show_default=False)],
    shards: Annotated[list[Path], typer.Argument(help="The finished run folders of all shards.", show_default=False)],
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Join the shards of one run: the same bytes as a run without shards."""
    from detattack.workflows.merge import merge_runs

    with closing(merge_runs(out, shards)) as folder:
        summary = folder.read_json("summary.json")
    _say(out, summary, json, quiet)


def _say(out: Path, summary: dict[str, Any], json: bool, quiet: bool) -> None:
    from detattack.cli.tables import print_json, print_summary, skipped_line, warn_of_parity
    from detattack.tasks.detection.record import RunFolder

    warn_of_parity(summary)
    if json:
        with closing(RunFolder.open(out)) as folder:
            print_json(out, folder.iterate(), summary)
    elif quiet:
        print(out, file=sys.stderr)
    else:
        with closing(RunFolder.open(out)) as folder:
            print_summary(out, summary, skipped_line(folder, summary))
