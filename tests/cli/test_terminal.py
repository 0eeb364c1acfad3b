"""Names from files and models are shown in a terminal as text, whatever is in them."""

import io
import json
import os
import shutil

import pytest
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from detattack.cli.terminal import Terminal, shown
from tests.coco_squares import write_data

ATTACK = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp\r\x08"


def obeyed(text: str) -> set[str]:
    """What a terminal would act upon, but for lines."""
    return {c for c in text if c != "\n" and not c.isprintable()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("käfer → 車, 1\t2\n", "käfer → 車, 1\t2\n"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\rb\x9b\x7f", "a\\rb\\x9b\\x7f"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("caf\udce9", "caf\\udce9"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, expected):
    assert shown(text) == expected
    shown(text).encode()


def test_tables_bars_and_lines_of_a_terminal(monkeypatch):
    file = io.StringIO()
    console = Terminal(file=file, width=300, color_system=None)
    table = Table("name")
    table.add_row(Text(ATTACK))
    console.print(table)
    console.print(ATTACK, markup=False, highlight=False)
    with Progress(console=console) as bar:
        bar.add_task(ATTACK.replace("[", "("), total=1)
    assert obeyed(file.getvalue()) == set()
    assert "\\x1b]0;owned\\x9b31m\\u202egnp" in file.getvalue()


def test_rich_still_colors():
    file = io.StringIO()
    Terminal(file=file, force_terminal=True, color_system="standard").print(Text("red", style="red"))
    assert "\x1b[31mred" in file.getvalue()


@pytest.fixture
def hostile(tmp_path) -> list[str]:
    """A data set whose first file and class are named to take a terminal over."""
    data = write_data(tmp_path, 3)
    name = f"{ATTACK}.png"
    shutil.move(tmp_path / "data" / "0" / "i0.png", tmp_path / "data" / name)
    content = json.loads((tmp_path / "instances.json").read_text())
    content["images"][0]["file_name"] = name
    content["categories"][0]["name"] = ATTACK
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return data


def test_a_run_a_verdict_and_an_error_over_hostile_names(cli, toy, hostile, tmp_path):
    line = ("--model", f"{toy}:factory", "--device", "cpu")
    commands = [
        ("evaluate", *hostile, *line, "--out", "run"),
        ("untargeted", tmp_path / "data" / f"{ATTACK}.png", *line, "--out", "one"),
        ("quality", "data", "run/images"),
        ("report", "run"),
        ("untargeted", f"{ATTACK}.jpg", *line),
        ("untargeted", "--suppress", ATTACK, *line),
    ]
    statuses = []
    for command in commands:
        said = cli(*command)
        statuses.append(said.status)
        assert obeyed(said.out + said.err) == set(), command
    assert statuses == [0, 0, 0, 0, 2, 2]
    (tmp_path / "run" / "images" / f"{ATTACK}.png").write_bytes(b"")
    said = cli("verify", "run", "--trust")
    assert said.status == 1
    assert obeyed(said.err) == set()
    assert "owned" in said.err


def test_a_file_name_that_is_no_text_is_shown(cli, toy, picture, tmp_path):
    odd = tmp_path / os.fsdecode(b"caf\xe9.png")
    shutil.copy(picture("a", "car@8,8"), odd)
    said = cli("untargeted", odd, "--model", f"{toy}:factory", "--device", "cpu", "--out", "run")
    assert said.status == 0
    assert "caf\\udce9" in said.out
    said.out.encode()
