"""Lines of text that fit."""

from hypothesis import given
from hypothesis import strategies as st

from detattack.report.lettering import text_width, wrapped


@given(st.text("abc $", max_size=60), st.floats(20, 200))
def test_lines_fit(text, width):
    lines = wrapped(text, 9.0, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(text_width(line, 9.0) <= width for line in lines)


def test_a_word_wider_than_a_line_is_broken_after_a_comma():
    width = text_width("suppress:bus,car", 9.0)
    assert wrapped("a suppress:bus,car,person now", 9.0, width) == ["a", "suppress:bus,", "car,person now"]
    assert wrapped("aaaa", 9.0, text_width("aaa", 9.0)) == ["aaa", "a"]
    assert wrapped("ab", 9.0, 0) == ["a", "b"]


def test_width_grows_with_the_letters():
    assert 0 < text_width("car 0.90", 6) * 2 == text_width("car 0.90", 12)
    assert text_width("", 12) == 0


def test_paragraphs_stay_apart():
    assert wrapped("a b\nc", 9.0, 1000) == ["a b", "c"]
