"""Step rules: each registers itself in the file that defines it, with its name, help and search range for `tune`.

`base` says what a rule is; `descent` has those of plain descent, `adam` Adam, `minimum_norm` those that look for the
nearest success.
"""

from detattack.engine.steps import adam, descent, minimum_norm
from detattack.engine.steps.base import STEPS, Iterate, Range, Step, StepRule, make_step, register_step

__all__ = [
    "STEPS",
    "Iterate",
    "Range",
    "Step",
    "StepRule",
    "adam",
    "descent",
    "make_step",
    "minimum_norm",
    "register_step",
]

# The ensemble has iterations of its own: `ensemble.run_ensemble`.
STEPS.register("ensemble", StepRule("ensemble", None, "several losses within one budget", own_loop=True))
# Random search asks for answers alone: `random_search.run_random_search`.
STEPS.register("square", StepRule("square", None, "random squares, without a gradient", own_loop=True))
# The control has no iterations at all: `random_noise.run_control` is what runs it.
STEPS.register("noise", StepRule("noise", None, "random noise, the control", own_loop=True))
