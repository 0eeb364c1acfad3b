"""Which batches are handed to workers, and what became of them: the books of a pool, which know of no process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic

from detattack.runs.batching import Batch
from detattack.runs.record import Outcome, R

MOST_DEATHS = 3
"""Workers that may die of a batch, then of one of its images alone."""


@dataclass(frozen=True)
class Part:
    """What one worker does at a time: a batch, or an image of a batch that its workers died of.

    number: of the batch in the plan. start: where in the batch its samples begin. deaths: workers that died of it.
    hopeless: an image that is only to be read, for its workers died of the attack.
    """

    number: int
    start: int
    samples: Batch
    deaths: int = 0
    hopeless: bool = False


class HandingOut(Generic[R]):
    """Hands out batches in the order of the plan, as parts; gives back the outcomes of whole batches in that order.

    ahead: how many batches may be handed out before the first of them is taken back, which bounds the memory that
    finished ones wait in.
    """

    def __init__(self, batches: Sequence[Batch], ahead: int) -> None:
        self._batches = batches
        self._ahead = ahead
        self._next = self._taken = 0
        self._again: list[Part] = []
        self._outcomes: dict[int, dict[int, list[Outcome[R]]]] = {}

    @property
    def over(self) -> bool:
        """Whether all batches are taken back."""
        return self._taken == len(self._batches)

    @property
    def waiting(self) -> int:
        """How many parts are to be handed out yet."""
        return len(self._again) + len(self._batches) - self._next

    def hand_out(self) -> Part | None:
        """Return what is to be done next, lost parts first; None where nothing is, or until more is taken back."""
        if self._again:
            return self._again.pop(0)
        if self._next == min(len(self._batches), self._taken + self._ahead):
            return None
        self._next += 1
        return Part(self._next - 1, 0, self._batches[self._next - 1])

    def finish(self, part: Part, outcomes: list[Outcome[R]]) -> None:
        """Note that a part is done."""
        self._outcomes.setdefault(part.number, {})[part.start] = outcomes

    def lose(self, part: Part) -> None:
        """Note that a part is not done, for a reason that is not its own."""
        self._again.append(part)
        self._again.sort(key=lambda part: (part.number, part.start))

    def bury(self, part: Part, given_up: Outcome[R]) -> None:
        """Note that a worker died of a part: it is done again, or its images one by one, or an image is given up.

        given_up: the outcome of an image of which a worker dies even where it is only read.
        """
        deaths = part.deaths + 1
        if part.hopeless:
            self.finish(part, [given_up])
        elif deaths < MOST_DEATHS:
            self.lose(replace(part, deaths=deaths))
        elif len(part.samples) > 1:
            for i, sample in enumerate(part.samples):
                self.lose(Part(part.number, part.start + i, (sample,)))
        else:
            self.lose(replace(part, hopeless=True))

    def take_back(self) -> Iterator[list[Outcome[R]]]:
        """Yield the outcomes of the batches that are whole and whose turn it is."""
        while not self.over and self._is_whole(self._taken):
            parts = self._outcomes.pop(self._taken)
            self._taken += 1
            yield [outcome for start in sorted(parts) for outcome in parts[start]]

    def _is_whole(self, number: int) -> bool:
        return sum(map(len, self._outcomes.get(number, {}).values())) == len(self._batches[number])
