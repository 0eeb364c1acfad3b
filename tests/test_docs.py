"""README and docs: every link leads somewhere, every command line is one that the program takes."""

from pathlib import Path

import pytest
from typer.main import get_command

from detattack.cli import app
from tests.markdown import PAGES, ROOT, anchors, command_lines, links

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINES = [(name, line) for name, page in zip(NAMES, PAGES, strict=True) for line in command_lines(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_to_a_file_and_a_heading(page: Path):
    for target in links(page):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{name}: {' '.join(line)[:60]}" for name, line in LINES])
def test_every_command_line_is_one_that_the_program_takes(page, line):
    """Parsed as it is when it is run, down to the values of its options, and not run."""
    parse(get_command(app), "detattack", line)


def parse(command, name, words):
    with command.make_context(name, list(words)) as context:
        if hasattr(command, "commands") and context._protected_args:
            inner_name, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            parse(inner, inner_name, rest)


def test_there_are_command_lines_and_links():
    assert len(LINES) > 50
    assert sum(len(links(page)) for page in PAGES) > 60
