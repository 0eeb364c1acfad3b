"""Training: the same weights whether it was interrupted or not, and a loss that falls."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from detattack.core.errors import InputError
from detattack.detectors.demo.adversarial import Adversary, attacked, parse_adversary
from detattack.detectors.demo.network import HEADS, build_network
from detattack.detectors.demo.train import Progress, TrainConfig, _batches, _identity, _start, _step, train

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


@pytest.mark.parametrize(
    "changes",
    [{}, {"adversary": Adversary(4)}, {"head": "fasterrcnn"}],
    ids=["plain", "under attack", "a head that draws samples"],
)
def test_a_resumed_training_ends_with_the_same_weights(changes: dict[str, Any], tmp_path: Path):
    config = replace(TINY, **changes)
    whole, resumed = (replace(config, out=tmp_path / name) for name in ("whole", "resumed"))
    with pytest.raises(Stopped):
        train(resumed, stop, report_every=3)  # one step after the checkpoint
    assert torch.load(resumed.out / "checkpoint.pt", weights_only=True)["step"] == 2
    torch.rand(5)  # a resumed run must not depend on the generator it finds
    assert train(resumed, quiet).read_bytes() == train(whole, quiet).read_bytes()


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


@pytest.mark.parametrize(("head", "same"), [("retinanet", ""), ("fcos", "backbone.")])
def test_it_begins_with_all_weights_of_its_head_or_the_backbone_of_another(
    whole: Path, tmp_path: Path, head: str, same: str
):
    config = replace(TINY, out=tmp_path, head=head, start=whole, seed=5)
    started, weights = _start(config).network.state_dict(), load_file(whole)
    own = [key for key in weights if key.startswith(same)]
    assert own
    assert all(torch.equal(started[key], weights[key].to(started[key])) for key in own)


def test_weights_that_do_not_fit_are_no_beginning(tmp_path: Path):
    save_file({"other": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="do not fit"):
        _start(replace(TINY, out=tmp_path, start=tmp_path / "other.safetensors"))


# Under attack


def summed(images: Tensor) -> Tensor:
    return images.sum()


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_attacked_images_stay_within_the_budget_and_in_range(steps: int):
    images = torch.rand(3, 3, 32, 32).mul(2).sub(0.5).clamp(0, 1)  # many at the bounds
    moved = attacked(nn.Identity(), images, summed, Adversary(4, steps=steps), torch.Generator())
    change = (moved - images).abs().flatten(1).amax(1)
    assert (change <= 4 / 255 + 1e-6).all()
    assert (change >= 1 / 255 - 1e-6).all()
    assert (moved >= 0).all()
    assert (moved <= 1).all()
    assert not moved.requires_grad


def test_the_steps_raise_the_loss_and_leave_the_network_as_it_was(tmp_path: Path):
    config = replace(TINY, out=tmp_path)
    network, images = _start(config).network, torch.rand(2, 3, 128, 128)
    targets = [{"boxes": torch.tensor([[8.0, 8, 60, 60]]), "labels": torch.tensor([2])}] * 2
    before = {key: value.clone() for key, value in network.state_dict().items()}

    def loss(moved: Tensor) -> Tensor:
        return torch.stack(list(network(list(moved), targets).values())).sum()

    moved = attacked(network, images, loss, Adversary(8), torch.Generator())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert all(weight.grad is None for weight in network.parameters())
    assert loss(moved) > loss(images)


def test_a_share_of_each_batch_is_attacked(tmp_path: Path):
    config = replace(TINY, out=tmp_path, batch=6, adversary=Adversary(4))
    state, batch, shown = _start(config), next(_batches(config, 0)), []
    state.network.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    _step(state, config, batch, lr=1e-3)
    changed = [not torch.equal(seen, image / 255) for seen, (image, _, _) in zip(shown[-1], batch, strict=True)]
    assert changed == [True] * 4 + [False] * 2
    assert {len(seen) for seen in shown[:-1]} == {4}


def test_a_checkpoint_under_another_attack_is_refused(whole: Path):
    with pytest.raises(ValueError, match="another training"):
        train(replace(TINY, out=whole.parent, adversary=Adversary(4)), quiet)


def test_a_checkpoint_says_nothing_of_an_adversary_that_there_is_not():
    """So that those from before there were any are continued."""
    assert "adversary" not in _identity(TINY)
    assert _identity(replace(TINY, adversary=Adversary(4)))["adversary"] == asdict(Adversary(4))


@pytest.mark.parametrize(("text", "radius"), [("linf:4", 4), ("linf:0.5", 0.5), ("linf:255", 255)])
def test_budgets(text: str, radius: float):
    assert parse_adversary(text) == Adversary(radius)
