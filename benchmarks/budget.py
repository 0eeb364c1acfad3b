"""How little of AP is left within a budget: `ensemble` beside its losses alone, published losses, and ART's PGD.

    python benchmarks/budget.py --out DIR [--scenes N --seed N]                                     demo, on scenes
    python benchmarks/budget.py --out DIR --model SPEC --images DIR --annotations FILE --limit 24   photos
    python benchmarks/budget.py --out DIR --join DIR DIR ...                                        one table of several
    python benchmarks/budget.py --out DIR --check-art --scenes 24 --passes 20 --budget linf:2       the harness itself

A method is `ensemble`; the name of a loss, for `pgd-linf` on it alone: those of `ensemble` and of published_losses.py;
or `art-pgd-N`, N steps of adversarial-robustness-toolbox's PGD on the training loss of a network of torchvision's or
called like one. That library is optional: what cannot be run is left out, and said.

All have the same images and budgets, steps of a quarter of the budget (`ensemble` chooses its own), and --passes
backward passes an image. The attack within a budget begins where that within the smaller one ended; --fresh: at the
untouched image. Ours keep the worst image they meet, as `evaluate --budget` does; ART returns its last one. What is
saved is judged alike: 8-bit files, below one gray level floats, by the model's own inference and pycocotools. Of few
images AP, the mean over classes, may turn on one object of a rare class: so beside it stands AP of one ranking of all
detections, each right or wrong as in its class.

Of a method the run folders are DIR/METHOD/BUDGET. Called again, with other --methods too, the same command goes on.
Writes table.md and table.json, both APs by method and budget, and whether `ensemble` leaves no more at any of them.
"""

import argparse
import contextlib
import copy
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn

from detattack.core.files import write_bytes_atomic, write_text_atomic
from detattack.core.plugins import VARIABLE, load_plugins, plugin_files
from detattack.core.types import Detections, Evaluation
from detattack.datasets.image_io import to_tensor
from detattack.datasets.source import DatasetSource
from detattack.detectors.torchvision.base import TorchvisionDetector
from detattack.engine import PRESETS, run
from detattack.engine.budget import STEP_SHARE, Budget, parse_budgets
from detattack.runs.folder import SUMMARY
from detattack.tasks.columns import Column
from detattack.tasks.detection.goals import parse_goal
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.experiment import Experiment
from detattack.workflows.budgets import spend_budgets
from detattack.workflows.compare import markdown_table
from detattack.workflows.evaluate import Settings, carried_out, make_experiment

