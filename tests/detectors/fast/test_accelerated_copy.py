"""The accelerated copy of a model gives nearly the same numbers; the model itself decides."""

import gc
import threading
import warnings
import weakref
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from detattack.core.errors import InputError
from detattack.datasets.image_io import to_tensor
from detattack.datasets.scenes import render, scene_seed
from detattack.detectors.fast import AcceleratedDetector, accelerated_copy
from detattack.detectors.registry import fingerprint, load_detector


@dataclass
class Adapter:
    """Holds a network; dataclasses have no hash."""

    name: str = "adapter"
    network: nn.Module = field(default_factory=lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval())
    more: object = None

    def logits(self, images: Tensor) -> Tensor:
        return self.network(images).mean((2, 3))


def probe(adapter):
    adapter.logits(torch.zeros(1, 3, 8, 8))


@pytest.fixture(scope="module")
def demo():
    return load_detector("demo", "cpu")


@pytest.fixture(scope="module")
def image():
    return to_tensor(render(scene_seed(0, 3)).image)[None]


def gradient(detector, image):
    seen = image.clone().requires_grad_()
    logits = detector.candidates(seen).logits
    return torch.autograd.grad(nn.functional.softplus(logits, beta=10).sum(), seen)[0].flatten()


def test_a_copy_is_made_once_and_freed_with_its_model():
    adapter = Adapter()
    copied = accelerated_copy(adapter, probe)
    assert copied is not adapter
    assert accelerated_copy(adapter, probe) is copied
    assert accelerated_copy(adapter, probe, "bf16") is not copied
    assert accelerated_copy(Adapter(), probe) is not copied
    freed = []
    weakref.finalize(copied, freed.append, True)
    del adapter, copied
    gc.collect()
    assert freed == [True]


def data_mul(network):
    network[0].weight.data.mul_(1.5)  # leaves the version of the weight as it is


def data_set(network):
    network[0].weight.data = network[0].weight.data + 1


def load(network):
    network.load_state_dict({key: value + 1 for key, value in network.state_dict().items()})


def norm(network):
    network[1].running_var.mul_(2)


def learn(network):
    network[1].train()


def setting(network):
    network[1].eps = 1e-2


def grow(network):
    network.append(nn.ReLU())


HOLDERS = {
    "attribute": lambda network: Adapter(network=network),
    "list": lambda network: Adapter(network=[network, nn.ReLU()]),
    "dict": lambda network: Adapter(network={"best": network}),
    "inner": lambda network: Adapter(network=Adapter(network=(network,))),
}


def held(adapter):
    while not isinstance(adapter, nn.Module):
        adapter = (
            adapter.network
            if isinstance(adapter, Adapter)
            else next(iter(adapter.values() if isinstance(adapter, dict) else adapter))
        )
    return adapter


