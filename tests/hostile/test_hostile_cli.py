"""Whole command lines over what strangers could send: status 2 and one line, or 0 where a run goes on past what is bad;
never a traceback, a hang, or a file outside of the run folder.

    DETATTACK_BAD_COMMANDS=300 pytest tests/hostile/test_hostile_cli.py
"""

import contextlib
import io
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.main import get_command

from detattack.cli import app, status_of
from tests.coco_squares import write_data
from tests.hostile.bad_inputs import ESCAPES, NASTY, as_json, changed, damaged, record_of, rewrite, texts, texts_of
from tests.hostile.limits import COUNTS, limited
from tests.toy_pictures import squares

COMMANDS = int(os.environ.get("DETATTACK_BAD_COMMANDS", "30"))
APART = 25
"""Every so many command lines one runs in a process of its own."""
HERE = Path(__file__).parents[1]
CLASSIFIER = f"{HERE / 'toy_classifier.py'}:Channels"
QUICK = ("--device", "cpu", "--max-iterations", "3")

OPTIONS = {
    "untargeted": (
        "--suppress",
        "--box",
        "--as",
        "--method",
        "--set",
        "--score-threshold",
        "--seed",
        "--weights",
        "--device",
    ),
    "targeted": ("--add", "--box", "--method", "--set", "--seed", "--max-iterations", "--categories", "--batch"),
    "evaluate": ("--goal", "--method", "--set", "--shard", "--batch", "--limit", "--quality", "--survive", "--seed"),
    "compare": ("--methods", "--goal", "--set", "--limit", "--score-threshold"),
    "tune": ("--methods", "--goal", "--objective", "--sampler", "--also", "--set", "--seed"),
    "classify attack": ("--target", "--preprocess", "--stop-confidence", "--classes", "--method", "--set", "--batch"),
    "bench": ("--size", "--precision"),
}
completed_words = texts.filter(lambda text: "\0" not in text and text.isprintable())
VALUES = st.one_of(texts, st.sampled_from(("nan", "inf", "-1", "1e400", "9" * 30, "none", "all", "car", "1,2,3,4")))
YAML = texts_of(
    "seed: ", "set: ", "method: ", "goal: ", "\n", "{a: 1}", "[1, [2]]", "!!python/name:os.system", "&a ", "*a", "jnd"
)


class Place:
    """A folder with good images, annotations and a finished run, in which one thing is bad."""

    def __init__(self, root: Path, toy: str, finished: Path):
        self.root, self.toy, self.finished = root, f"{toy}:factory", finished
        for path in root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.data = write_data(root, 2)
        Image.fromarray(squares("car@8,8")).save(root / "a.png")


def options(draw: Callable, place: Place) -> list[str]:
    command = draw(st.sampled_from(sorted(OPTIONS)))
    what = {"untargeted": ["a.png"], "targeted": ["a.png"], "classify attack": ["a.png"], "bench": []}
    trials = ["--trials", "1"] if command == "tune" else []
    model = CLASSIFIER if command == "classify attack" else place.toy
    chosen = draw(st.lists(st.sampled_from(OPTIONS[command]), min_size=1, max_size=3, unique=True))
    pairs = [part for name in chosen for part in (name, draw(VALUES))]
    limits, out = (QUICK, ["--out", "run"]) if command != "bench" else (QUICK[:2], [])
    return [*command.split(), *what.get(command, place.data), "--model", model, *limits, *trials, *pairs, *out]


def config(draw: Callable, place: Place) -> list[str]:
    (place.root / "c.yaml").write_bytes(draw(YAML).encode("utf-8", "surrogatepass"))
    return ["untargeted", "a.png", "--model", place.toy, *QUICK, "--config", "c.yaml", "--out", "run"]


def annotations(draw: Callable, place: Place) -> list[str]:
    path = place.root / "instances.json"
    path.write_bytes(as_json(draw(changed(json.loads(path.read_text())))))
    return ["evaluate", *place.data, "--model", place.toy, *QUICK, "--quality", "quick", "--out", "run"]


