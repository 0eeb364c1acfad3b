"""Where a setting comes from: the command line over `--config`, key by key; for whom it is; on what it was tuned."""

import json
import subprocess
from pathlib import Path

import pytest

from detattack.cli.command import merged
from detattack.cli.tune import SEED
from detattack.engine.config import FileSetting
from detattack.tasks.registry import find_task
from detattack.workflows.evaluate import Settings
from tests.coco_squares import made, write_data

CLASSIFIER = f"{Path(__file__).parents[1] / 'toy_classifier.py'}:Channels"


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path, 4)


@pytest.fixture
def config(tmp_path):
    """Writes `c.yaml` and returns the option that names it."""

    def write(text: str) -> tuple[str, Path]:
        (tmp_path / "c.yaml").write_text(text)
        return "--config", tmp_path / "c.yaml"

    return write


def attack_of(run: str) -> dict[str, object]:
    return json.loads(Path(run, "run.json").read_text())["config"]["attack"]


# Over a config file


@pytest.mark.parametrize(
    ("line", "given", "left"),
    [
        ([], [], ["a=1", "jnd.a=2", "jnd.b=3"]),
        (["c=4"], ["set"], ["a=1", "jnd.a=2", "jnd.b=3", "c=4"]),
        (["a=4"], ["set"], ["jnd.b=3", "a=4"]),
        (["jnd.a=4"], ["set"], ["a=1", "jnd.b=3", "jnd.a=4"]),
        (["fgsm.a=4"], ["set"], ["a=1", "jnd.a=2", "jnd.b=3", "fgsm.a=4"]),
        ([" a = 4"], ["set"], ["jnd.b=3", " a = 4"]),
    ],
)
def test_keys_of_the_line_win_over_the_same_of_the_file(line, given, left):
    assert merged(["a=1", "jnd.a=2", "jnd.b=3"], line, given) == left


@pytest.mark.parametrize(
    ("option", "key"),
    [("max_iterations", "max_iterations"), ("floats", "levels"), ("perceptual", "perceptual")]
    + [("stop_confidence", "stop"), ("stop_confidence", "stop_confidence")],
)
def test_an_option_of_the_line_wins_over_its_key_of_the_file(option, key):
    assert merged([f"{key}=1", f"pgd-linf@2.5.{key}=1", "refine=1"], [], [option]) == ["refine=1"]


def test_one_key_more_leaves_the_others_of_the_file(attack, picture, config):
    file = config("set: {step_size: 0.3, l2_weight: 0.7, max_iterations: 40}")
    assert attack("untargeted", picture("a", "car@8,8"), *file, "--set", "max_iterations=3").status == 0
    found = attack_of("run")
    assert (found["step_size"], found["l2_weight"], found["max_iterations"]) == (0.3, 0.7, 3)


def test_the_iterations_of_the_line_win_over_those_that_were_tuned_with(attack, picture, config):
    file = config("set: {step_size: 0.3, max_iterations: 40}")
    assert attack("untargeted", picture("a", "car@8,8"), *file, "--max-iterations", 5).status == 0
    assert (attack_of("run")["step_size"], attack_of("run")["max_iterations"]) == (0.3, 5)


def test_a_method_may_be_named_where_there_is_but_one(attack, picture):
    said = attack("untargeted", picture("a", "car@8,8"), "--max-iterations", 5, "--set", "jnd.step_size=0.3")
    assert said.status == 0
    assert attack_of("run")["step_size"] == 0.3


def test_a_comparison_is_merged_by_method(cli, toy, data, config):
    file = config("methods: [jnd, fgsm]\nset: {jnd.step_size: 0.4, jnd.max_iterations: 9, fgsm.max_iterations: 8}")
    line = ("--model", f"{toy}:factory", "--device", "cpu", "--quiet", "--out", "cmp", "--limit", 1)
    assert cli("compare", *data, *file, *line, "--set", "fgsm.max_iterations=7", "--set", "refine=1").status == 0
    first, second = attack_of("cmp/jnd"), attack_of("cmp/fgsm")
    assert (first["step_size"], first["max_iterations"], first["refine"]) == (0.4, 9, 1)
    assert (second["step_size"], second["max_iterations"], second["refine"]) == (1 / 255, 7, 1)


