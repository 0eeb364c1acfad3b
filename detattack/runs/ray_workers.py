"""An executor of processes on one machine or many, by Ray (the extra `[ray]`).

Each holds the model once and is handed one part after the other; this process alone writes the run folder. Ray gives
processes, their accelerators and their results; what is handed out when is decided in `scheduler`.
"""

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Generic

from detattack.core.environment import deciding
from detattack.core.errors import InputError
from detattack.core.faults import DeviceBroken
from detattack.core.plugins import VARIABLE, load_plugins, plugin_files
from detattack.runs.batching import Batch
from detattack.runs.record import Outcome, R, packed
from detattack.runs.runner import AttackBatch, Runnable, attack_batch, give_up
from detattack.runs.scheduler import MOST_DEATHS, HandingOut, Part

AHEAD = 16
"""Batches a worker that may be under way or wait for an earlier one: enough that uneven ones hold nobody up."""
AT_HAND = 2
"""Parts that a worker has been given at a time, so that it need not wait for this process between two."""
MOST_IN_A_ROW = 8
"""Deaths a worker, with nothing done in between: more than the worst image can cause, so something else is wrong."""
REACH_S = 10
"""Until an address counts as unreachable."""
PATIENCE_S = 60
"""Until it is said that there is no room for a worker."""
REASON = f"{MOST_DEATHS} workers died while they attacked it"


@dataclass(frozen=True)
class Workers:
    """What workers are wanted.

    - address: HOST:PORT, or `auto`, the Ray that runs on this machine already; None for one that is started here, for
      this process alone
    - count: None for as many as there is room for
    - cpus: cores, and threads, of each
    - gpus: of each; a share of one is shared
    """

    address: str | None = None
    count: int | None = None
    cpus: int = 1
    gpus: float = 0

    def room(self, resources: dict[str, float]) -> int:
        """How many there is room for. resources: as Ray counts them."""
        rooms = [resources.get("CPU", 0) / self.cpus]
        rooms += [resources.get("GPU", 0) / self.gpus] if self.gpus else []
        return int(min(rooms))

    def environment(self) -> dict[str, str]:
        """For the same bytes as many threads, and what else decides; none that keeps a core busy; the same plugins."""
        plugins = os.pathsep.join(map(str, plugin_files()))
        return {**deciding(), "OMP_NUM_THREADS": str(self.cpus), "OMP_WAIT_POLICY": "PASSIVE", VARIABLE: plugins}

    def __str__(self) -> str:
        """Tell what one of them needs."""
        cpus = f"{self.cpus} CPU{'s'[: self.cpus > 1]}"
        return f"{cpus} and {self.gpus:g} GPU{'s'[: self.gpus > 1]}" if self.gpus else cpus


class Worker:
    """What runs in a process of its own."""

    def start(self, folder: Path, load: Callable[[], Any]) -> None:
        """Load the model, in the folder that relative paths are relative to."""
        try:
            os.chdir(folder)
        except OSError as error:
            raise InputError(f"folder {folder}: is not on every machine of the cluster ({error.strerror})") from error
        load_plugins()
        self._model = load()

    def attack(self, job: AttackBatch[R], record_type: type[R], part: Part) -> list[Outcome[R]]:
        """Attack a part; return its outcomes, as the run folder takes them."""
        if part.hopeless:
            outcomes = [give_up(record_type, sample, REASON) for sample in part.samples]
        else:
            outcomes = attack_batch(partial(job, self._model), record_type, part.samples)
        return [packed(outcome) for outcome in outcomes]


@dataclass(eq=False)
class _Employed:
    """A worker as this process knows it.

    given: what it is to do, in order, each with the result that is to come; None is to load the model.
    """

    actor: Any
    given: deque[tuple[Any, Part | None]] = field(default_factory=deque)

    @property
    def started(self) -> bool:
        return not self.given or self.given[0][1] is not None


@dataclass(frozen=True)
class _Assignment(Generic[R]):
    """A run as workers do it. job: where Ray keeps it."""

    job: Any
    record_type: type[R]
    handing_out: HandingOut[R]


