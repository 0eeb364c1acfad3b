"""`detattack quality`: two images, two folders; what it says, what it writes, and what it refuses."""

import csv
import math
import os
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detattack.metrics.image_pairs import match_images
from detattack.metrics.image_quality import MEASURES, measure


@pytest.fixture
def write(tmp_path):
    """Writes a picture of noise around a slope, changed by `change`: `write("a/1.png", change=2)`."""

    def one(name: str, change: int = 0, size: tuple[int, int] = (32, 24), mode: str = "RGB") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(len(path.stem))
        slope = np.linspace(40, 200, size[0])[None, :, None] + rng.integers(-9, 10, (size[1], size[0], 3))
        pixels = slope.astype(np.uint8) + (change * rng.integers(0, 2, slope.shape)).astype(np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)
        return path

    return one


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture
def folders(write) -> tuple[Path, Path]:
    """Three pairs: changed by 3, identical, changed by 9."""
    paths = [
        (write(f"a/{name}.png"), write(f"b/{name}.png", change)) for name, change in (("x", 3), ("y", 0), ("z", 9))
    ]
    return paths[0][0].parent, paths[0][1].parent


# Two images


def test_two_images(cli, write):
    a, b = write("a.png"), write("b.png", 5)
    said = cli("quality", a, b, "--json")
    assert (said.status, said.err) == (0, "")
    (image,) = said.json["images"]
    expected = measure(pixels(a), pixels(b)).as_json()
    assert image == {"image": "a.png", "a": str(a), "b": str(b), **expected}
    assert said.json["summary"]["mean"] == said.json["summary"]["median"] == expected
    assert cli("quality", b, a, "--json").json["images"][0]["kl_histogram"] != image["kl_histogram"]


def test_a_table_of_all_measures(cli, write):
    said = cli("quality", write("a.png"), write("b.png", 5))
    head, row, last = said.out.splitlines()
    assert head.split() == ["image", "L1", "L2", "L∞", "RMS", "PSNR", "SSIM", "UQI", "SCC", "VIFP", "KL", "ΔE>1"]
    assert row.split()[3] == f"{5 / 255:.4f}"
    assert last == "1 measured"


@pytest.mark.filterwarnings("error")
def test_identical_images_are_ideal_without_a_warning(cli, write):
    a = write("a.png")
    said = cli("quality", a, a)
    assert said.err == ""
    assert said.out.splitlines()[1].split()[1:] == [
        *("0.00", "0.0000", "0.0000", "0.000", "∞", "1.0000", "1.0000", "1.0000", "1.0000", "0.00e+00", "0.0%")
    ]
    assert cli("quality", a, a, "--json").json["images"][0]["psnr"] is None


def test_only_some_measures_in_the_order_asked(cli, write):
    a, b = write("a.png"), write("b.png", 5)
    assert cli("quality", a, b, "--only", "ssim, psnr,ssim").out.split()[:3] == ["image", "SSIM", "PSNR"]
    assert set(cli("quality", a, b, "--only", "l2", "--json").json["images"][0]) == {"image", "a", "b", "l2"}


def test_what_was_converted_is_said_once(cli, write):
    said = cli("quality", write("a.png", mode="L"), write("b.png", mode="L"))
    assert said.err == "a.png: gray converted to RGB\n"


def test_images_too_small_for_a_window(cli, write):
    said = cli("quality", write("a.png", size=(5, 5)), write("b.png", 2, size=(5, 5)), "--only", "uqi,ssim")
    assert said.out.splitlines()[1].split()[1] == "-"


# Two folders


def test_two_folders(cli, folders):
    a, b = folders
    said = cli("quality", a, b, "--json", "--quiet")
    assert (said.status, said.err) == (0, "")
    images = said.json["images"]
    assert [i["image"] for i in images] == ["x.png", "y.png", "z.png"]
    for image in images:
        expected = measure(pixels(a / image["image"]), pixels(b / image["image"])).as_json()
        assert {name: image[name] for name in MEASURES} == expected
    summary = said.json["summary"]
    assert (summary["images"], summary["measured"], summary["errors"]) == (3, 3, 0)
    assert summary["mean"]["l2"] == pytest.approx(statistics.fmean(i["l2"] for i in images))
    assert summary["median"]["l2"] == images[0]["l2"]
    assert summary["mean"]["psnr"] is None  # one pair is identical
    assert summary["median"]["psnr"] == images[0]["psnr"]


def test_a_table_of_folders_ends_in_mean_and_median(cli, folders):
    lines = cli("quality", *folders, "--only", "psnr,linf").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["x.png", "y.png", "z.png", "mean", "median", "3"]
    assert lines[4].split()[1:] == ["∞", f"{4 / 255:.4f}"]


def test_csv(cli, folders, write, tmp_path):
    write("a/small.png", size=(5, 5))
    write("b/small.png", size=(6, 5))
    write("a/tiny.png", size=(5, 5))
    write("b/tiny.png", 2, size=(5, 5))
    cli("quality", *folders, "--csv", "out.csv", "--only", "psnr,uqi", "--quiet")
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert list(rows[0]) == ["image", "psnr", "uqi", "error"]
    by_name = {row["image"]: row for row in rows}
    assert by_name["small.png"]["psnr"] == ""
    assert "different sizes, 5×5 and 6×5" in by_name["small.png"]["error"]
    assert by_name["tiny.png"]["uqi"] == ""
    assert float(by_name["y.png"]["psnr"]) == math.inf
    a, b = folders
    assert float(by_name["x.png"]["psnr"]) == measure(pixels(a / "x.png"), pixels(b / "x.png"))["psnr"]


