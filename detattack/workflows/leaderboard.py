"""The leaderboard's files: `leaderboard.html` and a page a model, JSON, CSV, markdown and LaTeX."""

import base64
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detattack import __version__
from detattack.core.errors import InputError
from detattack.core.files import swept, write_text_atomic
from detattack.core.wording import counted
from detattack.datasets.image_io import read_image
from detattack.datasets.rendered import read_original
from detattack.engine.budget import parse_budgets
from detattack.ranking.board import LEAST_OF_GROUP, RANKED_BY, Board, Row
from detattack.ranking.entry import CLEAN
from detattack.ranking.phases import Phases
from detattack.ranking.smallest import UNTOUCHED
from detattack.ranking.statistics import TOP, Estimate, curve
from detattack.report.page import PAGE
from detattack.report.plots import Axis, Plot, Series, line_chart
from detattack.report.sections_page import COLORS, Cell, Grid, Line, Page, Section, render
from detattack.tasks.columns import Column
from detattack.workflows.compare import markdown_table, to_csv, to_latex

LEADERBOARD, MODEL_PAGE = "leaderboard.html", "model.html"
THUMB_SIDE = 240
SHOWN_BUDGETS = ("linf:2", "linf:4")
"""Of those in the first table."""
MOST_CLASSES = 5
"""That are named where models know other ones."""
LAST_SHARE = 0.98
"""Curves are drawn up to the change that breaks this share of the images of the most robust model."""


def write_leaderboard(board: Board, out: Path) -> None:
    """Write all files of a leaderboard into the folder of the ranking."""
    rows, columns = table_rows(board), table_columns(board)
    with swept(out):
        write_text_atomic(out / "leaderboard.json", json.dumps(as_json(board), indent=1, allow_nan=False) + "\n")
        write_text_atomic(out / "leaderboard.csv", to_csv(rows, columns))
        write_text_atomic(out / "leaderboard.md", markdown_table(rows, columns) + below(board))
        write_text_atomic(out / "leaderboard.tex", to_latex(rows, columns))
        write_text_atomic(out / LEADERBOARD, render(leaderboard_page(board, out)))
        for number, row in enumerate(board.rows):
            write_text_atomic(out / row.entry.folder / MODEL_PAGE, render(model_page(board, row, number, out)))


def as_json(board: Board) -> dict[str, Any]:
    """Tell the whole leaderboard."""
    return {
        "protocol": board.protocol.as_json,
        "detattack": __version__,
        "data": board.rows[0].entry.data if board.rows else None,
        "ordered_by": f"{board.protocol.first_walk}, {RANKED_BY}, median",
        "images": {walk: len(ids) for walk, ids in board.images.items()},
        "left_out": board.left_out,
        "failing": board.failing,
        "lacking": board.lacking,
        "models": [
            {
                "folder": row.entry.folder,
                "name": row.entry.name,
                "place": row.place_text,
                "classes": row.entry.classes,
                "jnd50": {
                    walk: {norm: one.as_json() for norm, one in norms.items()} for walk, norms in row.jnd50.items()
                },
                "area": {walk: one.as_json() for walk, one in row.area.items()},
                "noticed": {walk: _finite(share) for walk, share in row.noticed.items()},
                "ap": {key: one.as_json() for key, one in row.ap.items()},
                "groups": {
                    kind: {name: {**one.as_json(), "images": count} for name, (one, count) in groups.items()}
                    for kind, groups in row.groups.items()
                },
                "verdicts": [verdict.as_json() for verdict in row.verdicts],
                "passes": row.entry.passes,
                "seconds": row.seconds,
            }
            for row in board.rows
        ],
    }


def table_columns(board: Board) -> list[Column]:
    """List the columns of the first table."""
    return [
        Column("place", "place"),
        Column("model", "model"),
        Column("jnd50", "JND50, RMS"),
        Column("jnd50_interval", "95% CI"),
        Column("l2", "JND50, L2"),
        Column("linf", "JND50, L∞"),
        Column("noticed", "ΔE>1", ".1%"),
        *(Column(key, _ap_heading(key), ".3f") for key in _scored(board)),
        Column("passes", "backwards", ",d"),
        Column("trusted", "trusted"),
    ]


