"""`evaluate --defense`: a model attacked without knowing its defense and through it; defended models by name."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.toy_pictures import squares

TOY = f"{Path(__file__).parents[1] / 'toy_detector.py'}:Toy"
DEFENSES = """
import torch

def darker(): return lambda images: images * 0.9
def noisy(): return lambda images: (images + 0.05 * torch.randn_like(images)).clamp(0, 1)
def nothing(): return lambda images: images
def smaller(): return lambda images: images[..., :-1]
"""


@pytest.fixture
def pictures(tmp_path):
    """Four images of a car, which a tenth less light hides no more than a tenth of."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(4):
        pixels = squares(f"car@{8 * i},16", seed=i)
        pixels[pixels > 100] = 230
        Image.fromarray(pixels).save(folder / f"p{i}.png")
    (tmp_path / "defenses.py").write_text(DEFENSES)
    return folder


def evaluate(*more):
    images = ("--images", "pictures", "--model", TOY, "--goal", "suppress:all", "--quality", "quick")
    return ("evaluate", *images, "--out", "run", *more)


def test_the_undefended_attack_and_both_before_the_defense_in_one_table(cli, pictures, tmp_path):
    said = cli(*evaluate("--defense", "blur:2", "--json"))
    assert said.status == 0, said.err
    undefended, unaware, adaptive = said.json["defense"]
    assert [one["attack"] for one in said.json["defense"]] == ["undefended", "non-adaptive", "adaptive"]
    assert [one["judge"] for one in said.json["defense"]] == ["toy", "toy+blur:2", "toy+blur:2"]
    assert undefended["success"] == adaptive["success"] == 1.0
    assert unaware["success"] is None or unaware["success"] <= 1.0
    assert undefended["unseen"] is None
    assert json.loads((tmp_path / "run" / "defense.json").read_text())["defense"] == said.json["defense"]
    assert "non-adaptive" in (tmp_path / "run" / "defense.md").read_text()
    for name in ("undefended", "adaptive"):
        verified = cli("verify", Path("run") / name, "--trust")
        assert verified.status == 0, verified.err
    assert json.loads((tmp_path / "run" / "adaptive" / "run.json").read_text())["config"]["model"] == f"{TOY}+blur:2"


def test_on_floats_floats_are_judged_and_an_error_is_a_status(cli, pictures):
    """What a defense that does nothing leaves of floats is all of it."""
    line = evaluate("--float", "--defense", "defenses.py:nothing", "--json", "--strict")
    said = cli(*line)
    assert (said.status, [row["success"] for row in said.json["defense"]]) == (0, [1.0, 1.0, 1.0])
    (pictures / "p9.png").write_bytes(b"no image")
    assert cli(*line, "--out", "other").status == 1


def test_it_goes_on_and_prints_the_same(cli, pictures):
    command = evaluate("--defense", "jpeg:75", "--max-iterations", 30, "--json")
    first = cli(*command)
    assert first.status == 0, first.err
    assert cli(*command).status == 2, "not over a folder that is there"
    assert cli(*command, "--resume").json == first.json
    table = cli(*command[:-1], "--resume").out.splitlines()
    assert table[0].split()[:3] == ["attack", "judged", "by"]
    assert [line.split()[0] for line in table[1:4]] == ["undefended", "non-adaptive", "adaptive"]
    assert len({line.index(found) for line, found in zip(table[2:4], ("toy+", "toy+"), strict=True)}) == 1
    said = "non-adaptive: of the undefended successes, without those for which the goal holds behind the defense"
    assert table[4].startswith(said), "its row counts other images than the two beside it"
    assert said in Path("run/defense.md").read_text()


def test_a_random_defense_is_judged_at_draws_that_no_attack_saw(cli, pictures):
    said = cli(*evaluate("--defense", "defenses.py:noisy", "--json"))
    assert said.status == 0, said.err
    _, unaware, adaptive = said.json["defense"]
    assert adaptive["success"] == 1.0
    assert adaptive["unseen"] >= 0.75
    assert unaware["unseen"] <= adaptive["unseen"]
    assert cli("verify", "run/adaptive", "--trust").status == 0


def test_a_defended_model_is_a_model_of_any_command(cli, pictures):
    said = cli("untargeted", "pictures/p0.png", "--model", f"{TOY}+defenses.py:darker", "--out", "one", "--json")
    assert said.statuses == ["success"]
    said = cli("verify", "one", "--model", f"{TOY}+jpeg:90", "--json", "--quiet", "--trust")
    assert said.status == 0, said.err
    assert said.json["transfer"][0]["model"] == "toy+jpeg:90"
    said = cli("models", "check", f"{TOY}+defenses.py:darker")
    assert said.status == 0, said.out + said.err


def test_embedded_detectors_behind_jpeg(cli):
    attack = ("--goal", "suppress:car", "--scenes", 1, "--quality", "quick", "--out", "run", "--json")
    said = cli("evaluate", "--defense", "jpeg:75", *attack)
    assert said.status == 0, said.err
    _, unaware, adaptive = said.json["defense"]
    assert (unaware["successes"], adaptive["successes"]) == ("0 of 1", "1 of 1")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--defense", "jpg:75"), ("unknown", "'jpeg'")),
        (("--defense", "jpeg:0"), ("jpeg:0", "from 1 to 100")),
        (("--defense", "shift:2"), ("defense shift:2", "moves")),
        (("--defense", "defenses.py:smaller"), ("defenses.py:smaller", "[1, 3, 96, 127]")),
        (("--defense", "nowhere.py:factory"), ("defense nowhere.py:factory", "no such file")),
        (("--defense", "jpeg:75", "--shard", "0/2"), ("--defense and --shard",)),
        (("--defense", "jpeg:75", "--transfer-to", "demo"), ("--defense and --transfer-to",)),
        (("--defense", "jpeg:75", "--budget", "linf:1,2"), ("--defense and several budgets",)),
        (("--defense", "jpeg:75", "--task", "classify"), ("--defense", "classify")),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(refused, pictures, more, words):
    refused(*evaluate(*more), words=words)


def test_models_check_follows_the_gradient_of_the_detector_alone(cli, pictures):
    said = cli("models", "check", f"{TOY}+jpeg:75", "--count", 2, "--json")
    (told,) = [finding for finding in said.json["findings"] if finding["property"] == "gradient"]
    assert told["verdict"] == "passed", told
    assert "without jpeg:75" in told["detail"]