def test_a_classifiers_settings_are_merged_too(cli, picture, config):
    file = config("set: {step_size: 0.3, l2_weight: 0.7}\nstop_confidence: 0.6")
    line = ("--model", CLASSIFIER, "--device", "cpu", "--quiet", "--max-iterations", 3, "--out", "run")
    assert cli("classify", "attack", picture("a"), *file, *line, "--set", "l2_weight=0.5").status == 0
    found = attack_of("run")
    assert (found["step_size"], found["l2_weight"], found["stop_confidence"]) == (0.3, 0.5, 0.6)


def test_ray_is_asked_for_in_a_file(refused, config, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    config("ray: true")
    refused("evaluate", "--config", "c.yaml", "--out", "run", words=("pip install '.[ray]'",))


# For whom


@pytest.mark.parametrize("command", [("compare",), ("classify", "compare"), ("tune",)], ids=" ".join)
def test_a_step_size_for_methods_of_different_steps_is_refused(refused, command):
    pytest.importorskip("optuna")
    words = ("--set step_size", "jnd normalized", "fgsm sign", "jnd.step_size=")
    refused(*command, "--methods", "jnd,fgsm", "--set", "step_size=0.1", "--out", "out", words=words)
    words = ("--set step_size", "fgsm sign", "ddn ddn", "fgsm.step_size=")
    given = ("--set", "jnd.step_size=1", "--set", "step_size=0.1")
    refused(*command, "--methods", "jnd,fgsm,ddn", *given, "--out", "out", words=words)


def test_a_radius_for_different_norms_is_refused(refused):
    words = ("--set radius", "pgd-linf linf", "pgd-l2 l2", "pgd-linf.radius=")
    refused("compare", "--methods", "pgd-linf,pgd-l2", "--set", "radius=1", "--out", "out", words=words)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "method: fgsm\nset: {step_size: 0.1}",
            ("evaluate", "--method", "jnd"),
            ("c.yaml: step_size is set for fgsm (step sign), and means another thing for jnd (step normalized)",),
        ),
        ("method: pgd-linf\nset: {radius: 0.1}", ("untargeted", "--method", "pgd-l2"), ("norm linf", "pgd-l2.radius=")),
        (
            "methods: [fgsm, pgd-linf]\nset: {step_size: 0.1}",
            ("compare", "--methods", "ddn,cw", "--set", "cw.step_size=1"),
            ("ddn.step_size=",),
        ),
        ("method: fgsm\nset: {step_size: 0.1}", ("classify", "attack", "--method", "jnd"), ("jnd.step_size=",)),
    ],
    ids=["evaluate", "untargeted", "compare", "classify"],
)
def test_what_a_file_sets_for_a_method_is_not_carried_over_to_one_of_another_meaning(
    refused, config, text, line, words
):
    refused(*line, *config(text), "--out", "out", words=("config ", "--set ", *words))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("method: fgsm\nset: {step_size: 0.1}", ("--method", "pgd-linf@4")),
        ("method: fgsm\nset: {step_size: 0.1}", ("--method", "jnd", "--set", "step_size=0.3")),
        ("method: fgsm\nset: {step_size: 0.1}", ("--method", "jnd", "--set", "jnd.step_size=0.3")),
        ("method: fgsm\nset: {max_iterations: 3}", ("--method", "jnd")),
        ("set: {step_size: 0.3}", ("--method", "fgsm")),
    ],
)
def test_what_means_the_same_or_is_said_anew_is_taken_from_a_file(refused, config, text, line):
    refused("evaluate", *config(text), *line, "--device", "warp", words=("device 'warp'",))


