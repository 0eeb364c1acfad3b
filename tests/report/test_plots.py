"""Charts as SVG."""

import re

from detattack.report.plots import Axis, Series, histogram, line_chart, matrix, ticks


def test_charts_hold_still_for_odd_data():
    assert ticks(0, 1, 5) == [0, 0.2, 0.4, 0.6000000000000001, 0.8, 1]
    assert ticks(3, 3) == [3]
    assert all(float(t).is_integer() for t in ticks(0, 3, 6, whole=True))
    assert "NaN" not in histogram([2.0], Axis("x", whole=True), Axis("y"))
    assert "NaN" not in histogram([0.5, 0.5], Axis("x"), Axis("y"))
    chart = line_chart([Series("clean", "<b>", [(0, 0)], dots=True)], Axis("<i>"), Axis("&"))
    assert "&lt;b&gt;" in chart
    assert not re.search("<[bi]>", chart)


def test_a_table_of_counts_is_shaded_by_shares_of_rows():
    chart = matrix(["<b>", "new"], ["<b>", "gone"], [[2, 2], [1, 0]])
    assert "<title>&lt;b&gt; → gone: 2</title>" in chart
    shades = re.findall(r'class="heat (\w+)" fill-opacity="([^"]*)"', chart)
    assert shades == [("same", "0.35"), ("other", "0.35"), ("other", "0.6")]
    assert "style=" not in chart
    assert "<svg" in matrix([], [], [])
