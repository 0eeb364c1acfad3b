"""The first things that one types: commands without options, completion, the version, a name that is nearly right."""

import os
import shutil
import subprocess
import sys
import warnings
from typing import get_args

import pytest
from typer.main import get_command

import detattack
from detattack.cli import app, names, status_of
from detattack.core.errors import unknown
from tests.commands import said_in_one_process


def commands(command=None, path=()):
    """Every command and group, by the words that name it."""
    command = command or get_command(app)
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


ALL = dict(commands())
REQUIRED = {path for path, command in ALL.items() if any(p.required for p in command.params)}


# Bare


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_a_command_without_options_runs_by_its_defaults_or_says_what_it_lacks(cli, monkeypatch, path):
    given = []
    command = detattack.cli.get_command(app)  # the one that the tests have
    for name in path:
        command = command.commands[name]
    if not hasattr(command, "commands"):
        monkeypatch.setattr(command, "callback", lambda **options: given.append(options))
    said = cli(*path)
    assert "Traceback" not in said.err
    if path == ():
        assert (said.status, said.err) == (0, "")
    elif path in REQUIRED or hasattr(command, "commands"):
        assert (said.status, said.out, given) == (2, "", [])
        assert len(said.err.splitlines()) == 1
        assert "Missing" in said.err
    else:
        assert (said.status, said.err) == (0, "")
        assert [set(one) for one in given] == [{p.name for p in command.params}]
        assert given[0].get("ray") is None


# Completion


def completed(monkeypatch, capsys, *words: str) -> list[str]:
    """What a shell offers for the last word."""
    monkeypatch.setenv("_DETATTACK_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(["detattack", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    with pytest.raises(SystemExit) as end:
        status_of([])
    said = capsys.readouterr()
    assert (end.value.code, said.err) == (0, "")
    return said.out.splitlines()


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_and_the_value_of_each_is_completed(monkeypatch, capsys, path):
    command = ALL[path]
    options = [name for p in command.params for name in p.opts if name.startswith("--")]
    assert set(completed(monkeypatch, capsys, *path, "--")) >= {*options, "--help"}
    for option in options:
        assert option in completed(monkeypatch, capsys, *path, option[:-1])
        completed(monkeypatch, capsys, *path, option, "")
    if hasattr(command, "commands"):
        assert completed(monkeypatch, capsys, *path, "") == list(command.commands)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("evaluate --meth", ["--method"]),
        ("eval", ["evaluate"]),
        ("untargeted --method jn", ["jnd", "jnd-paper", "jnd-min", "jnd-min-quick"]),
        ("classify attack --method base", ["baseline", "baseline-no-l2"]),
        ("compare --methods jnd,fg", ["jnd,fgsm", "jnd,fgv"]),
        ("compare --methods fgsm,fg", ["fgsm,fgv"]),
        ("tune --methods d", ["ddn", "deepfool"]),
        ("untargeted --model dem", ["demo", "demo-fcos", "demo-ssd", "demo-fasterrcnn", "demo-detr", "demo-robust"]),
        ("verify run --model torchvision/ssd3", ["torchvision/ssd300_vgg16"]),
        ("models check u", ["ultralytics/"]),
        ("evaluate --transfer-to demo,h", ["demo,hf/"]),
        ("classify attack --model v", ["vgg16_cifar10"]),
        ("evaluate --goal su", ["suppress:all", "suppress:"]),
        ("evaluate --device c", ["cpu", "cuda"]),
        ("evaluate --quality q", ["quick"]),
        ("evaluate --ray a", ["auto"]),
        ("evaluate --ray --quie", ["--quiet"]),
        ("evaluate --survive jpeg:90,bl", ["jpeg:90,blur:"]),
        ("bench --precision b", ["bf16"]),
        ("targeted --add tr", ["truck", "traffic light"]),
        ("targeted --box r", ["random", "road"]),
        ("quality a b --only psnr,s", ["psnr,ssim", "psnr,scc"]),
        ("reproduce table1 ta", [f"table{number}" for number in range(1, 6)]),
        ("scenes train --head f", ["fcos", "fasterrcnn"]),
    ],
)
def test_what_is_offered(monkeypatch, capsys, line, offered):
    assert sorted(completed(monkeypatch, capsys, *line.split())) == sorted(offered)


