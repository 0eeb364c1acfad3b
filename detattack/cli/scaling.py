"""`--ray` and what goes with it: from options to an executor."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from detattack.cli.command import HERE, RAY
from detattack.cli.options import WorkerOptions
from detattack.core.errors import InputError

if TYPE_CHECKING:
    from detattack.runs.ray_workers import RayPool, Workers


def workers_of(options: WorkerOptions, device_name: str) -> "Workers | None":
    """Return the workers that the options ask for; None without `--ray`. Raises `InputError`."""
    if options.ray is None:
        for name in ("workers", "cpus_per_worker", "gpus_per_worker"):
            if getattr(options, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} goes with {RAY}")
        return None
    import torch

    from detattack.detectors.registry import resolve_device
    from detattack.runs.ray_workers import Workers, check_installed

    check_installed()
    device, gpus = resolve_device(device_name), options.gpus_per_worker
    if device.index is not None:
        raise InputError(f"--device {device}: with {RAY}, it is Ray that says which GPU a worker has; --device cuda")
    if gpus and device.type != "cuda":
        raise InputError(f"--gpus-per-worker goes with CUDA, and the device is {device}")
    gpus = float(device.type == "cuda") if gpus is None else gpus
    threads = torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else 1
    address = None if options.ray == HERE else options.ray
    return Workers(address, options.workers, options.cpus_per_worker or threads, gpus)


@contextmanager
def executor_of(wanted: "Workers | None", run: Any, quiet: bool) -> "Iterator[RayPool | None]":
    """Start the workers for a run, and for others of the same model; None: this process."""
    if wanted is None:
        yield None
        return
    import torch

    from detattack.runs.ray_workers import RayPool

    torch.set_num_threads(wanted.cpus)  # as many as theirs: what `run.json` says has to be true of them
    say = partial(print, file=sys.stderr) if not quiet else lambda text: None
    with RayPool(wanted, run.loader(), say) as pool:
        yield pool
