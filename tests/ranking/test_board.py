"""The leaderboard of entries: what is not known is not told, and what is left out is named."""

import csv
import io
import json
import math
from dataclasses import replace

import pytest

from detattack.ranking import diagnoses
from detattack.ranking.board import make_board
from detattack.ranking.diagnoses import Verdict, withstood
from detattack.ranking.entry import Entry, Failed
from detattack.ranking.phases import Phases
from detattack.ranking.protocol import load_protocol
from detattack.report.sections_page import render
from detattack.workflows.compare import to_csv
from detattack.workflows.leaderboard import as_json, leaderboard_page, model_page, table_columns, table_rows
from tests.coco_squares import write_data
from tests.ranking.conftest import SHORT, TINY, impostor, model, rank, read

MASKED = Verdict("it is what it seems", False, "it is not")


@pytest.fixture(scope="module")
def protocol():
    return load_protocol(str(SHORT))


@pytest.fixture
def toy(ranking) -> Entry:
    return Entry.read(ranking / "toy")


@pytest.fixture
def firm(ranking) -> Entry:
    return Entry.read(ranking / "firm")


@pytest.fixture
def board_of(ranking, protocol):
    return lambda *entries: make_board(entries, {}, protocol, ranking, 0)


def row_of(board, folder):
    return next(row for row in board.rows if row.entry.folder == folder)


def cells(board, folder) -> dict[str, str]:
    table = csv.DictReader(io.StringIO(to_csv(table_rows(board), table_columns(board))))
    return next(row for row in table if row["model"] == folder)


def test_a_model_that_was_tried_on_a_part_of_the_images_has_no_figures_beside_others(toy, firm, board_of):
    some = dict(list(toy.walks["degrade"].items())[:6])
    part = replace(toy, walks={**dict.fromkeys(toy.walks, {}), "degrade": some}, ap={}, verdicts=(MASKED,))
    alone, beside = (row_of(board_of(*entries), "toy") for entries in ([part], [part, firm]))
    assert math.isfinite(alone.jnd50["degrade"]["rms"].value)
    assert math.isnan(beside.jnd50["degrade"]["rms"].value)
    assert math.isnan(beside.area["degrade"].value)
    assert not any(beside.groups.values())
    assert cells(board_of(part, firm), "toy")["jnd50"] == "–"


def test_a_masked_model_has_the_figures_of_the_images_that_it_did_not_fail_on(toy, firm, board_of):
    number, *others = toy.walks["degrade"]
    walks = {name: {i: one for i, one in walk.items() if i != number} for name, walk in toy.walks.items()}
    failing = replace(toy, walks=walks, errors={number: Failed("i0", "overflow")}, verdicts=(MASKED,))
    board = board_of(failing, firm)
    assert board.left_out == {}
    assert math.isfinite(row_of(board, "toy").jnd50["degrade"]["rms"].value)
    assert sum(images for _, images in row_of(board, "toy").groups["largest object"].values()) == len(others)


def test_what_a_person_notices_is_of_unbroken_images_too(toy, board_of, ranking):
    walk = {number: replace(one, rms=math.inf, noticed=None) for number, one in toy.walks["degrade"].items()}
    number = next(iter(walk))
    walk[number] = toy.walks["degrade"][number]
    board = board_of(replace(toy, walks={**toy.walks, "degrade": walk}))
    assert board.rows[0].noticed["degrade"] == math.inf
    assert as_json(board)["models"][0]["noticed"]["degrade"] is None
    assert cells(board, "toy")["noticed"] == ""
    assert "∞" in render(model_page(board, board.rows[0], 0, ranking))


def test_a_model_that_failed_on_every_image_has_no_place_and_is_not_masked(toy, board_of, ranking):
    errors = {number: Failed(shown.stem, "overflow") for number, shown in toy.shown.items()}
    board = board_of(replace(toy, walks=dict.fromkeys(toy.walks, {}), errors=errors))
    told = as_json(board)["models"][0]
    assert told["place"] == "–"
    assert told["ap"]["clean"]["value"] is None
    assert json.dumps(as_json(board), allow_nan=False)
    assert (cells(board, "toy")["place"], cells(board, "toy")["trusted"]) == ("–", "yes")
    assert "–" in render(leaderboard_page(board, ranking))
    assert board.left_out == {shown.stem: "toy: overflow" for shown in toy.shown.values()}


def test_images_that_a_walk_broke_within_the_budget_have_not_withstood_it(ranking, protocol, monkeypatch):
    searched = protocol.diagnoses.model_copy(update={"search": "linf:8"})
    changed = protocol.model_copy(update={"diagnoses": searched})
    monkeypatch.setattr(diagnoses, "ids_with", lambda folder, *statuses: {99, 100})
    assert withstood(Phases(ranking / "toy", changed)) == set()
    assert withstood(Phases(ranking / "firm", changed)) == {99, 100}


def test_a_model_that_fails_on_most_images_takes_none_from_the_others(toy, firm, board_of, ranking):
    failed = {number: Failed(one.stem, "RuntimeError: out of cheese") for number, one in toy.shown.items()}
    whole = board_of(firm)
    board = board_of(replace(toy, errors=failed), firm)
    assert board.images == whole.images
    assert board.left_out == {}
    assert row_of(board, "firm").place_text == "1"
    assert row_of(board, "toy").place_text == "–"
    first = next(iter(failed.values())).stem
    assert board.failing == {"toy": f"fails on {len(failed)} of 9 images ({first}: RuntimeError: out of cheese)"}
    assert "toy is not ranked." in render(leaderboard_page(board, ranking))


def test_an_image_that_fails_under_a_budget_alone_is_left_out_and_named(tmp_path):
    data = write_data(tmp_path / "data", 4)
    file = tmp_path / "data" / "instances.json"
    values = json.loads(file.read_text())
    for annotation in values["annotations"]:
        annotation["area"] = 32**2
    file.write_text(json.dumps(values))
    out = tmp_path / "out"
    assert rank(data, out, impostor("Overflowing"), protocol=TINY) == 0
    found, entry = read(out), Entry.read(out / "overflowing")
    assert found["left_out"] == {"i0-99": "overflowing: RuntimeError: overflow"}
    assert found["images"]["degrade"] == 2
    assert {key: one["value"] for key, one in model(out, "overflowing")["ap"].items()} == {
        key: value for key, value in entry.ap.items() if key != "doubled"
    }
    masked, other = replace(entry, verdicts=(MASKED,)), replace(entry, folder="other", errors={})
    board = make_board([masked, other], {}, load_protocol(str(TINY)), out, 0)
    assert row_of(board, "overflowing").ap["linf:24"].value == entry.ap["linf:24"]
    assert {one.size for one in entry.shown.values()} == {"medium"}  # by the area of the file, not of the box
