"""Lines of text that fit."""

from hypothesis import given
from hypothesis import strategies as st

from detattack.report.lettering import text_width, wrapped


@given(st.text("abc $", max_size=60), st.floats(20, 200))
def test_lines_fit_unless_they_are_one_word(text, width):
    lines = wrapped(text, 9.0, width)
    assert " ".join(lines).split() == text.split()
    assert all(text_width(line, 9.0) <= width or " " not in line for line in lines)


def test_width_grows_with_the_letters():
    assert 0 < text_width("car 0.90", 6) * 2 == text_width("car 0.90", 12)
    assert text_width("", 12) == 0


def test_paragraphs_stay_apart():
    assert wrapped("a b\nc", 9.0, 1000) == ["a b", "c"]
