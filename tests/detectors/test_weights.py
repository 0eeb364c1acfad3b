"""Checkpoints and class files as training programs leave them: what is found in them, what is said, what is refused."""

import argparse
import collections
import contextlib
import json
import pickle
import pickletools
from pathlib import Path, PosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from classify.models import vgg16
from classify.models.registry import load_classifier
from detattack.core.errors import InputError
from detattack.detectors.category_file import read_categories
from detattack.detectors.registry import load_detector
from detattack.detectors.weights import REMEDY, fit_weights, load_weights, read_weights


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2)))


STATE = network().state_dict()
OTHER = {key: value + 1 for key, value in STATE.items()}


def under(prefix, state=STATE):
    return {prefix + key: value for key, value in state.items()}


def loaded(content, folder, caplog) -> list[str]:
    """Loads what `torch.save` makes of it, checks that the weights are those of `STATE`, and returns what is said."""
    torch.save(content, folder / "w.pth")
    model = network()
    for value in model.parameters():
        nn.init.zeros_(value)
    load_weights(model, folder / "w.pth")
    assert all(torch.equal(value, STATE[key]) for key, value in model.state_dict().items())
    return [record.getMessage().removeprefix(f"weights {folder / 'w.pth'}: ") for record in caplog.records]


def refused(content, folder) -> str:
    torch.save(content, folder / "w.pth")
    with pytest.raises(InputError) as error:
        load_weights(network(), folder / "w.pth")
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_a_plain_state_dict_needs_no_word(tmp_path, caplog):
    assert loaded(STATE, tmp_path, caplog) == []


@pytest.mark.parametrize("wrapper", ["model", "state_dict", "model_state_dict", "net", "mine"])
def test_the_weights_beside_all_that_a_training_leaves(wrapper, tmp_path, caplog):
    optimizer = torch.optim.AdamW(network().parameters())
    sum(p.sum() for p in optimizer.param_groups[0]["params"]).backward()
    optimizer.step()
    args = argparse.Namespace(lr=0.1, data=PosixPath("/data"), best=np.float64(0.3), sizes=np.arange(3))
    content = {
        "optimizer": optimizer.state_dict(),
        "args": args,
        "epoch": 3,
        "best": np.float32(0.3),
        "steps": np.int64(7),
        "flag": np.bool_(True),
        "curve": np.linspace(0, 1, 3),
        "counts": collections.Counter("ab"),
        wrapper: STATE,
    }
    assert loaded(content, tmp_path, caplog) == [f"taken from '{wrapper}'"]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.", "my.own.net."])
def test_one_prefix_is_stripped_and_said(prefix, tmp_path, caplog):
    assert loaded(under(prefix), tmp_path, caplog) == [f"prefix '{prefix}' stripped from the names"]


def test_lightning_with_a_loss_of_its_own(tmp_path, caplog):
    content = {"state_dict": under("model.") | {"loss.weight": torch.ones(2)}, "epoch": 1}
    said = "taken from 'state_dict', prefix 'model.' stripped from the names, 1 without it left out"
    assert loaded(content, tmp_path, caplog) == [said]


def test_an_average_alone_is_taken(tmp_path, caplog):
    average = torch.optim.swa_utils.AveragedModel(network())
    said = "taken from 'model_ema', prefix 'module.' stripped from the names, 1 without it left out"
    assert loaded({"model_ema": average.state_dict()}, tmp_path, caplog) == [said]


@pytest.mark.parametrize("ema", ["model_ema", "ema", "state_dict_ema"])
def test_beside_an_average_the_model_itself_is_taken_and_said(ema, tmp_path, caplog):
    said = f"taken from 'model', left out '{ema}', which would fit too"
    assert loaded({ema: OTHER, "model": STATE}, tmp_path, caplog) == [said]


def test_an_average_that_is_nested(tmp_path, caplog):
    assert loaded({"ema": {"module": STATE, "updates": 9}}, tmp_path, caplog) == ["taken from 'ema.module'"]


def test_two_models_that_both_fit_are_not_chosen_between(tmp_path):
    text = refused({"first": STATE, "second": OTHER}, tmp_path)
    assert "more than one model, 'first' and 'second'" in text
    assert text.endswith(REMEDY)
    assert "'student' and 'tutor'" in refused(under("student.") | under("tutor.", OTHER), tmp_path)


def test_a_name_that_fits_as_it_is_comes_before_a_prefix(tmp_path):
    assert "has 'old.0.weight'" in refused(STATE | under("old."), tmp_path)


def test_a_prefix_that_is_the_models_own_stays(tmp_path, caplog):
    model = nn.ModuleDict({"model": network()})
    torch.save(under("model."), tmp_path / "w.pth")
    load_weights(model, tmp_path / "w.pth")
    assert not caplog.records


