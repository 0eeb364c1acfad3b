"""What of a method is searched, what is better, and how fine a grid is."""

import math
import sys
from collections import Counter
from dataclasses import replace

import pytest

from classify.methods import PRESETS as CLASSIFY_PRESETS
from detattack.core.errors import InputError
from detattack.engine.presets import PRESETS
from detattack.runs.record import BaseRecord
from detattack.workflows.search import (
    ASKED,
    OBJECTIVES,
    Range,
    Scores,
    Trial,
    grid_of,
    make_plan,
    make_space,
    parse_also,
    scores_of,
    search,
)

pytest.importorskip("optuna")


def record(status="success", k=2, psnr=40.0, ssim=0.5, l2=1.0):
    quality = {"psnr": psnr, "ssim": ssim, "l2": l2} if status in ("success", "failure") else {}
    return BaseRecord(1, "a", "a.png", status, width=10, height=10, k=k, quality=quality)


def scores(failures=0, paper=1.0, l2=1.0):
    return Scores(10, failures, paper, None if failures == 10 else l2, None if failures == 10 else 3.0, largest=17.0)


def better(objective, one, other):
    return OBJECTIVES[objective].best([Trial(1, {}, other), Trial(2, {}, one)]).scores is one


# What is better


def test_the_papers_objective_is_psnr_ssim_by_iterations_and_0_for_a_failure():
    found = scores_of([record(k=2), record(k=10), record("failure", k=-1), record("error"), record("already")])
    assert (found.images, found.failures) == (4, 2)
    assert found.paper == pytest.approx((40 * 0.5 / 2 + 40 * 0.5 / 10) / 4)
    assert OBJECTIVES["paper"].value(found) == found.paper


def test_no_psnr_of_an_image_that_has_not_changed_is_no_praise():
    assert scores_of([record(psnr=None)]).paper == 0


def test_means_are_over_the_successes_only():
    found = scores_of([record(l2=1.0, k=2), record(l2=3.0, k=4), record("failure", l2=100.0)])
    assert (found.l2, found.k) == (2.0, 3.0)
    assert found.success_rate == pytest.approx(2 / 3)
    nothing = scores_of([record("failure")])
    assert (nothing.l2, nothing.k, nothing.paper) == (None, None, 0)


def test_the_largest_l2_is_that_of_all_values_from_0_to_1():
    assert scores_of([record()]).largest == pytest.approx(math.sqrt(300))


def test_one_more_success_comes_before_any_smaller_l2():
    assert better("l2", scores(0, l2=16.9), scores(1, l2=0.0))
    assert better("l2", scores(9, l2=16.9), scores(10))
    assert better("l2", scores(3, l2=0.5), scores(3, l2=0.6))


def test_the_paper_praises_more_and_l2_less():
    assert better("paper", scores(paper=2.0, l2=9.0), scores(paper=1.0, l2=1.0))
    assert better("l2", scores(paper=1.0, l2=1.0), scores(paper=2.0, l2=9.0))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_of_equal_trials_the_first_is_best(objective):
    trials = [Trial(number, {}, scores()) for number in (1, 2)]
    assert OBJECTIVES[objective].best(trials).number == 1


def test_nothing_to_attack_is_bad_input():
    with pytest.raises(InputError, match="none of the images can be attacked"):
        scores_of([record("already"), record("nothing")])


def test_what_is_there_instead_is_named():
    skipped = replace(record("nothing"), reason="no car above 0.5; seen: train 0.56")
    with pytest.raises(InputError, match="nothing to tune on; a: no car above 0.5; seen: train 0.56$"):
        scores_of([record("already"), skipped])


# What is searched


@pytest.mark.parametrize(
    ("method", "searched"),
    [
        ("jnd", "step_size growth l2_weight range_weight tv_weight"),
        ("jnd-paper", "step_size l2_weight range_weight tv_weight"),
        ("baseline", "step_size l2_weight"),
        ("fgsm", "step_size"),
        ("fgv", "step_size"),
        ("pgd-linf", "step_size"),
        ("ddn", "step_size"),
        ("jnd-min", "step_size"),
        ("cw", "step_size"),
    ],
)
@pytest.mark.parametrize("presets", [PRESETS, CLASSIFY_PRESETS], ids=["detect", "classify"])
def test_each_method_is_searched_for_what_it_has(presets, method, searched):
    assert list(make_space(presets[method]).ranges) == searched.split()


def test_the_settings_of_every_method_are_within_its_ranges():
    for attack in (*PRESETS.values(), *CLASSIFY_PRESETS.values()):
        if attack.step not in ("ensemble", "square", "noise"):  # which have nothing to search
            for name, found in make_space(attack, ASKED).ranges.items():
                assert found.low <= getattr(attack, name) <= found.high, (attack.name, name)


def test_loss_weight_and_radius_where_asked():
    assert "loss_weight" in make_space(PRESETS["jnd"], ("loss_weight",)).ranges
    assert list(make_space(PRESETS["pgd-linf"], ("radius",)).ranges) == ["step_size", "radius"]
    assert list(make_space(PRESETS["fgsm"], ASKED).ranges) == ["step_size"]
    assert parse_also("", PRESETS.values()) == ()
    with pytest.raises(InputError, match="--also radius: none of the methods"):
        parse_also("radius", [PRESETS["jnd"]])
    with pytest.raises(InputError, match=r"unknown parameter of --also 'radios': did you mean 'radius'\?"):
        parse_also("radios", PRESETS.values())


