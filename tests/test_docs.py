"""README and docs: links lead somewhere; the program takes each command line, which is run or says what it needs."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from PIL import Image
from typer.exceptions import TyperException
from typer.main import get_command

from detattack.cli import app, status_of
from tests.markdown import PAGES, ROOT, anchors, command_lines, inline_lines, links, marked_blocks
from tests.toy_pictures import squares

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
BLOCKS = {name: marked_blocks(page) for name, page in zip(NAMES, PAGES, strict=True)}
LINES = [(name, line) for name, blocks in BLOCKS.items() for _, code in blocks for line in command_lines(code)]
INLINE = [(name, line) for name, page in zip(NAMES, PAGES, strict=True) for line in inline_lines(page)]
RUN = [name for name, blocks in BLOCKS.items() if not all(mark for mark, _ in blocks)]
SHORT = {
    "untargeted": ["--scenes", "1", "--passes", "20"],
    "targeted": ["--passes", "20"],
    "evaluate": ["--limit", "1", "--passes", "20", "--quality", "quick"],
    "compare": ["--scenes", "1", "--max-iterations", "10", "--quality", "quick"],
    "models": ["--count", "2"],
}
"""What makes a command short."""


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_to_a_file_and_a_heading(page: Path):
    for target in links(page):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def parse(command, name, words):
    """Parse a command line as it is when it is run, down to the values of its options, and do not run it."""
    with command.make_context(name, list(words)) as context:
        if hasattr(command, "commands") and context._protected_args:
            inner_name, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            parse(inner, inner_name, rest)


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{name}: {' '.join(line)[:60]}" for name, line in LINES])
def test_every_command_line_is_one_that_the_program_takes(page, line):
    parse(get_command(app), "detattack", line)


@pytest.mark.parametrize(("page", "line"), INLINE, ids=[f"{name}: {' '.join(line)[:60]}" for name, line in INLINE])
def test_a_command_in_a_text_has_options_that_there_are(page, line):
    try:
        parse(get_command(app), "detattack", line)
    except TyperException as error:  # a text may name a command without what it takes
        if not error.format_message().startswith("Missing"):
            raise


def test_scripts_and_extras_are_those_of_the_tree():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    scripts = set(re.findall(r"\b(?:python|python3) ((?:benchmarks|data|docs)/\S+?\.py)", text))
    extras = {name for names in re.findall(r"(?:\.|detattack)\[([a-z,]+)\]'", text) for name in names.split(",")}
    assert scripts
    assert all((ROOT / script).is_file() for script in scripts)
    assert {"hf", "docs", "dev"} <= extras
    assert extras <= set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def test_every_file_that_runs_a_block_is_there():
    marks = [mark for blocks in BLOCKS.values() for mark, _ in blocks if mark]
    assert all(mark.startswith(("needs: ", "run by: ")) for mark in marks)
    assert all((ROOT / mark.removeprefix("run by: ")).is_file() for mark in marks if mark.startswith("run by: "))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """What the pages speak of: `photo.jpg`, `photos` with `instances.json`, and `my_detector.py`."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "tests" / "toy_detector.py", "my_detector.py")
    Path("photos").mkdir()
    for name in ("photo.jpg", "photos/1.jpg", "photos/2.jpg"):
        Image.fromarray(squares("dog@8,8", "dog@40,16")).save(name, quality=95)
    boxes = [[8, 8, 16, 16], [40, 16, 16, 16]]
    content = {
        "images": [{"id": number, "file_name": f"{number}.jpg"} for number in (1, 2)],
        "annotations": [
            {"id": 2 * image + n, "image_id": image, "category_id": 18, "bbox": box}
            for image in (1, 2)
            for n, box in enumerate(boxes)
        ],
        "categories": [{"id": 18, "name": "dog"}],
    }
    Path("instances.json").write_text(json.dumps(content))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_a_block_that_needs_nothing_is_run(page, folder):
    """All of a page in one folder, in their order: one may need what another has left."""
    for mark, code in BLOCKS[page]:
        for line in [] if mark else command_lines(code):
            assert status_of([*line, *SHORT.get(line[0], [])]) == 0, line