def table_rows(board: Board) -> list[dict[str, Any]]:
    """Make the rows of the first table."""
    first, rows = board.protocol.first_walk, []
    for row in board.rows:
        jnd50 = row.jnd50[first]
        rows.append(
            {
                "place": row.place_text,
                "model": row.entry.folder,
                "jnd50": _number(jnd50[RANKED_BY].value),
                "jnd50_interval": _interval(jnd50[RANKED_BY]),
                "l2": _number(jnd50["l2"].value),
                "linf": _number(jnd50["linf"].value),
                "noticed": _finite(row.noticed[first]),
                **{key: _finite(row.ap[key].value) if key in row.ap else None for key in _scored(board)},
                "passes": row.entry.passes["backwards"],
                "trusted": "masked" if row.masked else "yes",
            }
        )
    return rows


def below(board: Board) -> str:
    """Say below the table what it does not hold."""
    said = [
        f"\n{row.entry.folder} is masked: not so, that {verdict.name} ({verdict.evidence})\n"
        for row in board.rows
        for verdict in row.masked
    ]
    said += [f"\n{name} is left out for all models: {why}\n" for name, why in board.left_out.items()]
    said += [f"\n{folder} is not ranked: {why}\n" for folder, why in board.failing.items()]
    return "".join([*said, *(f"\n{line}\n" for line in classes_apart(board.lacking))])


def classes_apart(lacking: Mapping[str, Sequence[str]]) -> list[str]:
    """Say where models are measured on other classes than others. lacking: see `Board`."""
    lines = []
    for folder, names in lacking.items():
        more = f" and {len(names) - MOST_CLASSES} more" if len(names) > MOST_CLASSES else ""
        known = ", ".join(names[:MOST_CLASSES]) + more
        lines.append(f"{folder} is measured without the objects of {known}, which it does not know and others do")
    return lines


def leaderboard_page(board: Board, out: Path) -> Page:
    """Make the page of all models."""
    first = board.protocol.first_walk
    count = len(board.images[first])
    facts = [
        f"protocol {board.protocol.name} ({board.protocol.hash})",
        counted(len(board.rows), "model"),
        f"{counted(count, 'image')} with objects",
    ]
    notes = [
        "JND50 is the change at which half of the images are broken: on each image, the smallest change that a file "
        f"holds after which no annotated object is found any more at τ {board.protocol.score_threshold:g}, over all "
        "attacks. Root mean square, in gray levels of 255; the larger, the more robust. AP is what is left once all "
        "of a budget is spent on every image.",
        "Places are by JND50. Models are tied where neither is ahead in 97.5% of the resamples of the images.",
    ]
    masked = [
        {"title": f"{row.entry.folder} is masked.", "text": f"Not so: {verdict.name} ({verdict.evidence})."}
        for row in board.rows
        for verdict in row.masked
    ]
    left = [{"title": name, "text": f"is left out for all models: {why}"} for name, why in board.left_out.items()]
    failing = [{"title": f"{folder} is not ranked.", "text": f"It {why}."} for folder, why in board.failing.items()]
    classes = [{"title": "Models know other classes.", "text": f"{line}."} for line in classes_apart(board.lacking)]
    walks = [
        _walk_plot(board, name, f"{name}: {walk.goal}{', τ at the floor' if walk.at_floor else ''}")
        for name, walk in board.protocol.walks.items()
    ]
    sections = [
        Section("Models", tables=[_first_table(board)]),
        Section("Curves", plots=[*(plot for plot in walks if plot), *_ap_plot(board)]),
        Section("Goals", "JND50 of each goal, in gray levels (RMS), with its 95% interval.", [_walk_table(board)]),
        Section("Images", "The images on which the models differ most.", pictures=list(_separating(board, out))),
        Section("Trust", "What would tell a detector that only looks robust.", [_verdict_table(board)]),
    ]
    shown = [one for one in sections if one.tables or one.plots or one.pictures]
    return Page("The JND of detectors", "leaderboard", facts, shown, notes, [*masked, *failing, *classes, *left])


