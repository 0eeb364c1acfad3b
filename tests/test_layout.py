"""The rooms of the source tree: each imports only what lies below it, and their picture is current."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "detattack"
FLOORS = (
    ("core",),
    ("engine", "datasets", "types"),
    ("metrics",),
    ("detectors", "runs"),
    ("report",),
    ("tasks",),
    ("ranking",),
    ("workflows",),
    ("cli",),
    ("api",),
    ("classify",),
)
"""From the ground up. A room imports rooms of lower floors alone."""


def _rooms():
    spec = importlib.util.spec_from_file_location("rooms", ROOT / "docs" / "rooms.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["rooms"] = module
    spec.loader.exec_module(module)
    return module


rooms = _rooms()


def upward(house) -> list[str]:
    """The arrows of a house that do not lead to a lower floor."""
    floor = {room: number for number, some in enumerate(FLOORS) for room in some}
    return [f"{start} -> {to} {files}" for (start, to), files in house.arrows.items() if floor[to] >= floor[start]]


@pytest.fixture
def house(tmp_path):
    """Reads a house of two files, `core/a.py` and one more, whose text is given."""

    def read(path: str, text: str):
        for name, content in (("detattack/core/a.py", ""), (path, text)):
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        return rooms.read_house(tmp_path)

    return read


def test_the_table_of_libraries_is_the_programs():
    spec = importlib.util.spec_from_file_location("checked", ROOT / "docs" / "checked.py")
    checked = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checked)
    page = checked.PAGE.read_text(encoding="utf-8")
    assert page == checked.written(page, checked.rows_of(page)), "python docs/checked.py writes it"


def test_every_room_imports_lower_ones_alone():
    assert upward(rooms.read_house()) == []


def test_every_room_has_a_floor_and_is_there():
    assert sorted(rooms.read_house().lines) == sorted(room for some in FLOORS for room in some)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("detattack/core/b.py", "import detattack.engine.loop"),
        ("detattack/core/b.py", "def late():\n    from detattack import engine"),
        ("detattack/metrics/b.py", "from detattack.detectors.base import Detector"),
        ("detattack/workflows/b.py", "if False:\n    from classify.task import CLASSIFICATION"),
    ],
)
def test_an_arrow_upwards_is_found_wherever_it_stands(house, path, text):
    assert len(upward(house(path, text))) == 1


def test_a_circle_has_no_floors(house):
    house("detattack/core/b.py", "import detattack.engine")
    circle = house("detattack/engine/c.py", "import detattack.core")
    with pytest.raises(ValueError, match="circle among core, engine"):
        circle.floors()


def test_the_picture_of_the_rooms_is_current():
    assert rooms.PICTURE.read_text(encoding="utf-8") == rooms.drawn(rooms.read_house()), "python docs/rooms.py draws it"


@pytest.mark.parametrize("path", sorted((PACKAGE / "engine").rglob("*.py")), ids=lambda path: path.name)
def test_the_engine_needs_torch_and_no_other_library(path):
    libraries = {"torch", "pydantic", "yaml"} if path.name == "config.py" else {"torch"}
    names = {name.split(".")[0] for name in rooms.imported(ast.parse(path.read_text(encoding="utf-8")))}
    assert names <= {*sys.stdlib_module_names, *libraries, "detattack"}


@pytest.mark.parametrize("module", ["detattack", "detattack.cli"])
def test_no_torch_for_a_help_text(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or f"{module} imports torch"
