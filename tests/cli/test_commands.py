"""The other commands, and the program as people start it."""

import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from pycocotools.coco import COCO
from typer.main import get_command

from detattack.cli import app
from detattack.detectors.registry import model_names

GROUPS = [("models", "list"), ("scenes", "render"), ("scenes", "train")]
COMMANDS = [(), *((name,) for name in get_command(app).commands), *GROUPS]


def test_models_are_listed(cli):
    said = cli("models", "list")
    assert (said.status, said.err) == (0, "")
    for name in (*model_names(), "path/to/file.py:factory"):
        assert name in said.out


def test_rendered_scenes_are_a_coco_data_set(cli, tmp_path):
    said = cli("scenes", "render", "--out", "set", "-n", 2, "--seed", 4, "--width", 200, "--height", 140)
    assert (said.status, said.out) == (0, "set/instances.json\n")
    truth = COCO(tmp_path / "set" / "instances.json")
    assert [image["file_name"] for image in truth.loadImgs([1, 2])] == ["000001.png", "000002.png"]
    assert truth.anns
    assert Image.open(tmp_path / "set" / "images" / "000002.png").size == (200, 140)


def test_rendering_is_the_same_every_time(cli, tmp_path):
    for out in ("one", "other"):
        cli("scenes", "render", "--out", out, "-n", 1, "--width", 128, "--height", 128)
    files = [sorted(p for p in (tmp_path / out).rglob("*") if p.is_file()) for out in ("one", "other")]
    assert [p.read_bytes() for p in files[0]] == [p.read_bytes() for p in files[1]]


@pytest.mark.parametrize(("out", "reason"), [("full", "not empty"), ("full/file", "not empty"), ("full/file/x", "")])
def test_rendering_refuses_a_folder_in_use(refused, tmp_path, out, reason):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    refused("scenes", "render", "--out", out, "-n", 1, words=(f"folder {out}", reason))


# Help


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(cli, command):
    said = cli(*command, "--help")
    assert (said.status, said.err) == (0, "")
    assert said.out.startswith("Usage:")
    assert cli(*command, "-h").out == said.out


def test_without_a_command_there_is_help(cli):
    said = cli()
    assert (said.status, said.err) == (0, "")
    assert "untargeted" in said.out


def test_help_does_without_torch(program, tmp_path):
    code = (
        "import sys; from detattack.cli import status_of\n"
        f"assert all(status_of([*command, '--help']) == 0 for command in {COMMANDS!r})\n"
        "sys.exit(', '.join({'torch', 'numpy', 'matplotlib'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([program[0], "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# As a program


@pytest.fixture
def start(program, tmp_path):
    """Runs `python -m detattack ...` as a process of its own."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        line = [*program, *map(str, arguments)]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)

    return call


def test_the_program_attacks(start, toy, picture, tmp_path):
    done = start("untargeted", picture("a", "car@8,8"), "--model", f"{toy}:chatty", "--out", "run", "--json")
    assert done.returncode == 0, done.stderr
    assert [image["status"] for image in json.loads(done.stdout)["images"]] == ["success"]
    assert (tmp_path / "run" / "images" / "a.png").is_file()


def test_the_program_refuses_in_one_line(start, picture, tmp_path):
    path = picture("a")
    done = start("untargeted", path, "--suppress", "carr", "--model", "demo", "--weights", "none", "--out", "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "detattack: unknown class 'carr': did you mean 'car'?\n"
    assert list(tmp_path.iterdir()) == [path]


def test_the_program_refuses_an_option(start):
    done = start("untargeted", "--supress", "car")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_early_is_no_crash(program, tmp_path):
    line = [*program, "--help"]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert "Traceback" not in err


def test_examples_of_configs_are_read(cli):
    """Each of the repository's config files, as far as the options go."""
    for path in sorted((Path(__file__).parents[2] / "configs" / "detect").glob("*.yaml")):
        command = path.read_text().splitlines()[0].split()[2]
        said = cli(command, "--config", path, "--device", "warp", "--scenes", 1)
        assert said.status == 2, path.name
        assert "device 'warp'" in said.err


def test_random_weights_are_said_to_mean_nothing(start, picture):
    done = start("untargeted", picture("a"), "--weights", "none", "--max-iterations", "1", "--out", "run")
    assert done.returncode == 0
    assert "random weights; figures of it mean nothing" in done.stderr
