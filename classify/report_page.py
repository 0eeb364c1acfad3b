"""What the page of a classifier's run tells: what images are taken for, before and after."""

from collections import Counter, defaultdict
from typing import Any

from classify.config import ClassifyConfig, wanted
from classify.record import ClassificationRecord
from detattack.core.wording import counted
from detattack.report.charts import LEGEND, MOST_BARS, confidences, of_first_success, success_curves
from detattack.report.page import (
    Card,
    Content,
    Table,
    distance_cards,
    image_row,
    judged_on,
    question_of,
    questions_of,
    rate_cells,
    success_card,
)
from detattack.report.pictures import Pictures
from detattack.report.plots import Plot, bars
from detattack.report.reading import RunData

ClassifyData = RunData[ClassificationRecord]


def page_content(run: ClassifyData, pictures: dict[int, Pictures]) -> Content:
    """Tell of a classifier's run. pictures: what there is to see, by image id."""
    classes = [str(name) for name in run.manifest["classes"]]
    records = run.records
    plots = (
        *of_first_success(run),
        confidences(run.traces, spends=run.budget is not None),
        _predictions(records, classes),
    )
    target = run.config.get("target")
    return Content(
        title=f"misclassified as {target}" if target else "misclassified, untargeted",
        facts=[question_of(run), judged_on(run)],
        questions=questions_of(run, _asked(run)),
        cards=[success_card(run), *_file_card(records), *_accuracy(records), *distance_cards(run)],
        plots=[plot for plot in plots if plot],
        tables=_by_class(records, classes),
        data={
            "classes": classes,
            "floor": 0,
            "goal": "",
        },
        images=(_image(r, pictures.get(r.id, Pictures()), classes) for r in run.whole()),
        curves=success_curves(run),
    )


def _asked(run: ClassifyData) -> str:
    config = ClassifyConfig(**run.config)
    wrong = config.target or "another class than the one attacked"
    least = f", with a probability of at least {wanted(config):g}" if wanted(config) else ""
    return f"the model's top prediction is {wrong}{least}."


def _image(record: ClassificationRecord, pictures: Pictures, classes: list[str]) -> dict[str, Any]:
    goal = ""
    if record.leaves >= 0:
        goal = f"{classes[record.leaves]} → {classes[record.wrong] if record.targeted else 'any other class'}"
    said = [_flat(record.clean), _flat(record.adversarial)]
    facts = [["label", classes[record.label]]] if record.label >= 0 else []
    return image_row(record, pictures, g=goal, l=said if any(said) else None, e=facts)


def _flat(found: dict[str, list[Any]]) -> list[float]:
    """label, probability, label, ...: the likeliest first."""
    pairs = zip(found.get("labels", ()), found.get("scores", ()), strict=True)
    return [value for label, score in pairs for value in (label, round(score, 5))]


def _file_card(records: list[ClassificationRecord]) -> list[Card]:
    """How many float successes are some once they are saved."""
    wins = [r for r in records if r.status == "success"]
    if not any(r.file_quality for r in wins):
        return []
    stands = sum(r.file_success for r in wins)
    return [
        Card(
            "Still fools as a file", f"{100 * stands / len(wins):.1f}%", f"{stands} of {counted(len(wins), 'success')}"
        )
    ]


def _accuracy(records: list[ClassificationRecord]) -> list[Card]:
    known = [r for r in records if r.label >= 0 and r.clean]
    if not known:
        return []
    right = [sum(r.predicted == r.label for r in known), sum(_after(r) == r.label for r in known)]
    shares = " → ".join(f"{100 * count / len(known):.1f}%" for count in right)
    return [Card("Accuracy", shares, f"clean → adversarial, {counted(len(known), 'image')} with a label")]


def _after(record: ClassificationRecord) -> int:
    return record.adversarial["labels"][0] if record.adversarial else -1


def _predictions(records: list[ClassificationRecord], classes: list[str]) -> Plot | None:
    attacked = [r for r in records if r.quality]
    before, after = Counter(r.predicted for r in attacked), Counter(map(_after, attacked))
    if not attacked:
        return None
    ranked = sorted({*before, *after}, key=lambda label: (-before[label] - after[label], label))
    rows = [(classes[label], float(before[label]), float(after[label])) for label in ranked]
    text = "How many of the attacked images the model takes for each class"
    text += f"; {len(rows) - MOST_BARS} more in the table." if len(rows) > MOST_BARS else "."
    return Plot("Predictions by class", bars(rows[:MOST_BARS]), text, LEGEND)


def _by_class(records: list[ClassificationRecord], classes: list[str]) -> list[Table]:
    """Return a row for each class that was to be left or was gone to, the most attacked first."""
    attacked = [r for r in records if r.quality]
    if not attacked:
        return []
    left, gone = Counter(r.leaves for r in attacked), Counter(r.leaves for r in attacked if r.status == "success")
    to: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for record in attacked:
        if _after(record) != record.leaves:
            to[record.leaves][_after(record)] += 1
    taken = sum(to.values(), Counter())
    rows = []
    for label in sorted({*left, *taken}, key=lambda label: (-left[label], -taken[label], classes[label])):
        likeliest = ", ".join(f"{classes[other]} {count}" for other, count in to[label].most_common(2))
        rate = rate_cells(gone[label], left[label])
        rows.append([classes[label], str(left[label]), *rate, likeliest or "–", str(taken[label])])
    head = ("class", "images", "success", "interval", "taken for", "others taken for it")
    about = (
        "Attacked images by the class that they are to leave, with the 95% interval of the success rate. Taken for: "
        "the two classes that the adversarial images are most often taken for."
    )
    return [Table("By class", head, rows, about, shape="tall")]
