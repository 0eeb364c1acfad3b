"""Tables in the terminal, and the progress of a slow image."""

import re
import sys

import torch

from detattack.cli import progress as shown
from detattack.cli.tables import print_markdown, print_rows
from detattack.engine.listening import Iteration

HEAD = ["method", "success", "L∞", "forwards"]
ROWS = [["jnd", "100.0%", "0.01", "9"], ["pgd-linf", "7.5%", "0.1234", "12"]]


def printed(capsys, monkeypatch, width: int) -> list[str]:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    print_rows(HEAD, ROWS)
    plain = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out)
    return [line.rstrip() for line in plain.splitlines()]


def test_a_table_is_aligned(capsys, monkeypatch):
    assert printed(capsys, monkeypatch, 40) == [
        "method    success      L∞  forwards",
        "jnd        100.0%    0.01         9",
        "pgd-linf     7.5%  0.1234        12",
    ]


def test_a_table_that_is_too_wide_is_turned(capsys, monkeypatch):
    assert printed(capsys, monkeypatch, 30) == [
        "method       jnd  pgd-linf",
        "success   100.0%      7.5%",
        "L∞          0.01    0.1234",
        "forwards       9        12",
    ]


def test_what_is_too_wide_turned_too_is_in_two_tables(capsys, monkeypatch):
    assert printed(capsys, monkeypatch, 20) == [
        "method       jnd",
        "success   100.0%",
        "L∞          0.01",
        "forwards       9",
        "",
        "method    pgd-linf",
        "success       7.5%",
        "L∞          0.1234",
        "forwards        12",
    ]


def test_tables_of_markdown_are_aligned(capsys):
    print_markdown("# Title\n\n| a | long |\n| --- | ---: |\n| value | 1 |\n\nBelow.\n")
    assert capsys.readouterr().out.splitlines() == [
        "# Title",
        "",
        "a      long  ",
        "value     1  ",
        "",
        "Below.",
        "",
        "",
    ]


def test_names_move_no_cursor(capsys):
    print_rows(["model"], [["\x1b[31mred"]])
    assert "\x1b" not in capsys.readouterr().out


def test_a_slow_image_shows_its_iteration_and_score(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: clock[0])
    bar = shown.Progress(True)
    now = Iteration(["street"], torch.tensor([57]), torch.tensor([1.0]), torch.tensor([0.634]), torch.tensor([2.0]))
    bar.iterate(now)
    assert bar._bar.tasks[0].fields["now"] == ""
    clock[0] = shown.SLOW
    bar.iterate(now)
    assert bar._bar.tasks[0].fields["now"] == "street: iteration 57, score 0.63"