def test_completion_imports_no_torch(program, tmp_path):
    line = {"COMP_WORDS": "detattack evaluate --method jn", "COMP_CWORD": "3", "_DETATTACK_COMPLETE": "complete_bash"}
    code = "import sys\ntry:\n    from detattack.cli import main; main()\nfinally:\n    print('torch' in sys.modules)"
    done = subprocess.run(
        [program[0], "-c", code], cwd=tmp_path, env=os.environ | line, capture_output=True, text=True, check=False
    )
    assert (done.stdout.split(), done.stderr) == (["jnd", "jnd-paper", "jnd-min", "jnd-min-quick", "False"], "")


def test_the_names_that_are_completed_are_those_that_there_are():
    from classify.methods import PRESETS as CLASSIFIER_PRESETS
    from classify.paper.config import ALL as ALL_EXPERIMENTS
    from classify.paper.config import NAMES
    from detattack.datasets.corruptions import CORRUPTIONS
    from detattack.datasets.corruptions.chain import ALIASES
    from detattack.datasets.open import FORMATS
    from detattack.datasets.scenes import CATEGORIES
    from detattack.detectors import registry
    from detattack.engine import PRESETS
    from detattack.engine.presets import Norm
    from detattack.metrics.image_quality import MEASURES
    from detattack.tasks.detection.goals import GOALS
    from detattack.tasks.detection.losses import LOSSES

    assert {name.partition("@")[0] for name in names.METHODS} == {*PRESETS}
    assert {name.partition("@")[0] for name in names.CLASSIFIER_METHODS} == {*CLASSIFIER_PRESETS}
    assert {*registry.model_names()} - {*names._detectors()} == set()
    assert {*names.DETECTORS} <= {*registry.model_names()}
    assert names.ENTRY_POINT_GROUP == registry.ENTRY_POINT_GROUP
    assert (*NAMES, ALL_EXPERIMENTS) == names.EXPERIMENTS
    assert (*MEASURES,) == names.MEASURES
    assert (*FORMATS,) == names.FORMATS
    assert (*(f"{name}:" for name in CORRUPTIONS), *ALIASES) == names.CHANGES
    assert tuple(category.name for category in CATEGORIES) == names.STREET_CLASSES
    assert {goal.partition(":")[0] for goal in names.GOALS} == {*GOALS}
    assert {*names.LOSSES} == {"vanish", *(name for name, loss in LOSSES.items() if loss.of_objects)}
    assert tuple(f"{norm}:" for norm in get_args(Norm)) == names.BUDGETS


# The version


