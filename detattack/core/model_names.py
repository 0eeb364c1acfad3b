"""Names of models that are put together: `MODEL+DEFENSE`, and several models of one run. Imports no torch."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

THROUGH = "through_models"
"""Key of a run's config: all models that it attacks at once, of which `model` is the first."""
_FILE = re.compile(r"(?P<base>(?P<file>.+?\.py):\w+)\+(?P<defense>.+)")


def split_defense(spec: str) -> tuple[str, str | None]:
    """Part the name of a model at the `+` behind which its defense is named; None: it has none.

    A `+` in the path of a file that is there is part of that path.
    """
    found = _FILE.fullmatch(spec)
    if found and Path(found["file"]).is_file():
        return found["base"], found["defense"]
    file = spec.rpartition(":")[0] if ".py:" in spec else spec.partition("/")[2]
    if "+" not in spec or (file and Path(file).exists()):
        return spec, None
    base, _, defense = spec.partition("+")
    return base, defense


def models_in(config: Mapping[str, Any]) -> list[str]:
    """List the names of all models in the config of a run."""
    others = config.get(THROUGH)
    return [str(config.get("model")), *map(str, others if isinstance(others, list | tuple) else ())]