GOAL, OURS, PGD, ART = "degrade:all", "ensemble", "pgd-linf", "art-pgd-"
LOSSES = Path(__file__).absolute().with_name("published_losses.py")
PUBLISHED = ("a-cls", "a-loc", "cwa", "dag", "tog-vanishing", "tog-fabrication", "tog-mislabeling")
ART_STEPS = 40
"""Of ART's PGD, beside as many as the others have passes."""
TIE, SAME = 0.002, 0.005
"""AP by which one may be above another, and by which the same attack through ART and through us may differ."""
FAR, MOST_DETECTIONS = 1e5, 1000
"""Pixels between the places of two classes, and detections an image at most, where all are in one ranking."""
Shown = Mapping[str, Tensor]
"""What torchvision's detectors are trained on: the `boxes` `[M,4]` of an image, and their `labels` `[M]`."""
Find = Callable[[Tensor, Tensor, Shown], Tensor]
"""Attacks an image `[1,3,H,W]`, from where another attack ended, away from what it shows."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Attack, judge and write the table as the command line says. arguments: None: those of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--annotations", type=Path)
    parser.add_argument("--scenes", type=int, default=24, help="rendered, where there are no --images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="images at most")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--budget", default="linf:0.5,1,2,4,8")
    parser.add_argument("--passes", type=int, default=60)
    parser.add_argument("--methods", help="names with commas between; default: all")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--join", type=Path, nargs="+", metavar="DIR")
    parser.add_argument("--check-art", action="store_true")
    given = parser.parse_args(arguments)
    budgets = parse_budgets(given.budget)
    if budgets[0].norm != "linf":
        parser.error(f"--budget {given.budget}: ART and the papers are compared in linf")
    if bool(given.images) != bool(given.annotations):
        parser.error("--images and --annotations go together: AP is of annotated images")
    if given.join:
        write_table(given.out, [row for folder in given.join for row in read_rows(folder)])
    elif given.check_art:
        check_art(experiment_of(given), budgets, given.passes, given.out)
    else:
        compare(experiment_of(given), budgets, given)


def experiment_of(given: argparse.Namespace) -> Experiment[Any, Any, Any]:
    """Load the published losses, the model and the images."""
    if LOSSES not in plugin_files():
        os.environ[VARIABLE] = os.pathsep.join(map(str, [*plugin_files(), LOSSES]))
    load_plugins()
    source = DatasetSource(scenes=given.scenes, seed=given.seed, limit=given.limit)
    if given.images:
        source = DatasetSource(images=str(given.images), annotations=str(given.annotations), limit=given.limit)
    values = {"model": given.model, "goal": GOAL, "seed": given.seed, "device": given.device}
    return make_experiment(DETECTION, values, PRESETS[PGD], source, given.batch)


def compare(experiment: Experiment[Any, Any, Any], budgets: Sequence[Budget], given: argparse.Namespace) -> None:
    """Run the methods one by one, and write the table after each: rows of methods that are not asked for stay."""
    rows = {row["method"]: row for row in read_rows(given.out)}
    art = (f"{ART}{ART_STEPS}", f"{ART}{given.passes}")
    asked = given.methods.split(",") if given.methods else [OURS, *parse_goal(GOAL).members_of(()), *PUBLISHED, *art]
    for method in dict.fromkeys(asked):
        steps = int(method.removeprefix(ART)) if method.startswith(ART) else given.passes
        if method.startswith(ART) and not art_runs(experiment.model):
            continue
        spend = spend_art if method.startswith(ART) else spend_ours
        scores = spend(experiment, budgets, method, steps, given.out / method, given.fresh)
        rows[method] = {
            "model": experiment.model.name,
            "method": method,
            "images": min(one["images"] for one in scores),
            "passes": steps,
            "clean": scores[0]["clean"]["ap"],
            "ap": {str(budget): one["adversarial"]["ap"] for budget, one in zip(budgets, scores, strict=True)},
            "pooled": {str(budget): pooled_ap(given.out / method / budget.folder) for budget in budgets},
        }
        write_table(given.out, list(rows.values()))


def spend_ours(
    experiment: Experiment[Any, Any, Any], budgets: Sequence[Budget], method: str, passes: int, out: Path, fresh: bool
) -> list[Mapping[str, Any]]:
    """Spend each budget on `ensemble`, or on a loss alone; the AP of each, as in its summary."""
    loss = () if method == OURS else (method,)
    one = replace(experiment, config=experiment.config.model_copy(update={"loss": loss}))
    parse_goal(GOAL).check_losses(loss)
    name = OURS if method == OURS else PGD
    attacks = {budget: Settings(budget=budget, passes=passes).attack(DETECTION, name) for budget in budgets}
    chains = [{budget: attack} for budget, attack in attacks.items()] if fresh else [attacks]
    spent = [spend_budgets(one, {method: chain}, out, resume=out.exists()) for chain in chains]
    return [summary["ap"] for robustness in spent for summary in robustness.summaries]


def spend_art(
    experiment: Experiment[Any, Any, Any], budgets: Sequence[Budget], method: str, steps: int, out: Path, fresh: bool
) -> list[Mapping[str, Any]]:
    """Spend each budget on ART's PGD; the AP of each."""
    scores, start = [], None
    for budget in budgets:
        folder = out / ("fresh" if fresh else "found") / budget.folder
        find_all(experiment, partial(art_pgd, experiment.model, budget, steps), folder, start)
        scores.append(judged(experiment, budget, folder, out / budget.folder))
        start = None if fresh else folder
    return scores