def test_csv_of_a_name_that_is_no_text(cli, folders, tmp_path):
    for folder in folders:
        shutil.copy(folder / "x.png", os.fsencode(folder) + b"/f\xe9te.png")
    assert cli("quality", *folders, "--csv", "out.csv", "--only", "psnr", "--quiet").status == 0
    assert "f\\udce9te" in (tmp_path / "out.csv").read_text()


def test_what_has_no_partner_or_cannot_be_measured_is_named_and_counted(cli, folders, write):
    a, b = folders
    for name in ("a/alone.png", "a/wide.png", "a/bad.png", "b/other.png"):
        write(name)
    write("b/wide.png", size=(40, 24))
    (b / "bad.png").write_bytes(b"nothing")
    said = cli("quality", a, b, "--json", "--quiet")
    assert said.status == 0
    assert f"1 of {a} without a partner: alone.png" in said.err
    assert f"1 of {b} without a partner: other.png" in said.err
    assert "wide.png: images of different sizes, 32×24 and 40×24" in said.err
    assert "bad.png: not an image" in said.err
    summary = said.json["summary"]
    assert (summary["images"], summary["measured"], summary["errors"]) == (5, 3, 2)
    assert (summary["only_a"], summary["only_b"]) == (["alone.png"], ["other.png"])
    assert "different sizes" in {i["image"]: i.get("error") for i in said.json["images"]}["wide.png"]
    assert cli("quality", a, b, "--only", "l2").out.endswith("3 measured, 2 not\n")


def test_many_without_a_partner_are_not_all_named(cli, folders, write):
    for i in range(7):
        write(f"a/only{i}.png")
    assert "7 of" in cli("quality", *folders, "--quiet").err
    assert "only4.png, ...\n" in cli("quality", *folders, "--quiet").err


def test_names_are_matched_from_exact_to_loose(write, tmp_path):
    for name in ("1.png", "1.jpg", "sub/2.png", "3.png", "deep/4.png", "deep/5.png", "deeper/5.png", "6.png", "6.jpg"):
        write(f"a/{name}")
    for name in ("1.jpg", "1.png", "sub/2.jpg", "3.png", "4.png", "5.png", "6.webp", "flat/3.png"):
        write(f"b/{name}")
    found = match_images(tmp_path / "a", tmp_path / "b")
    partners = {pair.name: pair.other.relative_to(tmp_path / "b").as_posix() for pair in found.pairs}
    assert partners == {
        **{"1.jpg": "1.jpg", "1.png": "1.png", "3.png": "3.png"},
        **{"sub/2.png": "sub/2.jpg", "deep/4.png": "4.png"},
    }
    assert found.only_first == ("6.jpg", "6.png", "deep/5.png", "deeper/5.png")
    assert found.only_second == ("5.png", "6.webp", "flat/3.png")


@pytest.mark.slow
def test_the_same_from_several_processes(cli, folders, write, monkeypatch):
    from detattack.core import processes

    for name, change in (("u", 2), ("v", 4)):
        write(f"a/{name}.png")
        write(f"b/{name}.png", change)
    one = cli("quality", *folders, "--json")
    assert len(one.json["images"]) == 5  # two of them here, before it is known that they take long
    monkeypatch.setattr(processes, "STARTED_IN_S", 0.0)
    monkeypatch.setattr(processes.os, "sched_getaffinity", lambda process: {0, 1})
    assert cli("quality", *folders, "--json").out == one.out


# What is refused


def test_files_of_different_sizes(cli, write):
    said = cli("quality", write("a.png"), write("b.png", size=(24, 32)))
    assert said.status == 2
    assert said.err.count("\n") == 1
    assert "images of different sizes, 32×24 and 24×32" in said.err


def test_bad_input_is_one_line(cli, folders, write):
    a, b = folders
    image, (empty, other) = write("a.png"), (a.parent / "empty", a.parent / "other")
    empty.mkdir()
    write("other/name.png")
    (a.parent / "bad.png").write_bytes(b"nothing")
    for arguments, said in [
        ((a, "missing"), "missing: no such file or folder"),
        ((image, "bad.png"), "bad.png: not an image"),
        ((a, image), "is a folder and"),
        ((image, b), "is a folder and"),
        ((a, empty), "no image of the one has the name of an image of the other"),
        ((a, other), "no image of the one has the name of an image of the other"),
        ((a, b, "--only", "psnr,sim"), "unknown quality measure 'sim': did you mean 'ssim'?"),
        ((a, b, "--only", ""), "unknown quality measure ''"),
        ((a, b, "--csv", "none/x.csv"), "--csv none/x.csv: no such folder"),
    ]:
        result = cli("quality", *arguments)
        assert result.status == 2, arguments
        assert said in result.err
        assert (result.err.count("\n"), result.out) == (1, "")


def test_folders_of_which_nothing_can_be_measured(cli, write):
    write("a/1.png")
    write("b/1.png", size=(9, 9))
    said = cli("quality", "a", "b", "--quiet")
    assert said.status == 2
    assert "none of 1 pair could be measured; the first: " in said.err
