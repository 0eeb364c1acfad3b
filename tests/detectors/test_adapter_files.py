"""Adapters in files: what they may import, and that nobody else notices."""

import subprocess
import sys
from pathlib import Path

import pytest

from detattack.core.errors import InputError
from detattack.detectors.adapter_files import factory_of_file

POSTPONED = """from __future__ import annotations
from dataclasses import dataclass, fields

@dataclass
class Settings:
    __slots__ = ("size",)
    size: int

def factory(device):
    return [field.name for field in fields(Settings(3))]
"""


def folder(root: Path, name: str, **files: str) -> str:
    """A folder of Python files; the spec of its `adapter.py`."""
    (root / name).mkdir()
    for stem, code in files.items():
        (root / name / f"{stem}.py").write_text(code)
    return f"{root / name / 'adapter.py'}:factory"


def test_dataclasses_with_postponed_annotations(tmp_path):
    assert factory_of_file(folder(tmp_path, "a", adapter=POSTPONED))("cpu") == ["size"]


NEIGHBOR = "from model import WHO\ndef factory(device):\n    import late\n    return WHO, late.WHO\n"


def test_modules_beside_files_of_the_same_names_do_not_collide(tmp_path):
    specs = [
        folder(
            tmp_path,
            name,
            adapter=NEIGHBOR,
            model="from deep import WHO",
            deep=f"WHO = '{name}'",
            late=f"WHO = '{name} late'",
        )
        for name in ("a", "b")
    ]
    before = dict(sys.modules)
    first, second = map(factory_of_file, specs)
    assert [first("cpu"), second("cpu"), first("cpu")] == [("a", "a late"), ("b", "b late"), ("a", "a late")]
    assert {name for name in set(sys.modules) - set(before) if not name.startswith("detattack_file_adapter_")} == set()
    assert [sys.modules[name] for name in before] == list(before.values())


def test_a_factory_that_loads_another_file(tmp_path):
    inner = folder(tmp_path, "inner", adapter=NEIGHBOR, model="WHO = 'inner'", late="WHO = 1")
    code = (
        NEIGHBOR
        + f"""
from detattack.detectors.adapter_files import factory_of_file
def both(device):
    found = factory_of_file({inner!r})(device)
    import late
    return found, late.WHO
"""
    )
    outer = folder(tmp_path, "outer", adapter=code, model="WHO = 'outer'", late="WHO = 2")
    assert factory_of_file(outer.replace(":factory", ":both"))("cpu") == (("inner", 1), 2)


def test_a_package_beside_it_and_one_without_an_init(tmp_path):
    spec = folder(
        tmp_path,
        "a",
        adapter="from whole.part import A\nfrom bare.part import B\ndef factory(device):\n    return A, B\n",
    )
    for name, value in (("whole", "A = 1"), ("bare", "B = 2")):
        (tmp_path / "a" / name).mkdir()
        (tmp_path / "a" / name / "part.py").write_text(value)
    (tmp_path / "a" / "whole" / "__init__.py").touch()
    assert factory_of_file(spec)("cpu") == (1, 2)


def test_a_pickle_finds_the_classes_beside_the_file(tmp_path):
    code = (
        "import io, pickle\nfrom model import Net\ndef factory(device):\n    return pickle.loads(pickle.dumps(Net()))\n"
    )
    built = factory_of_file(folder(tmp_path, "a", adapter=code, model="class Net:\n    pass\n"))("cpu")
    assert type(built).__name__ == "Net"


def test_modules_named_like_others_are_for_the_file_alone(tmp_path):
    """`sched` and `sewar` are not imported yet; a library that asks for its own gets it while the file is loaded."""
    code = "import library\nfrom sewar import OWN\nimport sched\n"
    code += "def factory(device):\n    return OWN, sched.OWN, library.THEIRS\n"
    spec = folder(tmp_path, "a", adapter=code, sched="OWN = 'sched'", sewar="OWN = 'sewar'")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "library.py").write_text("import wave\nTHEIRS = wave.__name__\n")
    (tmp_path / "a" / "wave.py").write_text("raise SystemError('the library got the wrong one')")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "elsewhere")!r})
from detattack.detectors.adapter_files import factory_of_file
print(factory_of_file({spec!r})("cpu"))
import sched, sewar
print(hasattr(sched, "OWN"), hasattr(sewar, "OWN"), sched.scheduler, sewar.uqi)
"""
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert said.stdout.splitlines()[:1] == ["('sewar', 'sched', 'wave')"], said.stderr
    assert said.stdout.splitlines()[1].startswith("False False")


def test_a_file_that_cannot_be_imported_leaves_nothing(tmp_path):
    spec = folder(tmp_path, "a", adapter="import model\nraise ValueError('no')", model="")
    before = set(sys.modules)
    with pytest.raises(InputError, match=r"adapter.py cannot be imported \(ValueError: no\)"):
        factory_of_file(spec)
    assert set(sys.modules) == before
    assert not [finder for finder in sys.meta_path if "Neighbors" in repr(finder)]
    with pytest.raises(InputError, match="has no function 'other'"):
        factory_of_file(folder(tmp_path, "b", adapter="other = 1").replace(":factory", ":other"))


def test_the_types_keep_the_name_that_adapters_import_them_by():
    from detattack import types
    from detattack.detectors import base

    assert types.Category is base.Category
    assert types.Candidates is base.Candidates
    assert types.Detections is base.Detections
