"""Counts as people write them."""

import pytest

from detattack.core.wording import counted, worded


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("image", "images"),
        ("class", "classes"),
        ("box", "boxes"),
        ("success", "successes"),
        ("category", "categories"),
        ("key", "keys"),
        ("class folder", "class folders"),
    ],
)
def test_a_noun_has_its_regular_plural_of_all_counts_but_one(one, several):
    assert [counted(count, one) for count in (0, 1, 2)] == [f"0 {several}", f"1 {one}", f"2 {several}"]


def test_words_that_have_no_regular_plural():
    assert [counted(count, "link leads", "links lead") for count in (1, 2)] == ["1 link leads", "2 links lead"]
    assert [worded(count, "is", "are") for count in (0, 1, 2)] == ["are", "is", "are"]