def names(draw: Callable, place: Place) -> list[str]:
    """Of files and classes."""
    path = place.root / "instances.json"
    content = json.loads(path.read_text())
    content["categories"][0]["name"] = draw(st.sampled_from(NASTY))
    name = draw(
        st.sampled_from([ESCAPES, "<script>.png", "[red].png", "\u202egnp.png", "a\nb.png", "$x$.png", ".tmp-1.png"])
    )
    shutil.copy(place.root / "a.png", place.root / "data" / name)
    content["images"][0]["file_name"] = name
    path.write_bytes(as_json(content))
    return ["evaluate", *place.data, "--model", place.toy, *QUICK, "--out", "run"]


def images(draw: Callable, place: Place) -> list[str]:
    for path in (place.root / "data").rglob("*.png"):
        path.write_bytes(draw(damaged(path.read_bytes())))
    (place.root / "a.png").write_bytes(draw(damaged((place.root / "a.png").read_bytes())))
    kind = draw(st.sampled_from(("evaluate", "untargeted", "classify", "quality")))
    if kind == "quality":
        return ["quality", "a.png", "data"] if draw(st.booleans()) else ["quality", "a.png", "data/0/i0.png"]
    if kind == "classify":
        return ["classify", "attack", "a.png", "--model", CLASSIFIER, *QUICK, "--out", "run"]
    what = place.data if kind == "evaluate" else ["a.png"]
    return [kind, *what, "--model", place.toy, *QUICK, "--out", "run"]


def labels(draw: Callable, place: Place) -> list[str]:
    good = [{"file": "0/i0.png", "label": 0}, {"file": "1/i0.png", "label": 1}]
    (place.root / "labels.json").write_bytes(as_json(draw(changed(good))))
    line = [
        "classify",
        "compare",
        "--images",
        "data",
        "--labels",
        "labels.json",
        "--methods",
        "fgsm",
        "--model",
        CLASSIFIER,
    ]
    return [*line, *QUICK, "--out", "run"]


def weights(draw: Callable, place: Place) -> list[str]:
    (place.root / "w.bin").write_bytes(draw(st.binary(max_size=300)))
    return ["untargeted", "a.png", "--weights", "w.bin", *QUICK, "--out", "run"]


def run_folder(draw: Callable, place: Place) -> list[str]:
    """One of a detector, a classifier or a shard, in which one file or row is not what it was."""
    shutil.copytree(place.finished, place.root / "run")
    name = draw(st.sampled_from(("whole", "whole", "classified", "s0")))
    run = place.root / "run" / name
    file = draw(st.sampled_from(sorted(path for path in run.iterdir() if path.suffix in (".json", ".sqlite"))))
    if draw(st.booleans()):
        file.write_bytes(draw(damaged(file.read_bytes())))
    elif file.suffix == ".json":
        file.write_bytes(as_json(draw(changed(json.loads(file.read_bytes())))))
    else:
        number = {"whole": 100, "classified": 1, "s0": 100}[name]
        rewrite(run, number, as_json(draw(changed(record_of(run, number)))))
    return draw(st.sampled_from(commands_on(f"run/{name}", place, draw(texts))))


def commands_on(run: str, place: Place, text: str) -> list[list[str]]:
    """What can be done with a run folder. text: for `--survive`."""
    if run.endswith("s0"):
        return [["merge", "run/merged", "run/s0", "run/s1"]]
    verify, rerun = ["verify", run, "--trust", "--device", "cpu"], ["rerun", run, "--trust", "--out", "run/again"]
    lines = [verify, rerun, ["report", run]]
    if run.endswith("whole"):
        resume = ["evaluate", *place.data, "--model", place.toy, *QUICK, "--out", run, "--resume"]
        lines += [resume, [*verify, "--survive", "jpeg:90"], [*verify, "--survive", text]]
    return lines


def search(draw: Callable, place: Place) -> list[str]:
    """One that is resumed with a file that is not what it was."""
    line = ["tune", *place.data, "--model", place.toy, *QUICK, "--goal", "suppress:car", "--methods", "fgsm", "--quiet"]
    shutil.copytree(place.finished / "search", place.root / "run")
    file = draw(st.sampled_from(("run.json", "trials.sqlite")))
    path = place.root / "run" / file
    path.write_bytes(draw(damaged(path.read_bytes())))
    return [*line, "--trials", "2", "--out", "run", "--resume"]


SHARES = {
    options: 4,
    config: 2,
    annotations: 3,
    names: 1,
    images: 3,
    labels: 2,
    weights: 1,
    run_folder: 6,
    search: 1,
}
"""How the command lines are shared out."""


