"""`images.csv` and `images.parquet` of a run of 2,000 images."""

import csv
from contextlib import closing

import pytest

from detattack.api import load_run
from detattack.cli import status_of
from detattack.runs.folder import RunFolder
from detattack.runs.record import Outcome
from detattack.tasks.columns import record_columns
from detattack.tasks.detection.record import DetectionRecord
from detattack.tasks.detection.task import DETECTION
from detattack.tasks.image_table import PANDAS, write_image_tables
from tests.toy_pictures import squares

COUNT = 2000
COLUMNS = record_columns(DETECTION.record_columns)


@pytest.fixture(scope="module")
def run(toy, tmp_path_factory):
    """A finished run of one image, to whose ledger 1,999 records are added."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("table")
    Image.fromarray(squares("car@8,8")).save(folder / "a.png")
    line = ["untargeted", str(folder / "a.png"), "--model", f"{toy}:factory", "--quiet", "--out", str(folder / "run")]
    assert status_of(line) == 0
    with closing(RunFolder.open(folder / "run", DetectionRecord)) as opened:
        manifest = opened.manifest
    with closing(RunFolder.create(folder / "run", DetectionRecord, manifest, resume=True)) as opened:
        opened.commit([Outcome(record(number)) for number in range(2, COUNT + 1)])
        write_image_tables(opened, COLUMNS)
        opened.write_json("summary.json", {"images": COUNT, "success": 0, "failure": 0})
    return folder / "run"


def record(number: int) -> DetectionRecord:
    attacked = number % 3 > 0
    return DetectionRecord(
        number,
        f"image{number}",
        "NA" if number == 2 else f'photos/"{number}", é.png',
        "failure" if attacked else "nothing",
        quality={"l2": number / 7, "psnr": None} if attacked else {},
        k=number if attacked else -1,
        clean={"boxes": [[0, 0, 1, 1]], "scores": [0.9], "labels": [0]},
        seconds=0.1,
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_2000_images_load_in_pandas_with_the_documented_types(run, kind):
    pandas = pytest.importorskip("pandas", reason="needs pandas (pip install pandas)")
    if kind == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow (pip install pyarrow)")
        table = pandas.read_parquet(run / "images.parquet", dtype_backend="numpy_nullable")
    else:
        types = {column.key: PANDAS[column.kind] for column in COLUMNS}
        table = pandas.read_csv(run / "images.csv", dtype=types, keep_default_na=False, na_values=[""])
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {c.key: PANDAS[c.kind] for c in COLUMNS}
    assert len(table) == COUNT
    assert table["source"][1] == "NA"
    assert table["source"][4] == 'photos/"5", é.png'
    assert table["l2"][4] == 5 / 7
    assert table["k"].isna().sum() == sum(record(number).k < 0 for number in range(2, COUNT + 1))
    assert table["psnr"][1:].isna().all()
    assert table["detections_clean"][4] == 1


def test_the_api_has_the_same_table(run):
    pandas = pytest.importorskip("pandas", reason="needs pandas (pip install pandas)")
    table = load_run(run).to_pandas()
    read = pandas.read_csv(run / "images.csv", dtype=dict(table.dtypes), keep_default_na=False, na_values=[""])
    pandas.testing.assert_frame_equal(table.replace("", pandas.NA).astype(table.dtypes), read)


def test_report_makes_the_table_again(run):
    before = (run / "images.csv").read_bytes()
    (run / "images.csv").unlink()
    with closing(RunFolder.open(run, DetectionRecord)) as folder:
        write_image_tables(folder, COLUMNS)
    assert (run / "images.csv").read_bytes() == before


def test_report_writes_the_table_of_an_older_run(toy, picture, tmp_path):
    line = ["untargeted", str(picture("a", "car@8,8")), "--model", f"{toy}:factory", "--quiet"]
    assert status_of([*line, "--out", str(tmp_path / "run")]) == 0
    table = tmp_path / "run" / "images.csv"
    before = table.read_bytes()
    table.unlink()
    assert status_of(["report", str(tmp_path / "run"), "--quiet"]) == 0
    assert table.read_bytes() == before
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert (row["status"], row["file_success"], row["goal"]) == ("success", "True", "suppress:car")
