"""What several rooms' tests share: a detector of colored squares, and pictures for it."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image

from tests.toy_pictures import marked, squares

if "PYTEST_XDIST_WORKER" in os.environ:  # a core each; read when torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a job in the background ignores it, and so would its children
    signal.signal(signal.SIGINT, signal.default_int_handler)
TOY = Path(__file__).parent / "toy_detector.py"


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