def tree(root: Path) -> dict[str, bytes]:
    """All files that are not of the run."""
    found = {str(p.relative_to(root)): p for p in root.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name.split("/")[0] != "run"}


def here(arguments: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), limited():
        status = status_of(arguments)
    return status, out.getvalue(), err.getvalue()


def apart(arguments: list[str]) -> tuple[int, str, str]:
    line = [sys.executable, "-m", "detattack", *arguments]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        line, capture_output=True, text=True, errors="replace", env=environment, timeout=120, check=False
    )
    return done.returncode, done.stdout, done.stderr


def can_be_arguments(arguments: list[str]) -> bool:
    try:
        return not any("\0" in os.fsencode(argument).decode("latin-1") for argument in arguments)
    except UnicodeEncodeError:
        return False


@pytest.fixture(scope="module")
def finished(toy, tmp_path_factory) -> Path:
    """Finished runs, shards and a search."""
    root = tmp_path_factory.mktemp("finished")
    data = write_data(root, 2)
    evaluate = ["evaluate", *data, "--model", f"{toy}:factory", *QUICK, "--quiet"]
    images = sorted(map(str, (root / "data").rglob("*.png")))
    tune = ["tune", *data, "--model", f"{toy}:factory", *QUICK, "--goal", "suppress:car", "--methods", "fgsm"]
    lines = {
        "whole": evaluate,
        "s0": [*evaluate, "--quality", "quick", "--shard", "0/2"],
        "s1": [*evaluate, "--quality", "quick", "--shard", "1/2"],
        "classified": ["classify", "attack", *images, "--model", CLASSIFIER, *QUICK, "--quiet"],
        "search": [*tune, "--trials", "1", "--quiet"],
    }
    for name, line in lines.items():
        assert status_of([*line, "--out", str(root / "runs" / name)]) == 0
    return root / "runs"


@pytest.mark.parametrize("kind", SHARES, ids=lambda kind: kind.__name__)
def test_command_lines(toy, finished, tmp_path, monkeypatch, kind):
    root = tmp_path / "place"
    root.mkdir()
    monkeypatch.chdir(root)

    @settings(
        max_examples=math.ceil(COMMANDS * SHARES[kind] / sum(SHARES.values())),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        arguments = kind(data.draw, Place(root, toy, finished))
        before = tree(root)
        outside = {path for path in tmp_path.rglob("*") if root not in path.parents}
        alone = sum(COUNTS.values()) % APART == 0 and can_be_arguments(arguments)
        status, out, err = (apart if alone else here)(arguments)
        COUNTS[f"{kind.__name__}, status {status}{', a process of its own' if alone else ''}"] += 1
        assert "Traceback" not in err, arguments
        assert status in ((0, 1, 2) if arguments[0] in ("verify", "rerun") else (0, 2)), (arguments, err)
        if status == 2:
            assert out == ""
            assert err.rstrip("\n").splitlines()[-1].startswith(("detattack: ", "Usage")), err
        assert "\x1b]" not in out + err
        assert ESCAPES not in out + err
        assert tree(root) == before, arguments
        assert {path for path in tmp_path.rglob("*") if root not in path.parents} == outside

    check()


WORDS = ("", "--", "--ray", "--config", "c.yaml", "--set", "a=", "--version", "--methods", "jnd,", "--goal", "=")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(monkeypatch, tmp_path, shell):
    """Of every command with nothing after it, and of lines that nobody would type."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("seed: [")
    groups = {name: command for name, command in get_command(app).commands.items() if hasattr(command, "commands")}
    names = [[], *([name] for name in get_command(app).commands), *([g, c] for g in groups for c in groups[g].commands)]

    def complete(words: list[str]) -> None:
        monkeypatch.setenv("_DETATTACK_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", " ".join(["detattack", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", " ".join(["detattack", *words]))
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        with pytest.raises(SystemExit) as end:
            here([])
        assert end.value.code == 0

    for name in names:
        complete([*name, ""])
        complete([*name, "--"])
        complete([*name, "--ray", ""])

    @settings(max_examples=COMMANDS, deadline=None, database=None, phases=[Phase.generate])
    @given(st.sampled_from(names), st.lists(st.one_of(st.sampled_from(WORDS), completed_words), max_size=4))
    def check(name: list[str], words: list[str]) -> None:
        complete([*name, *words, "--m"])
        complete([*name, *words])

    check()
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]
