"""The paper's tables and figures: what each needs is a file in `configs/paper`, what they share is run once.

config        a file as checked objects
sources       the data and the models that the files name
running       the attacks, each in a run folder of its own, resumed where it is there
reproducing   from a name to its files: by tables (order, table_figure), samples, curves, densities or detection
provenance, facts, names, plotting    what these share
"""