def probe_inside(adapter):
    held(adapter)(torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("change", [data_mul, data_set, load, norm, learn, setting, grow])
@torch.no_grad()
def test_a_copy_follows_its_model_wherever_that_holds_its_network(holder, change):
    adapter = HOLDERS[holder](nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval())
    image, network = torch.rand(2, 3, 8, 8), held(adapter)
    before = accelerated_copy(adapter, probe_inside)
    assert isinstance(held(before)[1], nn.Identity)
    assert accelerated_copy(adapter, probe_inside) is before
    change(network)
    copied = accelerated_copy(adapter, probe_inside)
    assert copied is not before
    torch.testing.assert_close(held(copied)(image), network(image), rtol=1e-5, atol=1e-5)
    assert accelerated_copy(adapter, probe_inside) is not before


def rename(adapter):
    adapter.name = "another"


def in_place(adapter):
    adapter.more["means"][0] = 0.5


def in_an_array(adapter):
    adapter.more["scales"][1] = 2


def inside_a_module(adapter):
    adapter.network.strides = [8, 32]


def hook(adapter):
    adapter.network[0].register_forward_hook(lambda module, given, found: found - 1)


@pytest.mark.parametrize("change", [rename, in_place, in_an_array, inside_a_module, hook])
@torch.no_grad()
def test_a_twin_follows_what_is_set_beside_the_weights(change):
    adapter = Adapter(more={"means": [0.0, 0.0], "scales": np.ones(2), "nothing": float("nan")})
    adapter.network.strides = [8, 16]
    before = accelerated_copy(adapter, probe)
    assert accelerated_copy(adapter, probe) is before
    change(adapter)
    twin, image = accelerated_copy(adapter, probe), torch.rand(2, 3, 8, 8)
    assert twin is not before
    assert twin.name == adapter.name
    assert twin.more["means"] == adapter.more["means"]
    assert twin.network.strides == adapter.network.strides
    assert np.array_equal(twin.more["scales"], adapter.more["scales"])
    torch.testing.assert_close(twin.logits(image), adapter.logits(image), rtol=1e-5, atol=1e-5)
    assert accelerated_copy(adapter, probe) is twin


@torch.no_grad()
def test_use_is_no_change(demo, image):
    copied = AcceleratedDetector(demo)._copy
    demo.detect(image[..., :200, :300], 0.3)
    demo.candidates(image[..., :200, :300])
    assert AcceleratedDetector(demo)._copy is copied


@pytest.mark.parametrize("adapter", [Adapter(more=threading.Lock()), Adapter(network=nn.Conv2d(5, 4, 3)), object()])
def test_what_cannot_be_copied_or_run_is_attacked_itself(adapter):
    if not isinstance(adapter, Adapter):
        adapter = type("Bare", (), {"name": "bare", "logits": lambda self, images: images})()
    says = pytest.warns(UserWarning, match="no faster copy") if isinstance(adapter, Adapter) else nullcontext()
    with says:
        assert accelerated_copy(adapter, probe) is adapter
    with warnings.catch_warnings(action="error"):  # once is enough
        assert accelerated_copy(adapter, probe) is adapter
    expected = pytest.raises(InputError, match=f"bf16: the model {adapter.name}")
    with warnings.catch_warnings(action="ignore"), expected:
        accelerated_copy(adapter, probe, "bf16")


def test_a_model_without_a_copy_is_freed_when_nobody_holds_it():
    adapter = type("Bare", (), {"name": "bare", "logits": lambda self, images: images})()
    assert accelerated_copy(adapter, probe) is adapter
    alive = weakref.ref(adapter)
    del adapter
    gc.collect()
    assert alive() is None


def test_memory_that_runs_out_is_no_model_that_cannot_be_copied():
    def greedy(adapter):
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        accelerated_copy(Adapter(), greedy)


def test_the_model_is_left_untouched(demo, image):
    before, norms = fingerprint(demo), [m for m in demo.network.modules() if isinstance(m, nn.BatchNorm2d)]
    fast = [AcceleratedDetector(demo, precision) for precision in ("fp32", "bf16")]
    for one in fast:
        gradient(one, image)
    assert fingerprint(demo) == before
    assert len(norms) == sum(isinstance(m, nn.BatchNorm2d) for m in demo.network.modules()) > 0
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in demo.network.parameters())


def test_float32_is_the_same_up_to_rounding(demo, image):
    fast = AcceleratedDetector(demo)
    ours, own = fast.candidates(image), demo.candidates(image)
    torch.testing.assert_close(ours.logits, own.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.boxes, own.boxes, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(fast.logits(image), own.logits, rtol=1e-4, atol=1e-4)
    assert float(torch.cosine_similarity(gradient(fast, image), gradient(demo, image), dim=0)) > 0.9999


def test_bfloat16_points_the_same_way(demo, image):
    fast = AcceleratedDetector(demo, "bf16")
    found = fast.candidates(image)
    assert found.logits.dtype == found.boxes.dtype == fast.logits(image).dtype == torch.float32
    assert float(torch.cosine_similarity(gradient(fast, image), gradient(demo, image), dim=0)) > 0.95
    assert not torch.equal(found.logits, AcceleratedDetector(demo).candidates(image).logits)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_model_itself_decides(demo, image, precision):
    ours, own = AcceleratedDetector(demo, precision).detect(image, 0.05), demo.detect(image, 0.05)
    assert len(own[0])
    for name in ("boxes", "scores", "labels"):
        assert torch.equal(getattr(ours[0], name), getattr(own[0], name))


def test_select_takes_the_candidates_of_the_copy(demo, image):
    for precision, tolerance in (("fp32", 0.01), ("bf16", 2.0)):
        fast = AcceleratedDetector(demo, precision)
        ours, own = fast.select(fast.candidates(image), 0.5)[0], demo.detect(image, 0.5)[0]
        assert torch.equal(ours.labels.sort().values, own.labels.sort().values)
        torch.testing.assert_close(
            ours.boxes[ours.boxes[:, 0].argsort()], own.boxes[own.boxes[:, 0].argsort()], rtol=0, atol=tolerance
        )
