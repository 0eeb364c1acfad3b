"""A finished run against a classifier judged again from its files alone."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from classify.attack_batch import ClassificationRecord, wanted
from classify.config import ClassifyConfig, read_config
from classify.models.registry import load_classifier
from classify.objective import shares
from classify.task import ClassifyFolder, fingerprint
from classify.types import Classifier
from detattack.core.errors import InputError
from detattack.core.locating import located_config
from detattack.core.precision import fixed_numerics
from detattack.core.trust import check_trust
from detattack.workflows.verify import Verdict, judged_image, verdicts


def verify_run(path: Path, device: str = "auto", trust: bool = False) -> Iterator[Verdict]:
    """Judges every attacked image of a run again, one by one; untouched ones are checked to be whole.

    trust: as of `check_trust`. Raises `InputError`.
    """
    with closing(ClassifyFolder.open(path)) as folder:
        config = read_config(located_config(path, folder.manifest))
        check_trust(path, config.model, trust)
        classifier = load_classifier(config.model, device, config.weights, config.preprocess, config.categories)
        if fingerprint(classifier) != folder.manifest["model"]:
            raise InputError(f"{path}: model {config.model} is not the one that was attacked (other weights)")
        yield from verdicts(path, folder.iterate(), partial(_holds, path, classifier, config))


@fixed_numerics(gradient=False)
def _holds(path: Path, classifier: Classifier, config: ClassifyConfig, record: ClassificationRecord) -> bool:
    image = judged_image(path, config.attack, record)
    return record.goal.reached(shares(classifier, image), wanted(config))
