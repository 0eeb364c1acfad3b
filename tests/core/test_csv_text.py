"""CSV, as a reader takes it."""

import csv
import io

from detattack.core.csv_text import csv_lines


def test_whatever_a_name_has_in_it_is_read_as_it_was():
    rows = [["a", "b"], ["plain", ""], ["x,y", 'say "z"'], ["two\nlines", "Icon\r"], ["both\r\n", "\r\n"]]
    text = csv_lines(rows)
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows
    assert text.startswith("a,b\nplain,\n")
