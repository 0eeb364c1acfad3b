"""What the commands that compare methods have in common, whatever the task."""

import json as json_module
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detattack.core.errors import InputError

if TYPE_CHECKING:
    from detattack.engine.presets import Attack
    from detattack.runs.runner import Workforce
    from detattack.workflows.compare import Method

REFERENCE, CONTROL = "jnd", "noise"


def method_names(text: str, presets: Mapping[str, Any]) -> list[str]:
    """The names of `--methods`, each a method of the task. Raises `InputError`."""
    from detattack.engine.config import named_attack

    names = [named_attack(name, presets).name for name in text.split(",")]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise InputError(f"--methods names {doubled[0]!r} twice")
    return names


def overrides_of(
    names: Sequence[str], assignments: list[str] | None, presets: "Mapping[str, Attack]"
) -> dict[str, dict[str, str]]:
    """What `--set` changes of each method: `key=value` is for all, `METHOD.key=value` for one.

    Raises `InputError`, also for a `key=value` that means another thing for one method than for another.
    """
    from detattack.engine.config import parse_assignments

    common: dict[str, str] = {}
    own: dict[str, dict[str, str]] = {name: {} for name in names}
    for assigned, value in parse_assignments(assignments or []).items():
        method, dot, key = assigned.rpartition(".")  # the last one: a radius may have a point of its own
        if dot and method not in own:
            raise InputError(f"--set {assigned}: {method!r} is not among the methods")
        (own[method] if dot else common)[key] = value
    for key in common:
        _check_meaning(key, [name for name in names if key not in own[name]], presets)
    return {name: common | own[name] for name in names}


def _check_meaning(key: str, names: Sequence[str], presets: "Mapping[str, Attack]") -> None:
    """Raises `InputError` for a setting of several methods that is not the same for all of them."""
    from detattack.engine.config import named_attack
    from detattack.engine.presets import UNIT, Attack

    unit = next((field.metadata.get(UNIT) for field in fields(Attack) if field.name == key), None)
    meanings = {name: getattr(named_attack(name, presets), unit) for name in names} if unit else {}
    if len(set(meanings.values())) > 1:
        differ = ", ".join(f"{name} {meaning}" for name, meaning in meanings.items())
        raise InputError(
            f"--set {key}: its meaning depends on {unit} ({differ}); name the method: {names[0]}.{key}=..."
        )


def check_folder(out: Path, resume: bool, retry_errors: bool = False) -> None:
    """Raises `InputError` for a folder that a comparison cannot use, and for errors to be tried again of none."""
    from detattack.cli.running import check_retry

    check_retry(resume, retry_errors)
    if out.exists() and not out.is_dir():
        raise InputError(f"output folder {out}: is a file")
    if not resume and out.exists() and any(out.iterdir()):
        raise InputError(f"output folder {out}: is not empty; --resume continues a comparison")


def run_methods(
    names: Sequence[str],
    run_of: Callable[[str, dict[int, float] | None], Any],
    out: Path,
    quiet: bool,
    again: str = "",
    workforce: "Workforce | None" = None,
    retry_errors: bool = False,
) -> "list[Method]":
    """Runs or resumes all methods, each in a folder of its own in `out`.

    run_of: the run of a method, and for the control the L2 by image id that the reference needed. The control comes
    last, whatever the order of the table. The rest is as of `carried_out`.
    """
    from detattack.cli.running import carried_out
    from detattack.workflows.compare import read_method

    found: dict[str, Method] = {}
    lengths: dict[int, float] | None = None
    for name in sorted(names, key=lambda name: name == CONTROL):
        run = run_of(name, lengths if name == CONTROL else None)
        again = again or f"--out {out} --resume goes on"
        with carried_out(run, out / name, True, quiet, name, again, workforce, retry_errors, not found) as folder:
            found[name] = read_method(name, folder)
        if name == REFERENCE:
            lengths = {i: v["l2"] for i, v in found[name].values.items() if "l2" in v}
    return [found[name] for name in names]


def say(out: Path, content: dict[str, Any], json: bool, quiet: bool) -> None:
    """Prints a finished comparison."""
    if json:
        print(json_module.dumps({"run": str(out), "summary": content}, allow_nan=False))
    elif quiet:
        print(out, file=sys.stderr)
    else:
        print((out / "comparison.md").read_text(encoding="utf-8"))
        print(f"run folder: {out}")