def test_what_is_missing_under_a_prefix_is_named_by_the_models_name(tmp_path):
    state = under("module.")
    del state["module.2.0.bias"]
    assert "has no '2.0.bias' (1 missing, 0 unexpected of 9)" in refused(state, tmp_path)


def test_a_safetensors_file_with_a_prefix(tmp_path, caplog):
    save_file(under("_orig_mod."), tmp_path / "w.safetensors")
    load_weights(network(), tmp_path / "w.safetensors")
    assert "'_orig_mod.' stripped" in caplog.text


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {"model": {"a": "b"}}, {"w": torch.ones(2, device="meta")}])
def test_a_file_without_weights_says_what_to_do(content, tmp_path):
    text = refused(content, tmp_path)
    assert "no state dict" in text
    assert text.endswith(REMEDY)


def test_a_whole_module_is_refused_by_its_class_with_the_remedy(tmp_path):
    text = refused(network(), tmp_path)
    assert "torch.nn.modules.container.Sequential, which can run code; refused" in text
    assert text.endswith(REMEDY)


def test_one_state_dict_under_two_names_is_no_choice(tmp_path, caplog):
    assert loaded({"last": STATE, "best": STATE}, tmp_path, caplog) == ["taken from 'last'"]


def test_an_average_that_keeps_counters_which_the_model_lacks_is_not_preferred(tmp_path, caplog):
    bare = {key: value for key, value in STATE.items() if not key.endswith("num_batches_tracked")}
    torch.save({"model": bare, "ema": OTHER}, tmp_path / "w.pth")
    model = network()
    load_weights(model, tmp_path / "w.pth")
    assert torch.equal(model.state_dict()["0.weight"], STATE["0.weight"])
    assert "left out 'ema'" in caplog.text


def test_a_wide_checkpoint_that_holds_itself_and_an_endless_name(tmp_path):
    content = {str(number): {} for number in range(300)}
    for value in content.values():
        value.update(content)
    assert "no state dict" in refused(content, tmp_path)
    assert "do not fit" in refused({"a." * 200_000: torch.ones(1)}, tmp_path)


def test_a_checkpoint_that_holds_itself(tmp_path):
    content = {"a": {}}
    content["a"]["a"] = content["a"]
    assert "no state dict" in refused(content, tmp_path)


# No code runs


class Trap:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return open, (self.mark, "w")


class Options(argparse.Namespace):
    """A subclass of what is allowed, with a trap of its own."""

    def __reduce__(self):
        return open, (self.mark, "w")


def traps(mark):
    rebuild = np.float64(1).__reduce__()[0]

    class Rebuilt:
        def __reduce__(self):
            return rebuild, (np.dtype("O"), Trap(mark))

    return {
        "beside": {"args": argparse.Namespace(lr=1), "extra": Trap(mark)},
        "inside": {"args": argparse.Namespace(lr=1, extra=Trap(mark))},
        "subclass with a reduce": {"args": Options(mark=str(mark))},
        "scalar of objects": {"best": Rebuilt()},
        "array of objects": {"best": np.array([Trap(mark)], dtype=object)},
        "key": {Holder(Trap(mark)): 1},
    }


class Holder(tuple):
    """A key that can be hashed and holds a trap."""

    def __new__(cls, trap):
        return super().__new__(cls, (trap,))


KINDS = ("beside", "inside", "subclass with a reduce", "scalar of objects", "array of objects", "key")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_trap_hidden_beside_what_is_allowed_never_runs(kind, zipped, tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "w.pth"
    content = {"model": STATE, **traps(mark)[kind]}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="refused; save"):
        read_weights(path)
    assert not mark.exists()
    with contextlib.suppress(TypeError):  # of NumPy, once the trap has run
        torch.load(path, weights_only=False)  # the trap is one
    assert mark.exists()