def model_page(board: Board, row: Row, number: int, out: Path) -> Page:
    """Make the page of one model."""
    entry, first = row.entry, board.protocol.first_walk
    facts = [
        "masked" if row.masked else f"place {row.place_text}",
        f"protocol {board.protocol.name}",
        f"weights {entry.model['fingerprint']}",
        f"{entry.passes['backwards']:,} backward and {entry.passes['forwards']:,} forward passes",
        f"{row.seconds / 60:.1f} minutes",
    ]
    goals = [
        Line(
            [
                Cell(name),
                *(_estimate_cell(row.jnd50[name][norm]) for norm in ("rms", "l2", "linf")),
                _estimate_cell(row.area[name]),
                _percent_cell(row.noticed[name]),
            ]
        )
        for name in board.protocol.walks
    ]
    groups = [
        Grid(
            (kind, "images", "JND50, RMS"),
            [Line([Cell(name), Cell(str(n), n), _estimate_cell(one)]) for name, (one, n) in some.items()],
            title=f"By {kind}",
            shape="narrow",
        )
        for kind, some in row.groups.items()
        if some
    ]
    verdicts = [
        Line([Cell(one.name), Cell("yes" if one.trusted else "no"), Cell(one.evidence)]) for one in row.verdicts
    ]
    phases = Phases(out / entry.folder, board.protocol)
    pages = [
        Line([Cell(run.relative_to(phases.path).as_posix(), link=(run.relative_to(phases.path) / PAGE).as_posix())])
        for run in phases.paged
        if (run / PAGE).is_file()
    ]
    sections = [
        Section(
            "Goals",
            f"Median smallest changes; the area counts changes above {TOP:g} gray levels as that.",
            [Grid(("goal", "RMS", "L2", "L∞", "area, RMS", "ΔE>1"), goals)],
        ),
        Section("Groups", f"Of {first}; groups of {LEAST_OF_GROUP} images and more.", groups),
        Section("Trust", "", [Grid(("what has to be so", "is it", "evidence"), verdicts, shape="words")]),
        Section("Runs", "", [Grid(("page of a run",), pages, shape="narrow")]) if pages else Section("Runs"),
    ]
    shown = [one for one in sections if one.tables]
    return Page(entry.folder, "model", facts, shown, back=f"../{LEADERBOARD}")


def _first_table(board: Board) -> Grid:
    first, scored = board.protocol.first_walk, _scored(board)
    lines = []
    for number, row in enumerate(board.rows):
        lines.append(
            Line(
                [
                    Cell(row.entry.folder, link=f"{row.entry.folder}/{MODEL_PAGE}", kind=number % COLORS),
                    Cell(row.place_text, row.place.best if row.place else None),
                    _estimate_cell(row.jnd50[first][RANKED_BY]),
                    *(_estimate_cell(row.ap[key], ".3f") if key in row.ap else Cell("–", None) for key in scored),
                    _percent_cell(row.noticed[first]),
                    Cell(f"{row.seconds / 60:.1f}", row.seconds),
                ],
                faint=row.place is None,
            )
        )
    head = ["model", "place", "JND50, RMS", *map(_ap_heading, scored)]
    return Grid([*head, "ΔE>1", "minutes"], lines, after="Below each figure its 95% interval. L∞ in gray levels.")


def _walk_table(board: Board) -> Grid:
    lines = [
        Line(
            [
                Cell(row.entry.folder, kind=number % COLORS),
                *(_estimate_cell(row.jnd50[walk][RANKED_BY]) for walk in board.protocol.walks),
            ],
            faint=row.place is None,
        )
        for number, row in enumerate(board.rows)
    ]
    images = ", ".join(f"{walk} {len(ids)}" for walk, ids in board.images.items())
    return Grid(("model", *board.protocol.walks), lines, after=f"Images: {images}.")


def _verdict_table(board: Board) -> Grid:
    lines = [
        Line([Cell(row.entry.folder), Cell(one.name), Cell("yes" if one.trusted else "no"), Cell(one.evidence)])
        for row in board.rows
        for one in row.verdicts
    ]
    return Grid(("model", "what has to be so", "is it", "evidence"), lines, shape="words")


