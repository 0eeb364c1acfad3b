"""Whether two models count as one: every network that an adapter reaches takes part in its fingerprint."""

from collections import deque
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from detattack.core.fingerprint import fingerprint_of_tensors, reachable
from detattack.detectors.registry import fingerprint, load_detector


class Holder:
    """An adapter that keeps its network as it is told."""

    def __init__(self, held):
        self.held = held


class Slotted:
    """The same without a dictionary of attributes."""

    __slots__ = ("__held", "unset")

    def __init__(self, held):
        self.__held = held


class Method:
    """Something whose method is kept."""

    def __init__(self, network):
        self.network = network

    def run(self, x):
        return self.network(x)


class HidingModule(nn.Module):
    """A module whose network is not registered."""

    def __init__(self, network):
        super().__init__()
        self.hidden = [network]
        self.layer = nn.Sequential(nn.ReLU())


def closure_over(network):
    def run(x):
        return network(x) + later

    if False:
        later = 0  # a cell that is empty
    return run


def network_of(value):
    network = nn.Linear(2, 1)
    nn.init.constant_(network.weight, value)
    nn.init.zeros_(network.bias)
    return network


HOLDINGS = {
    "attribute": Holder,
    "list": lambda net: Holder([net]),
    "tuple": lambda net: Holder((1, net)),
    "set": lambda net: Holder({net}),
    "deque": lambda net: Holder(deque([net])),
    "dictionary": lambda net: Holder({"a": net}),
    "dictionary by number": lambda net: Holder({80: net}),
    "inner object": lambda net: Holder(Holder(net)),
    "namespace": lambda net: Holder(SimpleNamespace(net=net)),
    "slots": Slotted,
    "slots of an inner object": lambda net: Holder([Slotted(net)]),
    "bound method": lambda net: Holder(Method(net).run),
    "method of a network": lambda net: Holder(net.forward),
    "partial": lambda net: Holder(partial(torch.add, net)),
    "closure": lambda net: Holder(closure_over(net)),
    "unregistered in a module": lambda net: Holder(HidingModule(net)),
    "unregistered in an adapter that is a module": HidingModule,
    "parameters by name": lambda net: Holder({"state": dict(net.named_parameters())}),
    "tensors in a list": lambda net: Holder([net.weight.detach()]),
}


@pytest.mark.parametrize("hold", HOLDINGS.values(), ids=HOLDINGS.keys())
def test_other_weights_are_another_model_wherever_they_are(hold):
    one, same, other = (fingerprint_of_tensors(hold(network_of(value)), ()) for value in (1.0, 1.0, 2.0))
    assert one == same != other


def test_the_order_of_a_set_does_not_count():
    nets = [network_of(float(i)) for i in range(5)]
    again = [network_of(float(i)) for i in reversed(range(5))]
    assert fingerprint_of_tensors(Holder(set(nets)), ()) == fingerprint_of_tensors(Holder(set(again)), ())
    assert fingerprint_of_tensors(Holder(nets), ()) != fingerprint_of_tensors(Holder(nets[::-1]), ())


def test_what_is_found_and_under_which_path():
    net, other, table = network_of(1.0), network_of(2.0), torch.zeros(2)
    model = Holder({"a": [net, table], "b": Holder(net)})
    model.again, model.inner = net, model
    model.inner_module = HidingModule(other)
    assert dict(reachable(model)) == {
        "again": net,
        "inner_module": model.inner_module,
        "held['a'][1]": table,
        "inner_module.hidden[0]": other,
    }


def test_caches_are_no_weights():
    """They come with use: a model that was used must not count as another."""
    model = Holder(HidingModule(network_of(1.0)))
    before = fingerprint_of_tensors(model, ())
    model.cache = {(64, 48): torch.ones(3)}
    model.held.layer.anchors = [torch.ones(3)]
    assert fingerprint_of_tensors(model, ()) == before


def test_a_used_detector_is_the_same():
    detector = load_detector("demo", "cpu")
    before = fingerprint(detector)
    detector.candidates(torch.rand(1, 3, 64, 96))
    assert fingerprint(detector) == before


def test_fingerprints_in_folders_of_earlier_versions_stay():
    """Of adapters whose networks and tensors are attributes, or that are a module themselves."""
    model = Holder(network_of(1.0))
    model.again, model.table = model.held, torch.arange(3)
    assert fingerprint_of_tensors(model, ["car"]) == "d27bc20159e4ff50"
    module = nn.Sequential(network_of(1.0), network_of(2.0))
    module.mean = torch.ones(3)
    assert fingerprint_of_tensors(module, ["car"]) == "b5709d1d1f9be4c3"
    assert fingerprint(load_detector("demo", "cpu")) == "39c3f00e30714edf"
