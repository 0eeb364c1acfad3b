"""Two processes on one run folder: the second is refused; one that is gone, however it went, holds nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from detattack.core.errors import InputError
from detattack.core.files import LOCK, locked
from tests.faults.faulty import left

ROOT = Path(__file__).parents[2]


@pytest.fixture
def busy(toy, tmp_path, picture):
    """A run that is at work and stays so, and its command line; killed in the end."""
    own = tmp_path / "toy.py"
    own.write_bytes(Path(toy).read_bytes())
    (tmp_path / "wait").touch()
    images = [str(picture("a", "car@8,8")), str(picture("b", "car@8,8", mark=True))]
    line = ["untargeted", *images, "--model", f"{own}:slow", "--device", "cpu", "--out", "run", "--quiet"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "detattack", *line], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert any("working" in said for said in iter(process.stderr.readline, ""))
    yield process, line
    process.kill()
    process.communicate()


@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_the_second_is_refused_and_touches_nothing(busy, cli_here, tmp_path, resume):
    _, line = busy
    before = left(tmp_path / "run")
    status, said = cli_here(*line, *resume)
    assert status == 2
    assert said == "detattack: folder run: is in use by another process\n" or not resume
    assert len(said.splitlines()) == 1
    assert left(tmp_path / "run") == before


def test_the_page_of_a_run_at_work_leaves_its_unfinished_files_alone(busy, cli_here, tmp_path):
    (tmp_path / "run" / "images" / ".tmp-0123456789abcdef").write_bytes(b"half a pic")
    assert cli_here("report", "run", "--quiet")[0] == 0
    assert (tmp_path / "run" / "report.html").is_file()
    assert (tmp_path / "run" / "images" / ".tmp-0123456789abcdef").is_file()


def test_what_a_killed_process_held_is_free(busy, cli_here, tmp_path):
    process, line = busy
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "run" / LOCK).exists()
    (tmp_path / "wait").unlink()
    assert cli_here(*line, "--resume") == (0, "run\n")
    assert len(list((tmp_path / "run" / "images").iterdir())) == 2


@pytest.fixture
def cli_here(tmp_path, monkeypatch, capsys):
    """Exit status and stderr of a command line in this process."""
    from detattack.cli import status_of

    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        return status_of(list(arguments)), capsys.readouterr().err

    return call


def test_a_folder_is_held_until_it_is_left(tmp_path):
    with locked(tmp_path), pytest.raises(InputError, match="another process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        assert (tmp_path / LOCK).read_bytes() == b""


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / LOCK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link|symlink"), locked(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
