"""The columns of a comparison: their names and formats are those of the measures."""

from detattack.tasks.columns import COLUMNS, Column, measure_columns
from detattack.workflows.compare import to_latex


def test_columns_of_measures_read_their_names_and_formats():
    assert measure_columns("mean", "linf", "psnr") == [
        Column("mean_linf", "L∞", ".4f"),
        Column("mean_psnr", "PSNR", ".2f"),
    ]
    assert {"L2", "L∞", "PSNR", "SSIM"} <= {column.heading for column in COLUMNS}


def test_infinity_in_latex():
    text = to_latex([{"mean_linf": 0.25, "a_b": "50%"}], [Column("a_b", "a_b"), *measure_columns("mean", "linf")])
    assert r"a\_b & L$_\infty$ \\" in text
    assert r"50\% & 0.2500 \\" in text
