"""Training: the same weights whether it was interrupted or not, and a loss that falls."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from detattack.detectors.demo.network import HEADS, build_network
from detattack.detectors.demo.train import Progress, TrainConfig, _batches, _start, _step, train

TINY = TrainConfig(
    out=Path(),
    steps=4,
    batch=2,
    width=128,
    height=128,
    warmup=2,
    checkpoint_every=2,
    precision="fp32",
    workers=0,
)


def quiet(_: Progress) -> None:
    pass


class Stopped(Exception):
    pass


def stop(_: Progress) -> None:
    raise Stopped


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(replace(TINY, out=tmp_path_factory.mktemp("whole")), quiet)


def test_a_resumed_training_ends_with_the_same_weights(whole: Path, tmp_path: Path):
    config = replace(TINY, out=tmp_path)
    with pytest.raises(Stopped):
        train(config, stop, report_every=3)  # one step after the checkpoint
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 2
    torch.rand(5)  # a resumed run must not depend on the generator it finds
    assert train(config, quiet).read_bytes() == whole.read_bytes()


def test_another_seed_gives_other_weights(whole: Path, tmp_path: Path):
    other = load_file(train(replace(TINY, out=tmp_path, seed=1, steps=2), quiet))
    key = "head.classification_head.cls_logits.weight"
    assert not torch.equal(other[key], load_file(whole)[key])


def test_a_finished_training_is_left_alone(whole: Path):
    before = whole.read_bytes()
    assert train(replace(TINY, out=whole.parent), stop) == whole
    assert whole.read_bytes() == before


def test_a_checkpoint_of_another_config_is_refused(whole: Path):
    with pytest.raises(ValueError, match="another training"):
        train(replace(TINY, out=whole.parent, lr=0.1), quiet)


def test_the_file_is_small_float16_and_fits(whole: Path):
    assert whole.stat().st_size <= 8_000_000
    weights = load_file(whole)
    assert all(v.dtype == torch.float16 for v in weights.values() if v.is_floating_point())
    build_network().load_state_dict(weights, strict=True)


def test_reports_count_steps(tmp_path: Path):
    seen: list[Progress] = []
    train(replace(TINY, out=tmp_path, steps=3, checkpoint_every=100), seen.append, report_every=2)
    assert [p.step for p in seen] == [2, 3]
    assert seen[-1].seconds_left == 0
    assert set(seen[0].losses) == {"classification", "bbox_regression"}
    assert seen[0].loss == pytest.approx(sum(seen[0].losses.values()))


@pytest.mark.parametrize("head", HEADS)
def test_the_loss_of_a_repeated_batch_falls(head: str, tmp_path: Path):
    config = replace(TINY, out=tmp_path, head=head)
    state, batch = _start(config), next(_batches(config, 0))
    losses = [sum(_step(state, config, batch, lr=1e-3).values()) for _ in range(8)]
    assert losses[-1] < 0.85 * losses[0]


def test_it_can_begin_with_the_backbone_of_other_weights(whole: Path, tmp_path: Path):
    config = replace(TINY, out=tmp_path, head="fcos", start=whole, seed=5)
    started, weights = _start(config).network.state_dict(), load_file(whole)
    own = [key for key in weights if key.startswith("backbone.")]
    assert own
    assert all(torch.equal(started[key], weights[key].to(started[key])) for key in own)