def test_allowed_names_call_nothing_of_theirs(tmp_path, monkeypatch):
    """Neither a constructor nor a `__setstate__` of what a file names is called, and no attribute of it is reached."""
    called = []
    torch.save({"model": STATE, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    monkeypatch.setattr(argparse.Namespace, "__init__", lambda *args, **kwargs: called.append(args))
    monkeypatch.setattr(argparse.Namespace, "__setstate__", lambda *args: called.append(args), raising=False)
    assert read_weights(tmp_path / "w.pth").keys() == STATE.keys()
    assert called == []


WAYS = ("argparse\n_os.system", "argparse\nNamespace.__init__.__globals__", "pathlib\nos.system")


@pytest.mark.parametrize("name", WAYS)
def test_a_way_through_an_allowed_module_is_refused(name, tmp_path):
    mark = tmp_path / "mark"
    command = f"touch {mark}".encode()
    code = b"\x80\x02c" + name.encode() + b"\nX" + len(command).to_bytes(4, "little") + command + b"\x85R."
    (tmp_path / "w.pth").write_bytes(code)
    assert "REDUCE" in [op.name for op, _, _ in pickletools.genops((tmp_path / "w.pth").read_bytes())]
    with pytest.raises(InputError):
        read_weights(tmp_path / "w.pth")
    assert not mark.exists()


def test_what_is_allowed_for_a_checkpoint_is_allowed_nowhere_else(tmp_path):
    torch.save({"model": STATE, "args": argparse.Namespace(lr=1)}, tmp_path / "w.pth")
    read_weights(tmp_path / "w.pth")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "w.pth", weights_only=True)


# Every loader


def test_the_embedded_detector(tmp_path, caplog):
    whole = load_detector("demo", "cpu").network.state_dict()
    content = {"state_dict": under("model.", whole), "args": argparse.Namespace(lr=1)}
    torch.save(content, tmp_path / "w.ckpt")
    found = load_detector("demo", "cpu", str(tmp_path / "w.ckpt")).network.state_dict()
    assert all(torch.equal(found[key], value) for key, value in whole.items())
    said = "taken from 'state_dict', prefix 'model.' stripped from the names"
    assert caplog.messages == [f"weights {tmp_path / 'w.ckpt'}: {said}"]


@pytest.mark.parametrize("model", ["vgg16_cifar10", "torchvision/squeezenet1_1"])
def test_classifiers(model, tmp_path, caplog):
    state = load_classifier(model, "cpu", "none").network.state_dict()
    state = {key: value + 0.5 if value.is_floating_point() else value for key, value in state.items()}
    content = {"model": under("module._orig_mod.", state), "args": argparse.Namespace(lr=1), "best": np.float64(0.5)}
    torch.save(content, tmp_path / "w.pth")
    found = load_classifier(model, "cpu", str(tmp_path / "w.pth")).network.state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())
    assert len(caplog.messages) == 1


def test_the_width_of_a_vgg16_is_read_behind_the_prefix(tmp_path):
    torch.save(under("module.", vgg16.VGG16(0.25).state_dict()), tmp_path / "w.pth")
    assert load_classifier("vgg16_cifar10", "cpu", str(tmp_path / "w.pth")).network.head.in_features == 128


def test_fitting_is_as_strict_as_before():
    with pytest.raises(InputError, match="1 unexpected"):
        fit_weights(network(), STATE | {"more": torch.ones(1)}, "w.pth")


# Class files


def names_of(folder: Path, name: str, text: str) -> list[tuple[str, int]]:
    (folder / name).write_text(text, encoding="utf-8")
    return [(c.name, c.coco_id) for c in read_categories(folder / name)]


OWN = [("scratch", 1), ("dent", 2)]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("names.txt", "scratch\ndent\n", None),
        ("names.txt", "\ufeffscratch\r\n\r\n dent \r\n", None),
        ("names.txt", "0: scratch\n1: dent\n", "the numbers of its lines"),
        ("names.txt", "2 dent\n1 scratch", "the numbers of its lines"),
        ("names.csv", "0,scratch\n1,dent\n", "the numbers of its lines"),
        ("data.yaml", "nc: 2\nnames: [scratch, dent]\n", "'names'"),
        ("data.yaml", "path: ../x\nnames:\n  1: dent\n  0: scratch\n", "'names'"),
        ("data.txt", "nc: 2\nnames: ['scratch', 'dent']\n", "'names'"),
        ("list.yaml", "- scratch\n- dent\n", None),
        ("names.json", '["scratch", "dent"]', None),
        ("config.json", '{"id2label": {"1": "dent", "0": "scratch"}, "label2id": {"dent": 1}}', "'id2label'"),
        ("id2label.json", '{"0": "scratch", "1": "dent"}', "its numbers"),
        ("coco.json", '{"categories": [{"id": 2, "name": "dent"}, {"id": 1, "name": "scratch"}]}', None),
        ("coco.json", '[{"id": 1, "name": "scratch"}, {"id": 2, "name": "dent"}]', None),
    ],
)
def test_class_files(name, text, said, tmp_path, caplog):
    assert names_of(tmp_path, name, text) == OWN
    shown = [f"categories {tmp_path / name}: 2 classes, by {said}: 'scratch', 'dent'"] if said else []
    assert caplog.messages == shown


