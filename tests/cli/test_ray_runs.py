"""Runs whose images are attacked by Ray's workers: the same bytes as by one process, also where workers die."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.coco_squares import made, write_data

if (Path.home() / ".ray" / "auth_token").is_file():  # which Ray shows only where it is asked to as it is imported
    os.environ.setdefault("RAY_AUTH_MODE", "token")
pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SUPPRESS = ("--goal", "suppress:car", "--max-iterations", 8, "--quality", "quick", "--batch", 2, "--device", "cpu")
TOO_LONG_S = 300
ONCE = """
import os, sys
from pathlib import Path
sys.path.insert(0, str(Path({toy!r}).parent))
from toy import Toy

def factory(device):
    if Path("loaded").exists():
        {failing}
    Path("loaded").touch()
    return Toy(device)
"""
"""A model that one process can load, and no other."""
BREAKING = """
import sys
from pathlib import Path
sys.path.insert(0, str(Path({toy!r}).parent))
from toy import Toy, is_marked

class Breaking(Toy):
    broken = False

    def detect(self, images, score_threshold):
        Breaking.broken |= is_marked(images) and not Path("well").exists()
        if self.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super().detect(images, score_threshold)

factory = Breaking
"""
"""A model that breaks its device for the whole process on the marked image."""
FAILING = [
    ('raise RuntimeError("only once")', 2, "model once.py:factory: its factory failed (RuntimeError: only once)"),
    ("os._exit(1)", 1, "2 workers died, and nothing was done in between"),
]


@pytest.fixture(scope="module")
def environment() -> Iterator[None]:
    """Of Ray and of programs of their own: one thread, as the workers have."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    ours = {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ours.items():
            patch.setenv(name, value)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cluster(environment) -> Iterator[Any]:
    """Ray with one node, as `ray start --head` makes it, with room for two workers."""
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield started
    started.shutdown()


@pytest.fixture
def evaluate(cli, toy, environment):
    """Evaluates a data set: `evaluate("run", *write_data(tmp_path), "--ray")`."""

    def call(out: str, *arguments: object, factory: str = "factory"):
        return cli("evaluate", *arguments, *SUPPRESS, "--model", f"{toy}:{factory}", "--out", out, "--json")

    return call


