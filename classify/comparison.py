"""The columns of a comparison of methods on a classifier."""

from detattack.comparison import Columns

COLUMNS: Columns = (
    ("method", "method", ""),
    ("success_rate", "success", ".1%"),
    ("file_success_rate", "still fools after saving", ".1%"),
    ("mean_k", "K", ".1f"),
    ("mean_l1", "L1", ".2f"),
    ("mean_l2", "L2", ".3f"),
    ("median_l2", "median L2", ".3f"),
    ("mean_linf", "Linf", ".4f"),
    ("mean_psnr", "PSNR", ".1f"),
    ("mean_ssim", "SSIM", ".4f"),
    ("mean_uqi", "UQI", ".4f"),
    ("mean_scc", "SCC", ".4f"),
    ("mean_vifp", "VIFP", ".4f"),
    ("mean_forwards", "forwards", ".1f"),
    ("mean_backwards", "backwards", ".1f"),
    ("seconds_per_image", "s/image", ".3f"),
)
"""Means over the successes of a method, as the paper has them."""