@pytest.mark.parametrize(
    ("methods", "setting"),
    [
        ("jnd", "step_size=0.2"),
        ("fgsm,pgd-linf", "step_size=0.2"),
        ("jnd,fgsm", "max_iterations=2"),
        ("jnd,fgsm", "levels=16"),
        ("jnd,fgsm", "l2_weight=1"),
        ("pgd-linf@4,pgd-linf@8", "step_size=0.2"),
    ],
)
def test_what_is_the_same_for_all_is_taken(refused, methods, setting):
    refused("compare", "--methods", methods, "--set", setting, "--device", "warp", words=("device 'warp'",))


# On what it was tuned


def note(said) -> list[str]:
    return [line for line in said.err.splitlines() if "tuned on" in line]


@pytest.fixture
def tuned(cli, toy, data):
    """A search on the first two of four images."""
    pytest.importorskip("optuna")
    line = ("--model", f"{toy}:factory", "--device", "cpu", "--goal", "suppress:car", "--max-iterations", 20)
    said = cli("tune", *data, *line, "--methods", "fgsm", "--trials", 1, "--limit", 2, "--out", "tuned", "--quiet")
    assert said.status == 0, said.err
    return (*line, "--quiet")


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ((), "2 of these 4 images are among those that config tuned/best"),
        (("--limit", 2), "2 of these 2 images"),
        (("--skip", 1), "1 of these 3 images"),
        (("--skip", 2), None),
    ],
)
def test_images_that_were_tuned_on_are_said(cli, tuned, data, which, words):
    for number, (command, file) in enumerate((("evaluate", "best-fgsm.yaml"), ("compare", "best.yaml"))):
        said = cli(command, *data, *tuned, *which, "--config", f"tuned/{file}", "--out", f"out{number}")
        assert said.status == 0, said.err
        assert [words in line for line in note(said)] == ([True] if words else [])
    said = cli("evaluate", *data, *tuned, "--method", "fgsm", "--out", "untuned")
    assert (said.status, note(said)) == (0, [])


def test_a_single_image_that_was_tuned_on_is_said_wherever_it_lies(cli, tuned, tmp_path):
    (tmp_path / "moved.png").write_bytes((tmp_path / "data" / "0" / "i0.png").read_bytes())
    line = [one for one in tuned if one not in ("--goal", "suppress:car")]
    for name, words in (("moved.png", ["1 of these 1 image is"]), ("data/1/i1.png", [])):
        said = cli(
            "untargeted", name, *line, "--config", "tuned/best-fgsm.yaml", "--out", f"{name}-run".replace("/", "-")
        )
        assert said.status == 0, said.err
        assert [words[0] in one for one in note(said)] == [True] * len(words)


def test_a_classifier_is_told_too(cli, picture, tmp_path):
    pytest.importorskip("optuna")
    (tmp_path / "in").mkdir()
    picture("in/a", "car@8,8")
    picture("in/b", "dog@8,8")
    line = ("--images", tmp_path / "in", "--model", CLASSIFIER, "--device", "cpu", "--max-iterations", 5, "--quiet")
    assert (
        cli("classify", "tune", *line, "--methods", "fgsm", "--trials", 1, "--limit", 1, "--out", "tuned").status == 0
    )
    said = cli("classify", "compare", *line, "--config", "tuned/best.yaml", "--out", "cmp")
    assert (said.status, len(note(said))) == (0, 1), said.err
    assert "1 of these 2 images" in said.err
    said = cli("classify", "attack", "in/a.png", *line[2:], "--config", "tuned/best-fgsm.yaml", "--out", "one")
    assert (said.status, len(note(said))) == (0, 1), said.err
    said = cli("classify", "compare", *line, "--skip", 1, "--config", "tuned/best.yaml", "--out", "rest")
    assert (said.status, note(said)) == (0, [])


