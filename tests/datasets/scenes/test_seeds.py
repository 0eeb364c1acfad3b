"""Seeds of scenes."""

from detattack.datasets.scenes import scene_seed
from detattack.datasets.scenes.seeds import training_seed


def test_seeds_of_training_and_data_sets_are_apart():
    data = {scene_seed(seed, i) for seed in range(4) for i in range(2000)}
    training = {training_seed(seed, i) for seed in range(4) for i in range(2000)}
    assert len(data) == len(training) == 8000
    assert max(data) < 2**51 <= min(training)
    assert max(training) < 2**53
