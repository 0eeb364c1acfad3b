import pytest

from detattack.datasets.scenes import Scene, render, scene_seed


@pytest.fixture(scope="session")
def scenes() -> list[Scene]:
    """150 scenes, enough for shares to mean something."""
    return [render(scene_seed(7, i)) for i in range(150)]
