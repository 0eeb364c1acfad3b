"""`detattack rank`: the JND of detectors, by one protocol, on one leaderboard."""

import json as json_module
import sys
from contextlib import redirect_stdout
from functools import partial
from typing import Annotated

import typer

from detattack.cli import names as n
from detattack.cli import options as o
from detattack.cli.groups import with_groups
from detattack.core.errors import InputError

Models = Annotated[
    list[str],
    typer.Argument(help="Models, as of --model.", show_default=False, autocompletion=n.a_detector),
]
ProtocolName = Annotated[str, typer.Option("--protocol", help="What is measured: a name, or a YAML file.")]


@with_groups
def rank(
    models: Models,
    data: o.DataOptions,
    workers: o.WorkerOptions,
    output: o.OutputOptions,
    protocol: ProtocolName = "v1",
    weights: o.Weights = None,
    categories: o.Categories = None,
    device: o.Device = "auto",
    seed: o.Seed = 0,
    batch: o.BatchOrAuto = "1",
    missing: o.Missing = "skip",
    reports: Annotated[bool, typer.Option("--reports", help="Write pages of the runs, too, with all images.")] = False,
) -> None:
    """Rank detectors by the smallest change that breaks them, with AP by budget and what tells a masked gradient.

    A model that has an entry in --out is not measured again; what was interrupted goes on.
    """
    from detattack.cli.running import batch_size, progress_of, resumable
    from detattack.cli.scaling import executor_of, workers_of
    from detattack.cli.tables import print_table
    from detattack.cli.terminal import say
    from detattack.ranking.protocol import load_protocol
    from detattack.workflows.leaderboard import LEADERBOARD, as_json, below, table_columns, table_rows
    from detattack.workflows.rank import Ranked, Ranking, rank

    out = output.folder("rank")
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        pool = workers_of(workers, device)
        if len(models) > 1 and (weights or categories):
            raise InputError("--weights and --categories go with one MODEL; each is added by a command of its own")
        named = [Ranked(name, weights, categories) for name in models]
        ranking = Ranking(
            load_protocol(protocol),
            data.source(seed, missing),
            seed,
            device,
            batch_size(batch),
            partial(progress_of, output.quiet),
            lambda experiment: executor_of(pool, experiment, output.quiet),
            reports,
        )
        with resumable(f"the same command with --out {out} goes on"):
            board = rank(named, ranking, out, partial(say, file=sys.stderr))
    if output.json:
        print(json_module.dumps({"run": str(out), "leaderboard": as_json(board)}, allow_nan=False))
    elif output.quiet:
        print(out, file=sys.stderr)
    else:
        print_table(table_rows(board), table_columns(board))
        say(f"{below(board)}leaderboard: {out / LEADERBOARD}")