def test_the_version(cli, program, tmp_path):
    said = cli("--version")
    assert (said.status, said.out, said.err) == (0, f"detattack {detattack.__version__}\n", "")
    done = subprocess.run([*program, "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, said.out)


# Names that are nearly right


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("evalute", "unknown command 'evalute': did you mean 'evaluate'?"),
        ("frobnicate", f"unknown command 'frobnicate': known: {', '.join(get_command(app).commands)}"),
        ("scenes rendr", "unknown command 'rendr': did you mean 'render'?"),
        ("evaluate --method pdg", "unknown method 'pdg': did you mean 'pgd-linf' or 'pgd-l2'?"),
        ("compare --methods jnd,pdg", "unknown method 'pdg': did you mean 'pgd-linf' or 'pgd-l2'?"),
        ("untargeted --model yolov8n.pt", "unknown model 'yolov8n.pt': did you mean 'ultralytics/yolov8n.pt'?"),
        ("models check yolo11n", "unknown model 'yolo11n': did you mean 'ultralytics/yolo11n'?"),
        ("evaluate --model facebook/detr-resnet-50", "did you mean 'hf/facebook/detr-resnet-50'?"),
        ("evaluate --model retinanet_resnet50_fpn", "did you mean 'torchvision/retinanet_resnet50_fpn'?"),
        ("evaluate --model mine.py", "unknown model 'mine.py': did you mean 'mine.py:factory'?"),
        ("classify attack --model resnet50", "unknown classifier 'resnet50': did you mean 'torchvision/resnet50'?"),
        ("classify attack --model mine.py", "did you mean 'mine.py:factory'?"),
        ("reproduce tabel1", "unknown table or figure 'tabel1': did you mean 'table1'"),
    ],
)
def test_a_suggestion(cli, line, hint):
    said = cli(*line.split())
    assert (said.status, said.out) == (2, "")
    assert said.err.removeprefix("detattack: ").strip().startswith(hint) or hint in said.err


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("zzz", [f"n{i}" for i in range(40)], "known: " + ", ".join(f"n{i}" for i in range(40))),
        ("zzz", [f"n{i}" for i in range(41)], "known: " + ", ".join(f"n{i}" for i in range(20)) + ", ... (41 in all)"),
        ("cra", ["crane", "car", "dog"], "did you mean 'crane' or 'car'?"),
        ("", ["a", "b"], "known: a, b"),
        ("a", [], "known: none"),
    ],
)
def test_what_an_unknown_name_is_told(name, known, hint):
    assert str(unknown("thing", name, known)) == f"unknown thing {name!r}: {hint}"


# Output that is not UTF-8


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
@pytest.mark.parametrize("path", [(), ("evaluate",), ("tune",)], ids=" ".join)
def test_help_in_any_encoding(program, tmp_path, encoding, path):
    done = subprocess.run(
        [*program, *path, "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode("cp1252" if encoding == "cp1252" else "utf-8")  # Typer writes help in UTF-8 for ASCII
    assert text.startswith("Usage: detattack")
    assert ("τ" in text) == (encoding != "cp1252" and path in (("evaluate",), ("tune",)))
    assert ("?: a detection counts" in text) == (encoding == "cp1252" and path in (("evaluate",), ("tune",)))


@pytest.mark.usefixtures("program")
def test_runs_in_another_encoding(toy, picture, tmp_path):
    """A table, a bar, a markdown table, JSON, a note and an error, over a file whose name the encoding lacks."""
    path = picture("車 ü", "car@8,8")
    other = picture("b", "car@8,16")
    model = ("--model", f"{toy}:factory", "--device", "cpu", "--max-iterations", "20")
    lines = {
        ("untargeted", path, *model, "--out", "run"): 0,
        ("untargeted", path, *model, "--out", "run", "--resume", "--json"): 0,
        ("compare", "--images", tmp_path / "in", "--methods", "jnd,fgsm", *model, "--out", "cmp"): 0,
        ("evaluate", "--images", tmp_path / "in", *model, "--out", "eval"): 0,
        ("quality", path, other): 0,
        ("report", "run"): 0,
        ("verify", "run", "--trust", "--survive", "jpeg:90"): 0,
        ("untargeted", tmp_path / "車.png", *model): 2,
    }
    (tmp_path / "in").mkdir()
    shutil.copy(path, tmp_path / "in")
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    all_said = said_in_one_process(list(lines), cwd=tmp_path, env=environment)
    for (line, status), said in zip(lines.items(), all_said, strict=True):
        assert said.status == status, (line, said.err)
        assert "Traceback" not in said.err
        assert "UnicodeEncodeError" not in said.err
        if "--json" not in line and status == 0:
            assert said.out


def test_streams_that_are_no_files_are_left_alone(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["detattack", "--version"])
    from detattack.cli import main

    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0


def test_a_warning_is_a_line_without_code(monkeypatch, capsys):
    from detattack.cli import main

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with pytest.raises(SystemExit):
        main(["--version"])
    capsys.readouterr()
    warnings.showwarning(UserWarning("no copy\n can be made"), UserWarning, "file.py", 7, line="code")
    assert capsys.readouterr() == ("", "WARNING: no copy can be made\n")
