"""How near the smallest changes of a ranking are to the smallest that long attacks find: local optimality.

    python benchmarks/optimality.py RANKING MODEL --images DIR --annotations FILE --limit 6 --out DIR
    python benchmarks/optimality.py RANKING demo --scenes 4 --seed 2 --out DIR

RANKING is a folder of `detattack rank`, MODEL one of its models, as it was named there. The envelope is the smallest L2
of each image over that ranking and --iterations iterations each of `jnd-min` and `fmn`, on the first --limit images.
As AttackBench defines it (Cinà et al., 2025), with the area under the curve of images that are not broken:

    optimality = 1 − (area(attack) − area(envelope)) / (share found untouched · largest distance − area(envelope))

Prints a line of JSON. Called again, the same command goes on.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detattack.datasets.source import DatasetSource
from detattack.ranking.entry import Entry
from detattack.ranking.protocol import load_protocol
from detattack.ranking.smallest import smallest_changes
from detattack.runs.originals import originals_in
from detattack.tasks.detection.task import DETECTION
from detattack.workflows.evaluate import Settings, carried_out
from detattack.workflows.rank import Ranked, Ranking, first_experiment, folder_of

LONG = ("jnd-min", "fmn")


def main(arguments: Sequence[str] | None = None) -> None:
    """Attack for long, and compare. arguments: None: those of the process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("ranking", type=Path)
    parser.add_argument("model")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--annotations", type=Path)
    parser.add_argument("--scenes", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--protocol", default="v1")
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    if given.images:
        source = DatasetSource(images=str(given.images), annotations=str(given.annotations), limit=given.limit)
    else:
        source = DatasetSource(scenes=given.scenes, seed=given.seed, limit=given.limit)
    protocol = load_protocol(given.protocol)
    experiment = first_experiment(Ranked(given.model), Ranking(protocol, source, given.seed))
    folders = []
    for method in LONG:
        attack = Settings(max_iterations=given.iterations).attack(DETECTION, method)
        folders.append(given.out / method)
        with carried_out(experiment.with_attack(attack), folders[-1], folders[-1].exists(), notes=False):
            pass
    entry = Entry.read(given.ranking / folder_of(experiment))
    ours = entry.walks[protocol.first_walk]
    long = smallest_changes(folders, given.out, originals_in(experiment.dataset))
    shared = sorted(ours.keys() & long.keys())
    found, envelope = ([changes[i].l2 for i in shared] for changes in (ours, long))
    print(
        json.dumps(
            {
                "model": entry.name,
                "images": len(shared),
                "optimality": optimality(found, np.minimum(found, envelope).tolist()),
                "median_l2": float(np.median(found)),
                "median_l2_envelope": float(np.median(np.minimum(found, envelope))),
            }
        )
    )


def optimality(found: Sequence[float], envelope: Sequence[float]) -> float:
    """Compute the local optimality of smallest distances; 0: broken untouched, infinite: not broken."""
    least = np.array(envelope)
    largest = float(least[np.isfinite(least)].max())
    area, best = (float(np.minimum(distances, largest).mean()) for distances in (np.array(found), least))
    clean = float((least > 0).mean())
    return 1 - (area - best) / (clean * largest - best)


if __name__ == "__main__":
    main()
