"""Protocols whose parts do not go together are refused before anything is measured."""

import pytest

from detattack.core.errors import InputError
from detattack.ranking.diagnoses import verdicts
from detattack.ranking.phases import Phases
from detattack.ranking.probe import Probe
from detattack.ranking.protocol import load_protocol
from tests.ranking.conftest import TINY


def changed(tmp_path, before: str, after: str) -> str:
    text = TINY.read_text()
    assert before in text
    path = tmp_path / "changed.yaml"
    path.write_text(text.replace(before, after))
    return str(path)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("doubled: linf:24", "doubled: linf:8", r"changed.yaml: diagnoses.doubled: linf:8 is none of the budgets"),
        ("search: linf:24", "search: linf:8", r"diagnoses.search: linf:8 is none of the budgets linf:4,24"),
        ('degrade: {goal: "degrade:all"', 'degrade: {goal: "suppress:all"', "walks: the first has to be of"),
        ("methods: {jnd-min: 2}", "methods: {}", "walks.inject.methods"),
        ("methods: {jnd-min: 6}", "methods: {jnd-min: 6}, at_floor: true", "and not at_floor"),
        ('budget: "linf:4,24"', 'budget: "linf:4,4"', "changed.yaml"),
        ("doubled: linf:24", "doubled: linf:4,24", "expected one budget"),
    ],
)
def test_parts_that_do_not_go_together(tmp_path, before, after, said):
    with pytest.raises(InputError, match=said):
        load_protocol(changed(tmp_path, before, after))


def test_a_protocol_has_a_walk(tmp_path):
    walks = TINY.read_text().partition("walks:")[2].partition("budgets:")[0]
    with pytest.raises(InputError, match="walks"):
        load_protocol(changed(tmp_path, walks, " {}\n"))


def test_a_budget_may_be_written_in_several_ways(tmp_path):
    protocol = load_protocol(changed(tmp_path, "doubled: linf:24", 'doubled: "linf:24.0"'))
    found = verdicts(Phases(tmp_path, protocol), Probe(), {"linf:24": 0.5, "doubled": 0.4})
    (gain,) = (verdict for verdict in found if verdict.name == "twice the passes gain little")
    assert not gain.trusted