def test_what_is_fixed_is_not_searched():
    assert list(make_space(PRESETS["baseline"], fixed=["l2_weight"]).ranges) == ["step_size"]
    with pytest.raises(InputError, match="method fgsm: has no parameter that could be searched"):
        make_space(PRESETS["fgsm"], fixed=["step_size"])
    with pytest.raises(InputError, match="method noise: has no parameter"):
        make_space(PRESETS["noise"])


def test_a_trial_is_a_checked_attack_of_the_same_method():
    space = make_space(replace(PRESETS["jnd"], levels=None, max_iterations=7))
    attack = space.attack_with({"step_size": 0.3})
    assert attack == replace(space.attack, step_size=0.3)


# The grid


def test_the_values_of_a_range_are_evenly_spread_on_a_logarithmic_scale():
    assert Range(1, 100).values(2) == pytest.approx([10**0.5, 10**1.5], rel=1e-3)
    assert Range(1, 100).values(1) == [10]


@pytest.mark.parametrize("trials", [1, 2, 7, 40])
@pytest.mark.parametrize("method", ["fgsm", "baseline", "jnd-paper", "jnd"])
def test_a_grid_has_enough_points_and_most_step_sizes(method, trials):
    grid = grid_of(make_space(PRESETS[method]), trials)
    count = math.prod(map(len, grid.values()))
    assert trials <= count < max(2 * trials, 2)
    assert len(grid["step_size"]) == max(map(len, grid.values()))


def test_what_a_grid_has_one_value_of_keeps_the_methods_own():
    assert grid_of(make_space(PRESETS["jnd"]), 3)["growth"] == [PRESETS["jnd"].growth]


# The search


def evaluate(attack):
    """Smallest L2 at a step size of 0.05 and a weight of 2; a failure above 1."""
    l2 = abs(math.log(attack.step_size / 0.05)) + abs(math.log(attack.l2_weight / 2))
    return Scores(10, int(attack.step_size > 1), 1 / (1 + l2), l2, 3.0, 17.0)


def run_search(folder, trials=12, sampler="tpe", seed=0, objective="l2", method="baseline"):
    plan = make_plan(objective, sampler, trials, seed)
    return search(make_space(PRESETS[method]), plan, folder, evaluate, lambda trial: None)


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
@pytest.mark.parametrize("objective", ["paper", "l2"])
def test_a_search_has_as_many_different_trials_as_asked_and_comes_near(tmp_path, sampler, objective):
    trials = run_search(tmp_path, 40, sampler, objective=objective)
    assert [trial.number for trial in trials] == list(range(1, 41))
    assert len({tuple(trial.values.values()) for trial in trials}) == 40
    best = OBJECTIVES[objective].best(trials)
    assert best.scores.l2 < 1.6
    assert best.scores.l2 < sorted(trial.scores.l2 for trial in trials)[20] / 2


def test_tpe_begins_with_the_methods_own_settings(tmp_path):
    first = run_search(tmp_path, 1)[0]
    assert first.values == {"step_size": PRESETS["baseline"].step_size, "l2_weight": PRESETS["baseline"].l2_weight}


def test_the_seed_decides(tmp_path):
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        found.append(run_search(tmp_path / name, seed=seed))
    assert found[0] == found[1]
    assert Counter(t.values["step_size"] for t in found[0]) != Counter(t.values["step_size"] for t in found[2])


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_a_trial_that_is_interrupted_is_done_again(tmp_path, sampler):
    (tmp_path / "whole").mkdir()
    whole = run_search(tmp_path / "whole", sampler=sampler)
    tried = []

    def interrupted(attack):
        tried.append(attack)
        if len(tried) == 5:
            raise KeyboardInterrupt
        return evaluate(attack)

    space, plan = make_space(PRESETS["baseline"]), make_plan("l2", sampler, 12, 0)
    with pytest.raises(KeyboardInterrupt):
        search(space, plan, tmp_path, interrupted, lambda trial: None)
    assert run_search(tmp_path, sampler=sampler) == whole
    assert tried == [space.attack_with(trial.values) for trial in whole[:5]]


def test_fewer_trials_than_there_are_are_the_first_ones(tmp_path):
    assert run_search(tmp_path, 8)[:3] == run_search(tmp_path, 3)


def test_a_damaged_file_of_trials_is_bad_input(tmp_path):
    (tmp_path / "trials.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match=r"trials\.sqlite: cannot be read"):
        run_search(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("l3", "tpe", 4), "unknown objective 'l3'"),
        (("l2", "random", 4), "unknown sampler 'random'"),
        (("l2", "tpe", 0), "0 trials: at least one is needed"),
    ],
)
def test_a_bad_plan_is_one_line(arguments, words):
    with pytest.raises(InputError, match=words):
        make_plan(*arguments, seed=0)


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install '.\[tune\]'"):
        make_plan("l2", "tpe", 4, 0)