def check_art(
    experiment: Experiment[Any, Any, Any], budgets: Sequence[Budget], steps: int, out: Path
) -> dict[str, dict[str, float]]:
    """Run the same PGD on the same loss through ART and through our engine; print and return the APs by budget.

    Steps of a quarter of the budget from the untouched image, floats in the loop, the last image, rounded, on file.
    """
    found: dict[str, dict[str, float]] = {}
    for budget in budgets:
        for name, pgd in {"art": art_pgd, "detattack": own_pgd}.items():
            folder = out / name / f"found-{steps}" / budget.folder
            find_all(experiment, partial(pgd, experiment.model, budget, steps), folder)
            ap = judged(experiment, budget, folder, out / name / budget.folder)
            found.setdefault(str(budget), {"clean": ap["clean"]["ap"]})[name] = ap["adversarial"]["ap"]
        aps = found[str(budget)]
        apart = abs(aps["art"] - aps["detattack"])
        print(
            f"{budget}, {steps} steps, {len(experiment.dataset.samples)} images: clean AP {aps['clean']:.4f}, "
            f"ART {aps['art']:.4f}, detattack {aps['detattack']:.4f}: {'the same' if apart <= SAME else 'NOT the same'}"
        )
    write_text_atomic(out / "check-art.json", json.dumps(found, indent=1) + "\n")
    return found


def judged(experiment: Experiment[Any, Any, Any], budget: Budget, found: Path, out: Path) -> Mapping[str, Any]:
    """Judge images that others have found as all are: by a run of an attack that begins with them and makes no step."""
    attack = Settings(budget=budget).attack(DETECTION, PGD)
    still = replace(experiment.with_attack(replace(attack, max_iterations=0)), start=found)
    with carried_out(still, out, resume=True, notes=False) as folder:
        ap: Mapping[str, Any] = folder.read_json(SUMMARY)["ap"]
    return ap


def find_all(experiment: Experiment[Any, Any, Any], find: Find, folder: Path, start: Path | None = None) -> None:
    """Attack each image, and save what is found as floats; those that are there are left as they are."""
    (folder / "floats").mkdir(parents=True, exist_ok=True)
    for sample in experiment.dataset.samples:
        name = f"floats/{sample.stem}.npy"
        if (folder / name).exists():
            continue
        image = to_tensor(sample.load().pixels)[None].to(experiment.model.device)
        begun = torch.from_numpy(np.load(start / name))[None].to(image) if start else image
        torch.manual_seed(0)  # a two-stage network draws the regions that it is trained on
        found = find(image, begun, shown(experiment.model, experiment.truth.of(sample.id)))
        buffer = io.BytesIO()
        np.save(buffer, found[0].cpu().numpy().astype(np.float32))
        write_bytes_atomic(folder / name, buffer.getvalue())


def shown(detector: TorchvisionDetector, objects: Detections) -> Shown:
    """Write annotated objects as the network is trained on them: labels are columns of its head."""
    columns, _ = detector._columns.split(torch.arange(detector._columns.count, device=detector.device))
    return {"boxes": objects.boxes.to(detector.device), "labels": columns[objects.labels.to(detector.device)]}


def art_runs(detector: Any) -> bool:
    """Whether ART is installed and takes the detector; said where not."""
    reason = "" if isinstance(detector, TorchvisionDetector) else f"it takes no {detector.name}"
    if reason or not find_spec("art"):
        print(f"ART's PGD is left out: {reason or 'adversarial-robustness-toolbox is not installed'}")
        return False
    return True


def art_pgd(
    detector: TorchvisionDetector, budget: Budget, steps: int, image: Tensor, begun: Tensor, shows: Shown
) -> Tensor:
    """Attack by ART's PGD on all terms of the training loss, without a random start. A `Find`."""
    from art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_numpy import (
        ProjectedGradientDescentNumpy,
    )
    from art.estimators.object_detection import PyTorchObjectDetector

    class Begun(ProjectedGradientDescentNumpy):
        """Takes its first step from elsewhere than the image."""

        first: Any = begun.cpu().numpy()

        def _compute(self, x: Any, *rest: Any, **more: Any) -> Any:
            x, self.first = x if self.first is None else self.first, None
            return super()._compute(x, *rest, **more)

    network = copy.deepcopy(detector.network)  # which ART leaves in training mode
    estimator = PyTorchObjectDetector(
        network,
        input_shape=tuple(image.shape[1:]),
        clip_values=(0, 1),
        channels_first=True,
        attack_losses=tuple(TrainingLoss(detector, shows).terms(image)),
        device_type="cpu" if detector.device.type == "cpu" else "gpu",
    )
    pgd = Begun(estimator, eps=budget.radius, eps_step=STEP_SHARE * budget.radius, max_iter=steps, verbose=False)
    labels = {name: values.cpu().numpy() for name, values in shows.items()}
    labels["scores"] = np.ones(len(labels["labels"]), dtype=np.float32)
    return torch.from_numpy(pgd.generate(image.cpu().numpy(), [labels]))


