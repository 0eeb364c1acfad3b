"""A run's files before other detectors and after changes: the matrix that `verify` and `evaluate` print."""

import json as json_module
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detattack.tasks.detection.transfer import Transfer

Spec = tuple[str | None, str | None, str | None]
"""Model, weights and categories of a detector; no model: the run's own."""


def check_transfers(models: str | None, survive: str | None, device: str) -> list[Spec]:
    """The detectors of `--transfer-to`. Raises `InputError` for what would only be known when the run is done."""
    from detattack.datasets.corruptions import parse_changes
    from detattack.detectors.registry import load_detector

    parse_changes(survive or "")
    names = [name.strip() for name in (models or "").split(",") if name.strip()]
    for name in names:
        load_detector(name, device)
    return [(name, None, None) for name in names]


def transfers_of(
    run: Path, specs: Sequence[Spec], survive: str | None, device: str, json: bool, quiet: bool, trust: bool
) -> None:
    """Scores the files of a run, writes `transfer.json` into it and prints the matrix. trust: the run's own model."""
    from rich.progress import Progress

    from detattack.cli.terminal import Terminal
    from detattack.core.files import swept
    from detattack.core.locating import located_config
    from detattack.core.trust import check_trust
    from detattack.datasets.corruptions import UNCHANGED, parse_changes
    from detattack.detectors.registry import load_detector
    from detattack.tasks.detection.config import make_config
    from detattack.tasks.detection.record import RunFolder
    from detattack.tasks.detection.transfer import transfer

    changes = [UNCHANGED, *parse_changes(survive or "")]
    shown = Progress(console=Terminal(stderr=True, quiet=quiet))
    with closing(RunFolder.open(run)) as folder, swept(run), shown as bar:
        config = make_config(**located_config(run, folder.manifest))
        if not all(model for model, _, _ in specs):
            check_trust(run, config.model, trust)
        own = (config.model, config.weights, config.categories)
        detectors = [load_detector(m or own[0], device, *((w, c) if m else own[1:])) for m, w, c in specs]
        total = len(detectors) * len(changes) * sum(r.status in ("success", "failure") for r in folder.iterate())
        task = bar.add_task("scoring", total=total)
        found = [transfer(folder, d, change, lambda: bar.advance(task)) for d in detectors for change in changes]
        rows: list[dict[str, Any]] = [asdict(one) for one in found]
        folder.write_json("transfer.json", rows)
    if json:
        print(json_module.dumps({"run": str(run), "transfer": rows}, allow_nan=False))
    elif not quiet:
        _print(found)


def _print(found: "Sequence[Transfer]") -> None:
    from rich.table import Table
    from rich.text import Text

    from detattack.cli.tables import number
    from detattack.cli.terminal import Terminal, shown

    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for name in ("model", "change"):
        table.add_column(name, overflow="fold")
    for name in ("success", "95%", "already", "AP clean", "AP after"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        low, high = one.success["interval"] or (None, None)
        ap = one.ap or {"clean": {"ap": None}, "adversarial": {"ap": None}}
        table.add_row(
            Text(shown(one.model)),
            one.change,
            f"{one.success['successes']} of {one.success['trials']}",
            f"{number(low, '.0%')} to {number(high, '.0%')}",
            str(one.already),
            number(ap["clean"]["ap"], ".3f"),
            number(ap["adversarial"]["ap"], ".3f"),
        )
    console = Terminal()
    console.print(table)
    for line in _counted(found):
        console.print(line, markup=False, highlight=False)
    gone = max(one.unread for one in found)
    if gone:
        console.print(f"{gone} images left out: their originals are gone or have changed", highlight=False)


def _counted(found: "Sequence[Transfer]") -> Iterator[str]:
    """Which images the columns count, and what AP does not."""
    from detattack.tasks.detection.summary import ap_notes

    yield "success: of the run's successes, without those for which the goal holds already with the original"
    scored = [one for one in found if one.ap]
    if scored:
        images = sorted({one.ap["images"] for one in scored if one.ap})
        counts = " to ".join(map(str, dict.fromkeys((images[0], images[-1]))))
        yield f"AP: of the {counts} attacked images, successes and failures; untouched ones (`nothing`, `already`) not"
    yield from dict.fromkeys(f"{one.model}: {note}" for one in scored for note in ap_notes(one.ap))