def _walk_plot(board: Board, walk: str, title: str) -> Plot | None:
    """Draw the share of images that are broken, against the change."""
    ids = board.images[walk]
    series, legend, most = [], [], 0.0
    for number, row in enumerate(board.rows):
        known = row.entry.walks[walk]
        values = [known[i].rms if i in known else math.inf for i in ids]
        points = curve(values)
        if not points or row.place is None:
            continue
        kind, name = f"s{number % COLORS}", row.entry.folder
        most = max(most, *(x for x, share in points[: max(1, math.ceil(LAST_SHARE * len(points)))]))
        series.append(Series(kind, name, [(0.0, 0.0), *points], steps=True))
        legend.append((kind, name))
    if not series:
        return None
    cut = [
        Series(one.kind, one.name, [*(p for p in one.points if p[0] <= most), (most, _last(one, most))], steps=True)
        for one in series
    ]
    axis = Axis("change, RMS gray levels", 0, most or 1.0)
    text = f"Share of {counted(len(ids), 'image')} that changes up to this size break; a change of 0: broken untouched."
    return Plot(title, line_chart(cut, axis, Axis("images broken", 0, 1)), text, legend)


def _last(series: Series, most: float) -> float:
    return max(share for change, share in series.points if change <= most)


def _ap_plot(board: Board) -> list[Plot]:
    """Draw AP against the budget, by the true steps: nothing is known between two budgets."""
    budgets = {str(one): one.size for one in board.protocol.budgets.all}
    series, legend = [], []
    for number, row in enumerate(board.rows):
        points = [(budgets[key], one.value) for key, one in row.ap.items() if key in budgets and one.value == one.value]
        if not points or row.place is None:
            continue
        kind = f"s{number % COLORS}"
        clean = row.ap[CLEAN].value
        series.append(Series(kind, row.entry.folder, [(0.0, clean), *points], steps=True, dots=True))
        legend.append((kind, row.entry.folder))
    if not series:
        return []
    chart = line_chart(series, Axis("budget, L∞ in gray levels"), Axis("AP", 0))
    return [Plot("AP under attack", chart, "All of the budget is spent on every image; 0: clean.", legend)]


def _separating(board: Board, out: Path) -> Iterable[dict[str, Any]]:
    """Show the images on which the models differ most, with the file that breaks the weakest of them."""
    ranked = [row for row in board.rows if row.place]
    first = board.protocol.first_walk
    for number in board.separating:
        changes = {row.entry.folder: row.entry.walks[first][number] for row in ranked}
        weakest = min(changes, key=lambda name: changes[name].rms)
        shown = ranked[0].entry.shown[number]
        images = [("untouched", _thumb(lambda shown=shown: read_original(shown.source).pixels))]
        file = changes[weakest].file
        if file and file != UNTOUCHED:
            images.append((f"breaks {weakest}", _thumb(lambda path=out / weakest / file: read_image(path).pixels)))
        caption = ", ".join(
            f"{name} {_number(one.rms)}" for name, one in sorted(changes.items(), key=lambda item: -item[1].rms)
        )
        yield {
            "title": shown.stem,
            "images": [{"text": text, "data": data} for text, data in images if data],
            "caption": f"Smallest change, RMS gray levels: {caption}.",
        }


def _thumb(load: Any) -> str:
    """Make a small picture as a data URI; empty where the image is gone."""
    try:
        pixels: np.ndarray = load()
    except (InputError, OSError):
        return ""
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((THUMB_SIDE, THUMB_SIDE))
    image.save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _ap_heading(key: str) -> str:
    return "AP clean" if key == CLEAN else f"AP, {parse_budgets(key)[0].label}"


def _scored(board: Board) -> list[str]:
    """List the APs that there are, clean first."""
    return list(dict.fromkeys(key for row in board.rows for key in row.ap))


def _estimate_cell(one: Estimate, form: str = "") -> Cell:
    text = _number(one.value, form)
    return Cell(text, _sorted_by(one.value), _interval(one, form))


def _interval(one: Estimate, form: str = "") -> str:
    return f"{_number(one.low, form)} to {_number(one.high, form)}" if one.value == one.value else ""


def _number(value: float, form: str = "") -> str:
    """Write a number to three digits."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    return format(value, form) if form else f"{value:.3g}"


def _percent_cell(value: float) -> Cell:
    return Cell(_number(value, ".1%"), _sorted_by(value))


def _sorted_by(value: float) -> float | None:
    """Return what a number's cell is sorted by: infinity as a number that JavaScript reads; None for no number."""
    return None if math.isnan(value) else min(value, 1e9)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