def own_pgd(
    detector: TorchvisionDetector, budget: Budget, steps: int, image: Tensor, begun: Tensor, shows: Shown
) -> Tensor:
    """Attack by our engine on the training loss, floats in the loop, and return the last image. A `Find`."""
    attack = replace(budget.spent_by(PRESETS[PGD]), stop="first", levels=None, max_iterations=steps)
    return run(attack, image, TrainingLoss(detector, shows), starts=begun).images


class TrainingLoss:
    """The loss that a network of torchvision's is trained with on what an image shows, to rise. An `Objective`."""

    def __init__(self, detector: TorchvisionDetector, shows: Shown) -> None:
        self.shows = dict(shows)
        self.network = copy.deepcopy(detector.network).train()
        for module in self.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.Dropout):
                module.eval()

    def terms(self, image: Tensor) -> dict[str, Tensor]:
        """Compute the terms of an image `[1,3,H,W]`, scalars by name."""
        return self.network(list(image), [self.shows])

    def __call__(self, images: Tensor, index: Tensor) -> Evaluation:
        """Evaluate the image; it is never a success."""
        loss = -torch.stack(list(self.terms(images).values())).sum().view(1)
        return Evaluation(loss, torch.zeros_like(loss, dtype=torch.bool), torch.zeros_like(loss))

    def confirm(self, image: Tensor, index: int) -> bool:
        """Never."""
        return False


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the rows of a table that was written; none where there is none."""
    path = folder / "table.json"
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def write_table(out: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write and print rows of methods, of one model or several."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [{**row, **{f"{which}_verdict": verdict(row, rows, which) for which in ("ap", "pooled")}} for row in rows]
    write_text_atomic(out / "table.json", json.dumps({"tie": TIE, "rows": rows}, indent=1) + "\n")
    budgets = list(dict.fromkeys(budget for row in rows for budget in row["ap"]))
    columns = [
        *(Column(key, key) for key in ("model", "method", "images", "passes")),
        Column("clean", "clean", ".3f"),
        *(Column(budget, budget, ".4f") for budget in budgets),
        Column("ap_verdict", f"{OURS} at most + {TIE:g}"),
        *(Column(f"pooled {budget}", f"{budget}, one ranking", ".4f") for budget in budgets),
        Column("pooled_verdict", f"{OURS} at most + {TIE:g}"),
    ]
    text = markdown_table([{**row, **_cells(row)} for row in rows], columns)
    write_text_atomic(out / "table.md", text)
    print(text, flush=True)


def _cells(row: Mapping[str, Any]) -> dict[str, float | None]:
    return row["ap"] | {f"pooled {budget}": ap for budget, ap in row["pooled"].items()}


def pooled_ap(run: Path) -> float:
    """Compute AP of one ranking of all detections of a run, whatever their class: right where it is right in its class.

    Each class lies in a place of its own, far from the others, and then all are called the same.
    """
    names = ("annotations.json", "adversarial.json")
    truth, found = (json.loads((run / name).read_text(encoding="utf-8")) for name in names)
    if not found:
        return 0.0
    for one in (*truth["annotations"], *found):
        one["bbox"][0] += FAR * one["category_id"]
        one["category_id"] = 1
    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO()
        objects.dataset = {**truth, "categories": [{"id": 1, "name": "all"}]}
        objects.createIndex()
        judge = COCOeval(objects, objects.loadRes(found), "bbox")
        judge.params.maxDets = [MOST_DETECTIONS]
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, -1]
    return float(precision[precision > -1].mean())


def verdict(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], which: str) -> str:
    """Say whether `ensemble` leaves no more AP of the same model than a method at every budget, but for a tie.

    which: `ap` or `pooled`, by which AP.
    """
    ours: Mapping[str, float] = next(
        (one[which] for one in rows if (one["model"], one["method"]) == (row["model"], OURS)), {}
    )
    both = {budget: (ours.get(budget), ap) for budget, ap in row[which].items()}
    above = {budget: our - ap for budget, (our, ap) in both.items() if our is not None and ap is not None}
    if row["method"] == OURS or not above:
        return "-"
    most = max(above, key=above.__getitem__)
    return "yes" if above[most] <= TIE else f"no: {above[most]:+.3f} at {most}"


if __name__ == "__main__":
    main()
