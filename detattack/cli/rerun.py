"""`detattack rerun`: a finished run repeated from its manifest, and held against what it left."""

import sys
from contextlib import closing, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detattack.cli import names as n
from detattack.cli import options as o
from detattack.cli.status import FAILED
from detattack.core.environment import DETERMINISTIC, be_deterministic
from detattack.core.errors import InputError
from detattack.core.wording import counted

if TYPE_CHECKING:
    from detattack.workflows.rerun import Agreement, Instead

SHOWN_AT_MOST = 5

Images = Annotated[Path | None, typer.Option(help="The folder where the images lie now, if they moved.")]
Annotations = Annotated[Path | None, typer.Option(help="Where the COCO annotations lie now.")]
Labels = Annotated[Path | None, typer.Option(help="Where the file of labels lies now.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="How the same model is named now.", autocompletion=n.one_of([*n.DETECTORS, *n.FAMILIES, *n.CLASSIFIERS])
    ),
]
Device = Annotated[
    str | None, typer.Option(help="Another device than the run's own.", autocompletion=n.one_of(n.DEVICES))
]
Batch = Annotated[int | None, typer.Option(min=1, help="Another batch size than the run's own.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Other threads than the run's own.")]


def rerun(
    run: Annotated[Path, typer.Argument(help="A finished run folder.", show_default=False)],
    images: Images = None,
    annotations: Annotations = None,
    labels: Labels = None,
    model: Model = None,
    weights: o.Weights = None,
    categories: o.Categories = None,
    device: Device = None,
    batch: Batch = None,
    threads: Threads = None,
    trust: o.Trust = False,
    out: o.Out = None,
    resume: o.Resume = False,
    retry_errors: o.RetryErrors = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Repeat a run from its manifest, with the same model, images and settings, and compare the bytes.

    Status 1 where they differ. Where versions, device, batch or threads differ too: where fewer than 99% of the images
    end as they did, or the median L2 changes by more than 1%.
    """
    from detattack.runs.manifest import check_own_model

    if model is None:
        check_own_model(run, trust)  # before torch is imported, which takes seconds
    from detattack.workflows.rerun import Instead

    out = o.RunOptions(out=out, resume=resume).folder("rerun")
    instead = Instead(images, annotations, labels, model, weights, categories, device, batch)
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        found = _carried_out(run, out, instead, threads, trust, resume, retry_errors, quiet)
    _say(run, out, found, json)
    raise typer.Exit(0 if found.kept else FAILED)


def _carried_out(
    path: Path,
    out: Path,
    instead: "Instead",
    threads: int | None,
    trust: bool,
    resume: bool,
    retry_errors: bool,
    quiet: bool,
) -> "Agreement":
    import torch

    from detattack.cli.running import goes_on, progress_of, resumable
    from detattack.runs.folder import RunFolder
    from detattack.runs.manifest import task_in
    from detattack.tasks.registry import find_task
    from detattack.workflows.evaluate import carried_out
    from detattack.workflows.rerun import agreement, repeated

    with closing(RunFolder.open(path, find_task(task_in(path)).record_type)) as first:
        if not (path / "summary.json").is_file():
            raise InputError(f"{path}: is not finished; --resume goes on")
        torch.set_num_threads(threads or first.manifest.get("threads") or torch.get_num_threads())
        if first.manifest.get("environment", {}).get(DETERMINISTIC) == "1":
            be_deterministic()
        experiment = repeated(path, first.manifest, instead, trust)
        with (
            resumable(goes_on(out)),
            carried_out(experiment, out, resume, retry_errors, partial(progress_of, quiet)) as second,
        ):
            return agreement(first, second)


def _say(run: Path, out: Path, found: "Agreement", json: bool) -> None:
    from dataclasses import asdict
    from json import dumps

    from detattack.cli.terminal import say

    if json:
        summary = {"identical": not found.differing, "kept": found.kept, **asdict(found)}
        print(dumps({"run": str(out), "of": str(run), "summary": summary}))
        return
    for condition in found.conditions:
        say(f"not the same: {condition}", file=sys.stderr)
    if not found.differing:
        say(f"{counted(found.images, 'image')}: identical bytes")
        return
    names = ", ".join(found.differing[:SHOWN_AT_MOST]) + (", ..." if len(found.differing) > SHOWN_AT_MOST else "")
    ratio = "" if found.l2_ratio is None else f", median L2 × {found.l2_ratio:.4f}"
    differing = counted(len(found.differing), "file or row differs", "files and rows differ")
    say(f"{differing} ({names}); same success on {found.same_success:.1%}{ratio}")