@pytest.fixture
def program(toy, tmp_path, environment):
    """The same in a process of its own, which a signal can be sent to."""
    started = []

    def start(out: str, *arguments: object, factory: str = "factory") -> subprocess.Popen:
        given = [*arguments, *SUPPRESS, "--model", f"{toy}:{factory}", "--out", out]
        line = [sys.executable, "-m", "detattack", "evaluate", *map(str, given)]
        pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        started.append(subprocess.Popen(line, cwd=tmp_path, text=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def loaded(toy) -> Iterator[Callable[[int], set[int]]]:
    """The processes that have loaded the `registered` detector, but for one: `loaded(os.getpid())`."""
    folder = Path(toy).parent

    def found(but: int) -> set[int]:
        return {int(path.name.partition("-")[2]) for path in folder.glob("process-*")} - {but}

    yield found
    for path in folder.glob("process-*"):
        path.unlink()


def wait_for(condition: Callable[[], Any]) -> Any:
    """What `condition` returns, once it is true."""
    end = time.monotonic() + TOO_LONG_S
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise TimeoutError


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def images(folder: Path) -> list[Path]:
    return sorted((folder / "images").glob("*.png"))


def test_ray_started_here_gives_the_same_bytes_and_says_where_its_dashboard_is(evaluate, tmp_path):
    data = write_data(tmp_path, 9)
    assert evaluate("alone", *data).status == 0
    said = evaluate("spread", *data, "--ray", "--workers", 2)
    assert said.status == 0, said.err
    assert said.json["summary"]["images"] == 9
    assert "Ray: 2 workers of 1 CPU; dashboard: http://" in said.err
    assert made(tmp_path / "spread") == made(tmp_path / "alone")


def test_a_comparison_keeps_its_workers_and_its_control_knows_the_lengths(cli, toy, cluster, tmp_path):
    given = ("--methods", "jnd,noise", "--goal", "suppress:car", "--max-iterations", 8, "--batch", 2, "--device", "cpu")
    given = ("compare", *write_data(tmp_path), *given, "--model", f"{toy}:factory", "--quiet")
    assert cli(*given, "--out", "alone").status == 0
    assert cli(*given, "--out", "spread", "--ray", cluster.address).status == 0
    for method in ("jnd", "noise"):
        assert made(tmp_path / "spread" / method) == made(tmp_path / "alone" / method)


def test_classifiers_are_compared_by_workers(cli, cluster, picture, tmp_path):
    for number, place in enumerate(("car@8,8", "dog@8,8", "person@8,8", "car@24,8")):
        picture(f"photos/{number}", place)
    (tmp_path / "toy.py").write_text((ROOT / "tests" / "toy_classifier.py").read_text())
    given = ("classify", "compare", "--methods", "fgsm,noise", "--batch", 2, "--device", "cpu", "--quiet")
    given = (*given, "--model", "toy.py:Channels", "--images", "photos")
    assert cli(*given, "--out", "alone").status == 0
    said = cli(*given, "--out", "spread", "--ray", cluster.address)
    assert said.status == 0, said.err
    for method in ("fgsm", "noise"):
        assert made(tmp_path / "spread" / method) == made(tmp_path / "alone" / method)


def test_killed_workers_cost_nothing_but_time(evaluate, cluster, loaded, tmp_path):
    data = write_data(tmp_path, 24)
    assert evaluate("alone", *data).status == 0
    killed, over = set(), threading.Event()

    def kill_workers() -> None:
        """The oldest, each time that another has loaded the model and some more images are there."""
        for count in (2, 6, 10):
            wait_for(lambda count=count: over.is_set() or len(images(tmp_path / "spread")) >= count)
            for process in sorted(filter(alive, loaded(os.getpid()) - killed))[:1]:
                os.kill(process, signal.SIGKILL)
                killed.add(process)

    killer = threading.Thread(target=kill_workers)
    killer.start()
    said = evaluate("spread", *data, "--ray", cluster.address, factory="registered")
    over.set()
    killer.join()
    assert said.status == 0, said.err
    assert len(killed) == 3
    assert said.json["summary"]["error"] == 0
    assert made(tmp_path / "spread") == made(tmp_path / "alone")


def test_an_image_that_kills_its_worker_is_given_up_and_its_neighbors_are_attacked(evaluate, cluster, tmp_path):
    data = write_data(tmp_path, 6, mark=2)
    assert evaluate("alone", *data).status == 0
    said = evaluate("spread", *data, "--ray", cluster.address, factory="deadly")
    assert said.status == 0, said.err
    found = {image["id"]: image for image in said.json["images"]}
    assert (found[98]["status"], found[98]["reason"]) == ("error", "3 workers died while they attacked it")
    assert [image["status"] for image in found.values()].count("error") == 1
    spread, alone = made(tmp_path / "spread"), made(tmp_path / "alone")
    stem = found[98]["stem"]
    for name in (name for name in alone if name.endswith(".png")):
        assert (spread[name] == alone[name]) == (stem not in name), name


def test_a_worker_whose_device_breaks_is_replaced_and_errors_are_tried_again(cli, toy, cluster, environment, tmp_path):
    data = write_data(tmp_path, 6, mark=2)
    (tmp_path / "breaking.py").write_text(BREAKING.format(toy=toy))
    given = ("evaluate", *data, *SUPPRESS, "--model", "breaking.py:factory", "--json")
    (tmp_path / "well").touch()
    assert cli(*given, "--out", "alone").status == 0
    (tmp_path / "well").unlink()
    said = cli(*given, "--out", "spread", "--ray", cluster.address)
    assert said.status == 0, said.err
    errors = [image for image in said.json["images"] if image["status"] == "error"]
    assert [(image["id"], image["reason"]) for image in errors] == [(98, "3 workers died while they attacked it")]
    (tmp_path / "well").touch()
    said = cli(*given, "--out", "spread", "--ray", cluster.address, "--resume", "--retry-errors")
    assert said.status == 0, said.err
    assert made(tmp_path / "spread") == made(tmp_path / "alone")


@pytest.mark.parametrize(("failing", "status", "words"), FAILING, ids=["an error", "a crash"])
def test_a_model_that_workers_cannot_load_ends_the_run(
    cli, cluster, toy, tmp_path, monkeypatch, failing, status, words
):
    monkeypatch.setattr("detattack.runs.ray_workers.MOST_IN_A_ROW", 1)
    once = tmp_path / "once.py"
    once.write_text(ONCE.format(failing=failing, toy=toy))
    given = (*write_data(tmp_path), *SUPPRESS, "--model", "once.py:factory", "--out", "run", "--ray", cluster.address)
    said = cli("evaluate", *given, "--quiet")
    assert said.status == status
    assert "Traceback" not in said.err
    assert words in said.err.splitlines()[-1]  # Ray itself may say before that a worker died


def test_a_driver_that_is_killed_takes_its_workers_along_and_another_goes_on(
    evaluate, program, cluster, loaded, tmp_path
):
    data = write_data(tmp_path, 12)
    assert evaluate("alone", *data).status == 0
    driver = program("spread", *data, "--ray", cluster.address, factory="registered")
    wait_for(lambda: len(images(tmp_path / "spread")) >= 4)
    driver.kill()
    wait_for(lambda: not any(map(alive, loaded(os.getpid()))))
    assert not (tmp_path / "spread" / "summary.json").exists()
    said = evaluate("spread", *data, "--ray", cluster.address, "--resume", factory="registered")
    assert said.status == 0, said.err
    assert made(tmp_path / "spread") == made(tmp_path / "alone")


def test_interrupted_by_hand_the_run_is_resumable_without_ray(evaluate, program, cluster, loaded, tmp_path):
    data = write_data(tmp_path, 12)
    assert evaluate("alone", *data).status == 0
    driver = program("spread", *data, "--ray", cluster.address, factory="registered")
    wait_for(lambda: len(images(tmp_path / "spread")) >= 4)
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=TOO_LONG_S)
    assert driver.returncode == 130
    assert "interrupted; --out spread --resume goes on" in err
    assert "Traceback" not in err
    wait_for(lambda: not any(map(alive, loaded(os.getpid()))))
    assert evaluate("spread", *data, "--resume", factory="registered").status == 0
    assert made(tmp_path / "spread") == made(tmp_path / "alone")


def test_a_node_that_is_lost_leaves_its_work_to_the_others(evaluate, environment, tmp_path):
    from ray.cluster_utils import Cluster

    data = write_data(tmp_path, 24)
    assert evaluate("alone", *data).status == 0
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = nodes.add_node(num_cpus=1)

    def stop_second() -> None:
        wait_for(lambda: len(images(tmp_path / "spread")) >= 6)
        nodes.remove_node(second, allow_graceful=False)

    stopper = threading.Thread(target=stop_second)
    stopper.start()
    try:
        said = evaluate("spread", *data, "--ray", nodes.address, factory="registered")
        stopper.join()
    finally:
        nodes.shutdown()
    assert said.status == 0, said.err
    assert "Ray: 2 workers" in said.err
    assert made(tmp_path / "spread") == made(tmp_path / "alone")


def test_an_address_where_no_ray_is_and_one_that_has_no_room(cli, toy, cluster, tmp_path):
    given = ("evaluate", *write_data(tmp_path), *SUPPRESS, "--model", f"{toy}:factory", "--quiet")
    said = cli(*given, "--ray", "127.0.0.1:1", "--out", "nowhere")
    assert (said.status, len(said.err.splitlines())) == (2, 1)
    assert "--ray 127.0.0.1:1: no Ray there" in said.err
    said = cli(*given, "--ray", cluster.address, "--cpus-per-worker", 3, "--out", "small")
    assert said.status == 2
    assert said.err.splitlines() == ["detattack: --ray: a worker needs 3 CPUs, and there are 2 CPUs and 0 GPUs"]
