"""`detattack verify`: every saved image judged again, from its file; by another detector, or after a change."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from detattack.cli import names as n
from detattack.cli import options as o
from detattack.core.errors import InputError
from detattack.core.wording import counted

Other = Annotated[
    str | None,
    typer.Option(
        "--model", help="Another detector: how much of the attack is left before it?", autocompletion=n.a_detector
    ),
]


def verify(
    run: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    model: Other = None,
    weights: o.Weights = None,
    categories: o.Categories = None,
    prompt: o.Prompt = None,
    survive: o.Survive = None,
    device: o.Device = "auto",
    trust: o.Trust = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Judge every saved image of a run again, from its file. Status 1 where one disagrees with the ledger.

    With another model, or --survive, the same files are scored and compared with nothing.
    """
    from detattack.runs.manifest import check_own_model

    if model is None and (weights or categories or prompt):
        raise InputError("--weights, --categories and --prompt go with --model")
    if survive is not None:
        from detattack.datasets.corruptions import parse_corruptions

        parse_corruptions(survive)
    if model is None:
        check_own_model(run, trust)  # before torch is imported, which takes seconds
    if model is None and survive is None:
        _verify(run, device, trust, json)
    else:
        from detattack.cli.transferring import print_transfers
        from detattack.workflows.transfer import Other

        print_transfers(run, [Other(model, weights, categories, prompt)], survive, device, json, quiet, trust)


def _verify(run: Path, device: str, trust: bool, json: bool) -> None:
    import json as json_module

    from detattack.cli.terminal import say
    from detattack.workflows.verify import verify_run

    images = successes = 0
    wrong = []
    with redirect_stdout(sys.stderr):  # stdout is for the result, whatever a model prints
        for verdict in verify_run(run, device, trust):
            images += 1
            successes += verdict.success
            if verdict.problem:
                wrong.append(verdict.file)
                say(f"{verdict.file}: {verdict.problem}", file=sys.stderr)
    if json:
        summary = {"images": images, "success": successes, "disagree": len(wrong)}
        print(json_module.dumps({"run": str(run), "summary": summary, "problems": wrong}))
    else:
        found = f"{counted(images, 'image')} judged again: {counted(successes, 'success')}"
        print(f"{found}, {counted(len(wrong), 'disagrees', 'disagree')} with the ledger")
    raise typer.Exit(1 if wrong else 0)
