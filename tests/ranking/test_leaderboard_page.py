"""The leaderboard in a real browser: nothing leaves it, nothing is wider than the window, and its tables sort."""

import pytest

from tests.browser import DESKTOP, PHONE, needs_browser

pytestmark = needs_browser


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", ["leaderboard.html", "toy/model.html"])
def test_nothing_leaves_the_page_and_nothing_is_wider_than_the_window(window, ranking, name, size):
    window.open(ranking / name, size)
    console, sent = window.logs()
    assert console == []
    assert sent
    assert all(url.startswith((ranking.as_uri() + "/", "data:")) for url in sent)
    assert window.run("return document.documentElement.scrollWidth") <= size[0]


def test_a_table_is_sorted_by_the_column_that_is_clicked(window, ranking):
    window.open(ranking / "leaderboard.html")

    def models():
        return [element.text for element in window.all("#models tbody th")]

    assert models() == ["firm", "toy"]
    window.all("#models thead .sort")[2].click()
    assert models() == ["toy", "firm"]
    window.all("#models thead .sort")[2].click()
    assert models() == ["firm", "toy"]
    assert window.one("#models th[aria-sort]").get_attribute("aria-sort") == "descending"


def test_each_model_has_its_page_behind_it_and_its_line_in_the_curves(window, ranking):
    window.open(ranking / "leaderboard.html")
    assert [len(window.all(f"#curves figure:first-of-type path.s{i}")) for i in range(2)] == [1, 1]
    window.one("#models tbody a").click()
    assert window.one("h1").text == "firm"
    assert "there is a gradient" in window.one("#trust").text
    window.one("#summary a").click()
    assert window.one("h1").text == "The JND of detectors"
