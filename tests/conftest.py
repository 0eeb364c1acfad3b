"""What several rooms' tests share: a detector of colored squares, and pictures for it."""

import os
import shutil
import signal
from functools import cache
from pathlib import Path

import pytest
from PIL import Image
from typer.main import get_command

from tests.toy_pictures import marked, squares

if "PYTEST_XDIST_WORKER" in os.environ:  # a core each; read when torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a job in the background ignores it, and so would its children
    signal.signal(signal.SIGINT, signal.default_int_handler)
TOY = Path(__file__).parent / "toy_detector.py"
LONGEST = (
    "test_accelerator.py",
    "torchvision/test_models.py",
    "test_extensions.py",
    "test_first_touch.py",
    "test_kills.py",
    "test_parity.py",
    "test_experiments.py",
    "test_rank.py",
)
"""Files that take minutes: begun last, one of them is all that is left to do, on one core."""


def pytest_configure(config):
    if hasattr(config.option, "loadscopereorder"):  # xdist puts files of few tests last, however long they take
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    def place(item) -> int:
        path = item.path.as_posix()
        return next((i for i, name in enumerate(LONGEST) if path.endswith(name)), len(LONGEST))

    items.sort(key=place)


@pytest.fixture(autouse=True, scope="session")
def commands_built_once():
    """All commands, as they are built for the first command line: that takes longer than many a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("detattack.cli.get_command", cache(get_command))
        yield


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> str:
    """What `--model` takes: a third party's file, outside of the repository; without `:factory`."""
    return str(shutil.copy(TOY, tmp_path_factory.mktemp("third party") / "toy.py"))


@pytest.fixture
def picture(tmp_path):
    """Writes a PNG of `squares` and returns its path: `picture("a", "car@8,16")`."""

    def write(name: str, *places: str, mark: bool = False, **options) -> Path:
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = squares(*places, **options)
        Image.fromarray(marked(pixels) if mark else pixels).save(path)
        return path

    return write
