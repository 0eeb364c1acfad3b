"""A disk that is full, a folder that cannot be written, a clock that jumps: one line, and then the same bytes."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.coco_squares import write_data
from tests.faults.faulty import Program

NOBODY = 65534
RUN = "evaluate --device cpu --out {out} --resume --quiet"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
superuser = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only a superuser may do this")


@pytest.fixture
def calm(program, toy, tmp_path) -> Program:
    return program(RUN, "--model", f"{toy}:factory", *write_data(tmp_path, 4))


def failed(program: Program, folder: str, fault: tuple, status: int, *words: str) -> None:
    """One line, and no file that is not whole."""
    came, said = program.said(folder, fault)
    assert came == status, said
    assert len(said.splitlines()) == 1, said
    for word in words:
        assert word in said
    assert not list((program.root / folder).rglob(".tmp-*"))


@pytest.mark.parametrize(
    ("largest", "status", "file"),
    [(200, 2, "output folder run"), (10_000, 2, "ledger.sqlite"), (40_000, 1, "ledger.sqlite")],
    ids=["for the manifest", "for the ledger", "for a row"],
)
def test_no_room(calm, largest, status, file):
    failed(calm, "run", ("largest file", largest), status, file)
    assert calm.run("run") == 0
    calm.check("run")


def test_no_room_for_a_picture(program, toy, tmp_path):
    (tmp_path / "data").mkdir()
    for name, side in (("a", 32), ("b", 200)):
        noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "data" / f"{name}.png")
    calm = program(RUN, "--model", f"{toy}:factory", "--images", "data")
    failed(calm, "run", ("largest file", 60_000), 1, "File too large", "--resume")
    assert calm.run("run") == 0
    calm.check("run")


@pytest.mark.parametrize(("side", "file"), [(48, "report.html"), (250, "thumbs/1-original.webp")])
def test_no_room_for_a_report(program, toy, picture, tmp_path, side, file):
    image = picture("a", "car@8,8", width=side, height=side)
    program(f"untargeted {image} --device cpu --out finished --quiet --resume", "--model", f"{toy}:factory")
    calm = program("report {out}/run --quiet", after="ledger", source="finished")
    room = (tmp_path / "calm" / "run" / file).stat().st_size - 1
    failed(calm, "full", ("largest file", room), 2, "cannot be written", "File too large")
    assert calm.run("full") == 0
    calm.check("full")


@superuser
@pytest.mark.slow
def test_a_small_disk_that_fills_up(calm, tmp_path):
    (tmp_path / "disk").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", tmp_path / "disk"], check=False)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        failed(calm, "disk/run", ("shared",), 1, "No space left on device", "--resume")
        subprocess.run(["mount", "-o", "remount,size=10m", tmp_path / "disk"], check=True)
        assert calm.run("disk/run") == 0
        calm.check("disk/run")
    finally:
        subprocess.run(["umount", tmp_path / "disk"], check=True)


@superuser
def test_a_folder_that_cannot_be_written(calm, toy, tmp_path):
    open_to_all(tmp_path)
    open_to_all(Path(toy).parent)
    (tmp_path / "empty").mkdir(mode=0o755)
    shutil.copytree(tmp_path / "calm", tmp_path / "finished")
    for folder in ("new", "empty", "finished"):
        failed(calm, folder, ("user", NOBODY), 2, f"output folder {folder}: cannot be written", "Permission denied")


@superuser
@pytest.mark.parametrize(
    ("command", "status"), [("verify calm --trust --device cpu --quiet", 0), ("report calm --quiet", 2)]
)
def test_a_finished_run_is_read_where_nothing_can_be_written(program, toy, tmp_path, command, status):
    evaluation = program(RUN, "--model", f"{toy}:factory", *write_data(tmp_path, 4))
    open_to_all(tmp_path)
    open_to_all(Path(toy).parent)
    reader = program(command, after="ledger")
    shutil.rmtree(tmp_path / "calm" / "thumbs", ignore_errors=True)
    came, said = reader.said("calm", ("user", NOBODY))
    assert came == status, said
    assert len(said.splitlines()) == (status == 2), said
    evaluation.check("calm") if status == 0 else None


def open_to_all(folder: Path) -> None:
    """To be read and passed through, as far up as the tests' own folders go."""
    for place in (folder, *folder.parents):
        if place == Path("/tmp") or place == Path("/"):
            break
        place.chmod(0o755)


def test_a_clock_that_jumps(calm):
    assert calm.run("run", ("clock", 0)) == 0
    calm.check("run")
    assert calm.run("killed", ("within row", "", 2)) == -9
    assert calm.run("killed", ("clock", 1)) == 0
    calm.check("killed")