def test_names_are_the_text_that_they_are(tmp_path):
    assert [n for n, _ in names_of(tmp_path, "a.yaml", "names: [no, 010, 1e3]")] == ["no", "010", "1e3"]
    assert [n for n, _ in names_of(tmp_path, "a.txt", "7 up\ncola")] == ["7 up", "cola"]
    assert [n for n, _ in names_of(tmp_path, "b.txt", "0\n1\n2")] == ["0", "1", "2"]
    assert [n for n, _ in names_of(tmp_path, "b.csv", "0;car\n1; bus, coach")] == ["car", "bus, coach"]
    assert [n for n, _ in names_of(tmp_path, "b.json", '["car; bus"]')] == ["car; bus"]
    assert [n for n, _ in names_of(tmp_path, "a.json", '["4 wheels", "2 wheels"]')] == ["4 wheels", "2 wheels"]
    assert names_of(tmp_path, "ids.json", '[{"id": 10, "name": "b"}, {"id": 9, "name": "a"}]') == [("a", 9), ("b", 10)]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "4 wheels\n2 wheels", "without a gap"),
        ("a.txt", "0 a\n2 b", "without a gap"),
        ("a.txt", "car;bus;truck", "'car;bus;truck' has semicolons"),
        ("a.csv", "id;name\n0;car\n1;bus", "'id;name' has semicolons"),
        ("a.csv", "0;car;vehicle\n1;bus;vehicle", "'car;vehicle' has semicolons"),
        ("a.json", '{"0": "a", "2": "b"}', "without a gap"),
        ("a.json", '{"0": "a", "zero": "b"}', "'zero' is no number"),
        ("a.yaml", "nc: 3\nnames: [a, b]", "nc is 3, but 2 classes are named"),
        ("a.yaml", "names: [a, [b]]", "none of names, one a line"),
        ("a.yaml", "train: images", "no number of a class"),
        ("a.yaml", "names: [a", "not YAML"),
        ("a.json", "[1, 2]", "none of names"),
        ("a.json", '["a", "a"]', "names 'a' twice"),
        ("a.json", '["a", " "]', "has no name"),
        ("a.json", '[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]', "the same id"),
        ("a.json", '[{"id": 1.5, "name": "a"}]', "'1.5' is no number"),
        ("a.json", '[{"name": "a"}]', "without `id` or `name`"),
        ("a.json", '{"0": "a", "1": "b", "0": "c"}', "key '0' twice"),
        ("a.json", '{"id2label": {"0": "a", "0": "c"}}', "key '0' twice"),
        ("a.yaml", "names:\n  0: a\n  1: b\n  1: c\n", "key '1' twice"),
        ("a.json", "{", "not JSON"),
        ("a.yaml", "names: []", "names no class"),
    ],
)
def test_class_files_that_are_refused(name, text, words, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError) as error:
        read_categories(tmp_path / name)
    assert words in str(error.value)
    assert str(error.value).startswith(f"categories {tmp_path / name}: ")
    assert len(str(error.value).splitlines()) == 1


def test_a_classifier_reads_the_same_files(tmp_path):
    torch.save(vgg16.VGG16(0.5, 2).state_dict(), tmp_path / "w.pth")
    (tmp_path / "data.yaml").write_text("nc: 2\nnames: [scratch, dent]\n")
    found = load_classifier("vgg16_cifar10", "cpu", str(tmp_path / "w.pth"), categories=str(tmp_path / "data.yaml"))
    assert found.classes == ("scratch", "dent")


def test_a_root_that_others_belong_to_is_no_class(tmp_path, caplog):
    root = {"id": 0, "name": "parts", "supercategory": "none"}
    classes = [{"id": i, "name": name, "supercategory": "parts"} for i, name in ((1, "bolt"), (2, "nut"))]
    written = {"categories": [root, *classes]}
    assert names_of(tmp_path, "a.json", json.dumps(written)) == [("bolt", 1), ("nut", 2)]
    assert "'parts' is no class" in caplog.text
    written["annotations"] = [{"category_id": 0}]
    assert [name for name, _ in names_of(tmp_path, "a.json", json.dumps(written))] == ["parts", "bolt", "nut"]
    own = [{"id": 1, "name": "bolt", "supercategory": "bolt"}]
    assert names_of(tmp_path, "a.json", json.dumps(own)) == [("bolt", 1)]


def test_categories_with_texts_for_ids_are_in_the_order_of_the_file(tmp_path, caplog):
    written = [{"id": "b-7", "name": "nut"}, {"id": "a-3", "name": "bolt"}]
    assert names_of(tmp_path, "a.json", json.dumps(written)) == [("nut", 1), ("bolt", 2)]
    assert "the order of the file" in caplog.text


@pytest.mark.parametrize(
    "text", ["<!DOCTYPE html>", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"]
)
def test_what_is_no_checkpoint_is_not_called_code(text, tmp_path):
    (tmp_path / "w.pth").write_text(text)
    with pytest.raises(InputError, match="no checkpoint that can be read"):
        read_weights(tmp_path / "w.pth", network().state_dict())
