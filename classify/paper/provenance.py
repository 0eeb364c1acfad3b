"""Which data, weights and settings something was made with, from the run folders that it was made from."""

from collections.abc import Sequence
from typing import Any

from classify.paper.config import Experiment, Runs
from classify.paper.running import Result
from classify.paper.sources import TITLES, Sources
from detattack.core.wording import counted


def made_with(experiment: Experiment, runs: Runs, sources: Sources, results: Sequence[Result]) -> dict[str, Any]:
    """As JSON: title, notes, how many images where the paper's number is another, model and data by fingerprints."""
    manifest = results[0].manifest()
    return {
        "title": experiment.title,
        "notes": list(experiment.notes),
        "images": sources.count(runs.images),
        "images_of_the_config": runs.images,
        "data": {"name": TITLES[runs.data], "fingerprint": manifest["data"], "skipped": runs.skip},
        "model": {k: manifest["config"][k] for k in ("model", "weights", "preprocess")}
        | {"fingerprint": manifest["model"]},
        "attacks": {
            f"{result.variant}/{result.row}": {k: result.manifest()["config"][k] for k in ("attack", "loss", "classes")}
            for result in results
        },
    }


def lines(made: dict[str, Any]) -> list[str]:
    """Return the same as paragraphs of markdown."""
    data, model = made["data"], made["model"]
    skipped = f" after the first {data['skipped']}" if data["skipped"] else ""
    found = [f"# {made['title']}"]
    warning = warning_of(made)
    found += [f"**{warning}**"] if warning else []
    found.append(
        f"Data: {counted(made['images'], 'image')} of {data['name']} that the model gets right{skipped} "
        f"(`{data['fingerprint']}`). Model: {model['model']}, weights {model['weights'] or 'of its own'} "
        f"(`{model['fingerprint']}`)."
    )
    return found + made["notes"]


def warning_of(made: dict[str, Any]) -> str:
    """Loud where fewer images were taken than the config says; else empty."""
    if made["images"] == made["images_of_the_config"]:
        return ""
    taken = counted(made["images"], "image")
    return f"NOT A RESULT TO PUBLISH: {taken} (--limit) in the place of {made['images_of_the_config']}."
