"""Who may import whom: downwards only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "detattack"
UPPER = ("runner", "cli", "api", "report")
LOWER = ("types", "boxes", "goals", "objectives", "errors", "files", "images", "quality", "datasets", "config")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, by its full name; relative ones resolved."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = path.relative_to(ROOT).with_suffix("").parts[: -node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def of_package(names: set[str], package: str) -> set[str]:
    return {name for name in names if name == package or name.startswith(package + ".")}


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_are_found_wherever_they_stand(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "b.py"
    file.write_text("import x.y\ndef f():\n    from ..c import d\n    from . import e\n")
    assert imported(file) >= {"x.y", "a.e"}
    assert of_package({"detattack.cli", "detattack.clip"}, "detattack.cli") == {"detattack.cli"}


@pytest.mark.parametrize("path", sources(PACKAGE / "engine"), ids=ids)
def test_the_engine_imports_torch_the_standard_library_core_and_itself(path):
    libraries = {"torch", "pydantic", "yaml"} if path.name == "config.py" else {"torch"}
    outside = {n for n in imported(path) if n.split(".")[0] not in {*sys.stdlib_module_names, *libraries}}
    assert outside == of_package(outside, "detattack.engine") | of_package(outside, "detattack.core")


LOWER_FILES = [PACKAGE / f"{name}.py" for name in LOWER if (PACKAGE / f"{name}.py").exists()]


@pytest.mark.parametrize("path", LOWER_FILES + sources(PACKAGE / "detectors") + sources(PACKAGE / "scenes"), ids=ids)
def test_lower_rooms_do_not_import_upper_ones(path):
    names = imported(path)
    assert not set().union(*(of_package(names, f"detattack.{upper}") for upper in UPPER))


@pytest.mark.parametrize("path", sources(PACKAGE), ids=ids)
def test_only_cli_and_api_import_classify(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert room in ("cli", "api") or not of_package(imported(path), "classify")


def test_classify_imports_what_it_shares_and_nothing_of_detection():
    names = set().union(*map(imported, sources(ROOT / "classify")))
    for room in ("detection", "job", "objectives", "goals", "scenes", "coco_data", "coco_eval", "api"):
        assert not of_package(names, f"detattack.{room}")


@pytest.mark.parametrize("module", ["detattack", "detattack.cli"])
def test_no_torch_for_a_help_text(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr or f"{module} imports torch"