def test_scenes_to_tune_on_are_no_others(cli, monkeypatch):
    """By default, of every command that renders scenes."""
    from typer.main import get_command

    from detattack.cli import app
    from detattack.datasets.rendered import rendered_scenes
    from detattack.workflows.tuned_on import tuned_on

    commands = {n: c for n, c in get_command(app).commands.items() if any(p.name == "scenes" for p in c.params)}
    seeds = {name: next(p.default for p in one.params if p.name == "seed") for name, one in commands.items()}
    assert seeds.pop("tune") == SEED
    assert {"untargeted", "targeted", "evaluate", "compare", "rank", "universal", "apply"} == set(seeds)
    assert set(seeds.values()) == {0}
    first, second = (set(tuned_on(rendered_scenes(3, seed)).split()) for seed in (0, SEED))
    assert (len(first), len(second)) == (3, 3)
    assert not first & second


def test_images_that_are_skipped(cli, toy, data):
    line = ("--model", f"{toy}:factory", "--device", "cpu", "--max-iterations", 20, "--quality", "quick", "--quiet")
    assert cli("evaluate", *data, *line, "--skip", 1, "--limit", 2, "--out", "run").status == 0
    rows = json.loads(Path("run/clean.json").read_text())
    assert {row["image_id"] for row in rows} == {99, 98}
    assert json.loads(Path("run/run.json").read_text())["origin"]["skip"] == 1
    said = cli("rerun", "run", "--trust", "--out", "again")
    assert (said.status, said.out) == (0, "2 images: identical bytes\n")
    assert made(Path("run")) == made(Path("again"))


def test_all_images_skipped_is_refused(refused, toy, data):
    line = ("--model", f"{toy}:factory", "--device", "cpu", "--out", "run")
    refused("evaluate", *data, *line, "--skip", 4, words=("--skip 4", "4 images"))


def test_scenes_that_are_skipped_are_replaced_by_later_ones(cli):
    from detattack.cli.options import DataOptions
    from detattack.datasets.open import open_dataset

    dataset = open_dataset(DataOptions(scenes=2, skip=1).source(seed=0))
    assert [sample.source for sample in dataset.samples] == ["scene 2 of seed 0", "scene 3 of seed 0"]


# What a folder is, and whose code it runs


def test_a_comparison_is_called_one_and_its_runs_are_named(cli, toy, data, refused):
    line = ("--model", f"{toy}:factory", "--device", "cpu", "--max-iterations", 2, "--limit", 1, "--quiet")
    assert cli("compare", *data, *line, "--methods", "jnd,fgsm", "--out", "cmp").status == 0
    words = ("cmp: is a comparison; its runs are cmp/fgsm, cmp/jnd",)
    for command in (("verify", "cmp"), ("rerun", "cmp"), ("verify", "cmp", "--survive", "jpeg:90")):
        refused(*command, words=words)
    Path("cmp/comparison.json").unlink()
    refused("verify", "cmp", words=("cmp: not a run folder (no run.json); its runs are cmp/fgsm, cmp/jnd",))


@pytest.mark.parametrize("command", [("verify",), ("verify", "--survive", "jpeg:90"), ("rerun",)], ids=" ".join)
def test_an_own_adapter_needs_trust_and_that_is_said_at_once(program, attack, picture, toy, command):
    assert attack("untargeted", picture("a"), "--max-iterations", 1).status == 0
    code = (
        f"import sys; from detattack.cli import status_of\nstatus = status_of({[command[0], 'run', *command[1:]]!r})\n"
        "print(status, 'torch' in sys.modules)"
    )
    done = subprocess.run([program[0], "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "2 False\n"
    assert done.stderr == f"detattack: run: its model {toy}:factory runs code from a file; --trust lets it\n"


def test_the_command_line_sets_one_value_of_what_a_file_sets_for_one_method():
    """Each is clear in the light of the other: alone, a step size of both methods would have two units."""
    file = FileSetting("fgsm.step_size=0.02", Path("c.yaml"), ())
    settings = Settings(assignments=(file, "step_size=0.3"))
    attacks = settings.attacks(find_task("detect"), ("jnd", "fgsm"))
    assert [attacks[name].step_size for name in ("jnd", "fgsm")] == [0.3, 0.02]
