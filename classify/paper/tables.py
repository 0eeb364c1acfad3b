"""A table of the paper: ours beside its numbers, whether the methods come in its order, and what it was made with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from classify.paper.config import Experiment, Published, Runs
from classify.paper.facts import write_facts
from classify.paper.names import METRICS, method_title
from classify.paper.order import Agreement, Order, order
from classify.paper.running import Result
from detattack.core.files import write_text_atomic
from detattack.core.wording import counted
from detattack.tasks.columns import Column
from detattack.workflows.compare import to_latex

LEADING: Sequence[Column] = (
    Column("judged", "judged", ""),
    Column("method", "method", ""),
    Column("images", "images", "d"),
    Column("success_rate", "success", ".1%"),
    Column("success_low", "from", ".1%"),
    Column("success_high", "to", ".1%"),
    Column("file_success_rate", "still fools after saving", ".1%"),
)
COSTS: Sequence[Column] = (
    Column("mean_forwards", "forwards", ".1f"),
    Column("mean_backwards", "backwards", ".1f"),
    Column("seconds_per_image", "s/image", ".3f"),
)
MEANS = (
    "Numbers are means over the images on which a method succeeds; success is with its 95% Wilson interval; *paper* is "
    "the number that the paper states. *still fools after saving* is judged from the 8-bit files. *forwards* and "
    "*backwards* count passes of one image; *s/image* is the time of the machine that ran it."
)


@dataclass(frozen=True, eq=False)
class Table:
    """A finished table. rows: by the keys of `columns`. orders: by what is judged."""

    columns: Sequence[Column]
    rows: list[dict[str, Any]]
    orders: dict[str, Order]


def make_table(experiment: Experiment, runs: Runs, results: Sequence[Result]) -> Table:
    """Make the rows in the order of the results."""
    rows = [_row(result, experiment.metrics, published(experiment, runs, result.variant)) for result in results]
    orders = {}
    for variant, judged in {result.variant: result.judged for result in results}.items():
        paper = published(experiment, runs, variant)
        methods = {result.row: result.method.values for result in results if result.variant == variant}
        orders[judged] = order(methods, {metric: paper[metric] for metric in experiment.metrics if metric in paper})
    return Table(table_columns(experiment.metrics), rows, orders)


def published(experiment: Experiment, runs: Runs, variant: str) -> Published:
    """Find the paper's numbers that a variant is held against."""
    return runs.variants[variant].paper or experiment.paper


def table_columns(metrics: Sequence[str]) -> Sequence[Column]:
    """Each metric with the paper's beside it."""
    pairs: list[Column] = []
    for name in metrics:
        pairs += [Column(name, METRICS[name].heading, METRICS[name].form), Column(f"{name}_paper", "paper", "g")]
    iterations = () if "k" in metrics else (Column("k", "K", ".1f"),)
    return (*LEADING, *pairs, *iterations, *COSTS)


def write_table(path: Path, table: Table, heading: Sequence[str], made: Mapping[str, Any]) -> dict[str, Any]:
    """Write `path` with .csv, .md, .tex and .json; return what the JSON holds. heading: paragraphs above the table."""
    spelled = [row | {"method": method_title(row["method"])} for row in table.rows]
    below = [MEANS, *order_lines(table.orders)]
    orders = {judged: _order_json(one) for judged, one in table.orders.items()}
    write_text_atomic(path.with_suffix(".tex"), to_latex(spelled, table.columns))
    return write_facts(
        path, table.rows, table.columns, heading, {**made, "orders": orders}, (spelled, table.columns), below
    )


def order_lines(orders: Mapping[str, Order]) -> Iterator[str]:
    """Yield a paragraph for each of what is judged: metric by metric, whether the methods are in the paper's order."""
    for judged, one in orders.items():
        lines = [f"- {METRICS[metric].heading}: {_order_text(found)}" for metric, found in one.by_metric.items()]
        if lines:
            over = f"over the {counted(one.images, 'image')} on which all of the paper's methods succeed"
            yield "\n".join([f"Order of the methods, {judged}, against the paper's, {over}:\n", *lines])


def _row(result: Result, metrics: Sequence[str], paper: Published) -> dict[str, Any]:
    summary = result.method.summary
    low, high = summary["success_interval"] or (None, None)
    row = {
        "judged": result.judged,
        "method": result.row,
        "images": summary["attacked"],
        "success_rate": summary["success_rate"],
        "success_low": low,
        "success_high": high,
        "file_success_rate": summary["file_success_rate"],
        "seconds_per_image": summary["timing"]["seconds_per_image"],
        "k": summary["mean_k"],
        "mean_forwards": summary["mean_forwards"],
        "mean_backwards": summary["mean_backwards"],
    }
    for metric in metrics:
        row[metric] = summary[f"mean_{metric}"]
        row[f"{metric}_paper"] = paper.get(metric, {}).get(result.row)
    return row


def _order_json(one: Order) -> dict[str, Any]:
    return {"images": one.images} | {
        metric: asdict(found) | {"tau": found.tau} for metric, found in one.by_metric.items()
    }


def _order_text(one: Agreement) -> str:
    if one.tau is None:
        return "nothing to compare"
    if not one.differing:
        return f"the same, all {counted(one.pairs, 'pair')} (τ = 1)"
    pairs = ", ".join(f"{method_title(high)} above {method_title(low)}" for high, low in one.differing)
    kept = one.pairs - len(one.differing)
    return f"{kept} of {counted(one.pairs, 'pair')} the same (τ = {one.tau:.2f}); only in the paper is {pairs}"
