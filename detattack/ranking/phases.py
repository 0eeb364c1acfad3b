"""The run folders of one model in a ranking, and what is read from them."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detattack.engine.budget import Budget, parse_budgets
from detattack.ranking.protocol import Protocol
from detattack.runs.folder import SUMMARY, RunFolder
from detattack.tasks.detection.record import DetectionRecord


@dataclass(frozen=True)
class Phases:
    """The run folders of a model.

    - path: of the model, in the folder of the ranking
    """

    path: Path
    protocol: Protocol

    @property
    def probe(self) -> Path:
        """The file of what was seen before the attacks."""
        return self.path / "probe.json"

    def walk(self, name: str, method: str) -> Path:
        """Where a method looks for the smallest change that reaches a goal."""
        return self.path / "walks" / name / method

    def walks(self, name: str) -> list[Path]:
        """Where each method of a walk is."""
        return [self.walk(name, method) for method in self.protocol.walks[name].methods]

    @property
    def budgets(self) -> Path:
        """The folder of all budgets."""
        return self.path / "budgets"

    def budget(self, budget: Budget | str) -> Path:
        """Where a budget is spent."""
        return self.budgets / (parse_budgets(budget)[0] if isinstance(budget, str) else budget).folder

    @property
    def doubled(self) -> Path:
        """Where one of the budgets is spent for as many passes again."""
        return self.budgets / "doubled"

    @property
    def search(self) -> Path:
        """Where the random search is."""
        return self.path / "search"

    def reaching(self, name: str) -> list[Path]:
        """List the runs whose 8-bit files count as a smallest change of a walk: all of the same goal and τ."""
        budgets = self.protocol.budgets
        walk = self.protocol.walks[name]
        found = self.walks(name)
        if walk.goal == budgets.goal and not walk.at_floor:
            spent = [*budgets.all, *parse_budgets(self.protocol.diagnoses.unbounded)]
            found += [self.budget(one) for one in spent if not one.needs_floats] + [self.doubled, self.search]
        return found

    @property
    def paged(self) -> list[Path]:
        """List the runs whose pages the model's page leads to."""
        return [self.walks(self.protocol.first_walk)[0], self.budget(self.protocol.diagnoses.doubled)]

    def summaries(self) -> dict[Path, dict[str, Any]]:
        """Read the summaries of all finished runs, by folder."""
        paths = sorted(self.path.rglob(SUMMARY))
        return {path.parent: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def records_of(folder: Path) -> Iterator[DetectionRecord]:
    """Yield the records of a finished run, bare of what is long; none of a run that is not there."""
    if (folder / SUMMARY).is_file():
        with closing(RunFolder.open(folder, DetectionRecord)) as run:
            yield from (record.short() for record in run.iterate())


def ids_with(folder: Path, *statuses: str) -> set[int]:
    """Return the ids of the images of a run that have one of some statuses."""
    return {record.id for record in records_of(folder) if record.status in statuses}