class RayPool:
    """A executor that is there from the first batch to the end of the `with` statement.

    load: what gives each worker its model. say: told where Ray's dashboard is, and when there is no room for workers.
    """

    def __init__(self, wanted: Workers, load: Callable[[], Any], say: Callable[[str], None]) -> None:
        self._wanted = wanted
        self._load = load
        self._say = say
        self._workers: list[_Employed] = []
        self._deaths_in_a_row = 0

    def __enter__(self) -> "RayPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._workers:
            import ray

            ray.shutdown()  # ends all workers, whatever they do
            self._workers = []

    def attack(self, run: Runnable[R], record_type: type[R], batches: Sequence[Batch]) -> Iterator[list[Outcome[R]]]:
        """Yield the outcomes of each batch, in the order of the batches.

        Raises `InputError` for what concerns all of them, and OSError where no worker stays alive.
        """
        if not batches:
            return
        import ray

        if not self._workers:
            self._employ()
        ahead = AHEAD * len(self._workers)
        assignment = _Assignment(ray.put(run.job()), record_type, HandingOut[R](batches, ahead))
        while not assignment.handing_out.over:
            self._hand_out(assignment)
            for worker in self._heard_of():
                self._collect(worker, assignment)
            yield from assignment.handing_out.take_back()

    def _employ(self) -> None:
        """Start the workers. Raises `InputError` where there is no Ray, or no room."""
        import ray

        dashboard = _connected(self._wanted)
        resources = ray.cluster_resources()
        count = self._wanted.count or self._wanted.room(resources)
        if not count:
            ray.shutdown()
            there = f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs"
            raise InputError(f"--ray: a worker needs {self._wanted}, and there are {there}")
        at = f"; dashboard: http://{dashboard}" if dashboard else ""
        self._say(f"Ray: {count} worker{'s'[: count > 1]} of {self._wanted}{at}")
        self._workers = [self._employed() for _ in range(count)]

    def _employed(self) -> _Employed:
        import ray

        actor = ray.remote(Worker).options(
            num_cpus=self._wanted.cpus,
            num_gpus=self._wanted.gpus,
            runtime_env={"env_vars": self._wanted.environment()},
        )
        worker = _Employed(actor.remote())
        worker.given.append((worker.actor.start.remote(Path.cwd(), self._load), None))
        return worker

    def _hand_out(self, to: _Assignment[R]) -> None:
        # In the end, what is left is not queued behind one worker while another is idle.
        most = AT_HAND if to.handing_out.waiting > len(self._workers) else 1
        while free := [worker for worker in self._workers if worker.started and len(worker.given) < most]:
            worker = min(free, key=lambda worker: len(worker.given))
            part = to.handing_out.hand_out()
            if part is None:
                return
            worker.given.append((worker.actor.attack.remote(to.job, to.record_type, part), part))

    def _heard_of(self) -> list[_Employed]:
        """List the workers that have done, or died of, the first of what they were given; waits for one."""
        import ray

        firsts = {worker.given[0][0]: worker for worker in self._workers if worker.given}
        found, _ = ray.wait(list(firsts), timeout=PATIENCE_S)
        if not found and not any(worker.started for worker in self._workers):
            self._say(f"waiting for room for a worker, which needs {self._wanted}")
        return [firsts[one] for one in found]

    def _collect(self, worker: _Employed, assignment: _Assignment[R]) -> None:
        import ray
        from ray.exceptions import RayError, RayTaskError

        result, part = worker.given[0]
        try:
            outcomes = ray.get(result)
        except RayTaskError as error:
            if not isinstance(error.cause, DeviceBroken):
                raise error.cause from None
            self._replace(worker, assignment, error.cause)  # its process can do nothing any more
            return
        except RayError as error:
            self._replace(worker, assignment, error)
            return
        worker.given.popleft()
        self._deaths_in_a_row = 0
        if part is not None:
            assignment.handing_out.finish(part, outcomes)

    def _replace(self, worker: _Employed, assignment: _Assignment[R], error: Exception) -> None:
        """Replace a worker that died, cannot be reached or has lost its device: what it was given is for another."""
        import ray

        ray.kill(worker.actor)  # where it only cannot be reached: nothing is to be done twice
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row == MOST_IN_A_ROW * len(self._workers):
            said = " ".join(str(error).split())
            raise OSError(f"{self._deaths_in_a_row} workers died, and nothing was done in between: {said}")
        (_, guilty), *others = worker.given
        if guilty is not None:
            lost = give_up(assignment.record_type, guilty.samples[0], REASON, readable=False)
            assignment.handing_out.bury(guilty, lost)
        for _, part in others:
            if part is not None:
                assignment.handing_out.lose(part)
        self._workers[self._workers.index(worker)] = self._employed()


def check_installed() -> None:
    """Raise `InputError` where Ray is missing."""
    _show_token()
    try:
        import ray  # noqa: F401
    except ImportError:
        raise InputError("--ray needs Ray: pip install '.[ray]'") from None


def _show_token() -> None:
    """Have Ray show the token that clusters ask for as soon as it has put one on the machine.

    It shows it only if told before it is imported.
    """
    token = os.environ.get("RAY_AUTH_TOKEN_PATH", Path.home() / ".ray" / "auth_token")
    if "RAY_AUTH_TOKEN" in os.environ or Path(token).is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _reach(address: str) -> None:
    """Raise `InputError` where nobody listens at HOST:PORT: Ray itself would try for minutes, then end the process."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"--ray {address}: not HOST:PORT, nor auto")
    try:
        socket.create_connection((host, int(port)), timeout=REACH_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--ray {address}: no Ray there ({error})") from error


def _connected(wanted: Workers) -> str:
    """Start or join Ray; return where its dashboard is, empty where there is none. Raises `InputError`."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody that was not asked for
    if wanted.address not in (None, "auto"):
        _reach(wanted.address)
    cpus = wanted.count * wanted.cpus if wanted.address is None and wanted.count else None  # None: all that there are
    try:
        # What workers print is in the dashboard; here it would hide what this program says.
        context = ray.init(
            wanted.address or "local", log_to_driver=False, logging_level=logging.CRITICAL, num_cpus=cpus
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"--ray {wanted.address or ''}: no Ray there ({' '.join(str(error).split())})") from error
    return str(context.dashboard_url or "")
