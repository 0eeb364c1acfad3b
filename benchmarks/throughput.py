"""How much of a device an attack uses, and what that means for a data set.

    python benchmarks/throughput.py [--model MODEL] [--weights FILE] [--size 1066x800] [--batch 16] [--precision bf16]
        [--device cuda] [--images 5000] [--iterations 20] [--profile]

Prints images × iterations a second, the ratio to bare, the device's rate of multiplying large bfloat16 matrices, the
share of it that an iteration reaches (by the floating point operations of a bare pass), and how long IMAGES take that
need so many ITERATIONS each. --profile adds where the time goes, by operator.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from detattack.detectors.registry import load_detector
from detattack.tasks.detection.benchmark import bare_pass, measure_speed, scenes

SIDE = {"cuda": 8192, "cpu": 2048}
"""Of the matrices."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default="torchvision/retinanet_resnet50_fpn")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--size", default="1066x800")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--iterations", type=float, default=20)
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    detector = load_detector(given.model, given.device, given.weights if given.model != "demo" else None)
    width, height = map(int, given.size.split("x"))
    images = scenes(given.batch, width, height, detector.device)
    if given.profile:
        with profile() as profiled:
            measure_speed(detector, images, given.precision)
        by = "self_cpu_time_total" if detector.device.type == "cpu" else "self_device_time_total"
        print(profiled.key_averages().table(sort_by=by, row_limit=25))
    speed = measure_speed(detector, images, given.precision)
    rate = matrix_rate(detector.device)
    per_s = given.batch / speed.ours_s
    found = {
        **asdict(speed),
        "ratio": speed.ratio,
        "image_iterations_per_s": per_s,
        "matrix_tflops": rate / 1e12,
        "share_of_matrix_rate": operations(lambda: bare_pass(detector, images)) / speed.ours_s / rate,
        "minutes_for_the_images": given.images * given.iterations / per_s / 60,
    }
    print(json.dumps({"asked": vars(given), "device": str(detector.device), "found": found}, indent=1))


def operations(work: Callable[[], object]) -> int:
    """Floating point operations of the products and convolutions that `work` does, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def matrix_rate(device: torch.device, repetitions: int = 10) -> float:
    """Operations a second of square bfloat16 products."""
    side = SIDE.get(device.type, 4096)
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(1 + repetitions):
        start = time.perf_counter()
        float((left @ right)[0, 0])  # waits for the device
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds[1:])


if __name__ == "__main__":
    main()
