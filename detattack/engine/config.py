"""Resolve and check an attack before anything is loaded: options override a config file, which overrides defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import AfterValidator, TypeAdapter, ValidationError

from detattack.core.errors import InputError, first_error, unknown
from detattack.engine.presets import PRESETS, Attack

NON_NEGATIVE = tuple(field.name for field in fields(Attack) if field.type in (int, float))
"""Every number of an attack but for those that may be None, which have checks of their own."""
RADIUS_MARK = "@"
"""Separates a method from its radius in gray levels, as in `pgd-linf@4`."""


LEVELS = tuple(count for count in range(2, 257) if 255 % (count - 1) == 0)
"""Numbers of gray levels whose values an 8-bit file holds exactly."""
LARGEST_SEED = 2**63 - 1
MOST_COUNTED = 2**31
"""Upper bound of iterations and other counts."""
MOST_CONFIG_BYTES = 1_000_000
Scalar = str | int | float | bool
TUNED_ON = "tuned_on"
"""The key under which a config that a search has found says on which images: see `tuned_on`."""


def check_attack(attack: Attack) -> Attack:
    """Check the values of an attack, whether they come from options or from a manifest, and return it.

    Raises `InputError`.
    """
    from detattack.engine.steps import STEPS

    STEPS.find(attack.step)
    if attack.levels not in (None, *LEVELS):
        known = ", ".join(map(str, LEVELS))
        raise InputError(f"method {attack.name}: levels must be one of {known}, which 8 bits hold, not {attack.levels}")
    _check_radius(attack)
    for key in NON_NEGATIVE:
        most = MOST_COUNTED if isinstance(getattr(attack, key), int) else float("inf")
        if not 0 <= getattr(attack, key) < most:
            raise InputError(f"method {attack.name}: {key} must be a number from 0 on, not {getattr(attack, key)}")
    return attack


def _check_radius(attack: Attack) -> None:
    if attack.radius is None:
        return
    most = 1 if attack.norm == "linf" else float("inf")
    if not 0 < attack.radius <= most:
        top = ", at most 1" if attack.norm == "linf" else ""
        raise InputError(f"method {attack.name}: radius must be a number above 0{top}, not {attack.radius}")
    if attack.norm == "linf" and attack.levels is not None and round(attack.radius * (attack.levels - 1), 3) < 1:
        raise InputError(f"method {attack.name}: a radius below one gray level leaves nothing to change; --float does")


CheckedAttack = Annotated[Attack, AfterValidator(check_attack)]
"""An attack as a field of a config."""


def resolve_attack(
    method: str | Attack,
    floats: bool = False,
    max_iterations: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    presets: Mapping[str, Attack] = PRESETS,
) -> Attack:
    """Return the attack of a method with the user's changes.

    - method: a name as in `named_attack`, or an attack
    - floats: judge floats instead of 8-bit images
    - max_iterations: None: the method's own
    - overrides: values by field of `Attack`; they may be text
    - presets: the methods of the task

    Raises `InputError` for an unknown method, an unknown key, or an invalid value.
    """
    from detattack.engine.steps import STEPS

    preset = named_attack(method, presets) if isinstance(method, str) else method
    method = preset.name
    values: dict[str, Any] = {f.name: getattr(preset, f.name) for f in fields(Attack)}
    values |= {"levels": None} if floats else {}
    values |= {} if max_iterations is None else {"max_iterations": max_iterations}
    for key, value in (overrides or {}).items():
        if key not in values or key == "name":
            raise unknown(f"key of method {method}", key, [k for k in values if k != "name"])
        if key == "radius" and RADIUS_MARK in method:
            raise InputError(f"method {method}: its name says the radius already")
        values[key] = value
    try:
        attack = TypeAdapter(Attack).validate_python(values)
    except ValidationError as error:
        raise InputError(f"method {method}: {first_error(error)}") from error
    if attack.step != preset.step and STEPS.find(attack.step).own_loop:
        raise InputError(f"method {method}: step {attack.step} is a method of its own")
    return check_attack(attack)


def named_attack(method: str, presets: Mapping[str, Attack] = PRESETS) -> Attack:
    """Return the preset of a name; `NAME@N` sets the radius of a method that has one to N gray levels.

    The radius is then N/255 and the step size a quarter of it. Raises `InputError`.
    """
    name, mark, number = method.strip().partition(RADIUS_MARK)
    if name not in presets:
        raise unknown("method", name, presets)
    preset = presets[name]
    if not mark:
        return preset
    if preset.radius is None or preset.norm != "linf":
        raise InputError(f"method {method!r}: {name} has no radius that {RADIUS_MARK!r} could set")
    try:
        gray_levels = float(number)
    except ValueError:
        gray_levels = 0.0
    if not 0 < gray_levels <= 255:
        raise InputError(f"method {method!r}: the radius must be a number of gray levels above 0, at most 255")
    radius = gray_levels / 255
    return replace(preset, name=f"{name}{RADIUS_MARK}{gray_levels:g}", radius=radius, step_size=radius / 4)


class FileSetting(str):
    """A `key=value` that a config file sets.

    - file: that it stands in
    - methods: those that the file names, for which the value is meant; none: for whatever method
    """

    file: Path
    methods: tuple[str, ...]

    def __new__(cls, text: str, file: Path, methods: Sequence[str]) -> Self:
        """Make it from its text."""
        made = super().__new__(cls, text)
        made.file, made.methods = file, tuple(methods)
        return made


def place_of(assignment: str) -> str:
    """Say where a `key=value` is set, for messages."""
    return f"config {assignment.file}: set" if isinstance(assignment, FileSetting) else "--set"


def parse_assignments(pairs: list[str]) -> dict[str, str]:
    """Parse the `["key=value", ...]` of `--set` into a dictionary. Raises `InputError`."""
    for pair in pairs:
        if "=" not in pair:
            raise InputError(f"{place_of(pair)} {str(pair)!r}: not of the form key=value")
    return {key.strip(): value.strip() for key, _, value in (pair.partition("=") for pair in pairs)}


class _RepeatedKey(Exception):
    """A mapping has a key twice."""


class _UniqueKeys(yaml.SafeLoader):
    """A safe YAML loader that refuses repeated keys; top-level keys are spelled with `_` for `-`."""

    def construct_document(self, node: yaml.Node) -> Any:
        """Construct a document, its top-level keys spelled as in Python."""
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.tag == self.DEFAULT_SCALAR_TAG:
                key.value = key.value.replace("-", "_")
        return super().construct_document(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping. Raises `_RepeatedKey`."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in lines:
                raise _RepeatedKey(f"key {key.value[:80]!r} at line {line} is at line {lines[key.value]} already")
            if isinstance(key, yaml.ScalarNode):
                lines[key.value] = line
        return super().construct_mapping(node, deep)


def read_config_file(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings, with keys as on the command line (`score-threshold` or `score_threshold`).

    Raises `InputError`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_CONFIG_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"config {path}: cannot be read ({error})") from error
    if len(data) > MOST_CONFIG_BYTES:
        raise InputError(f"config {path}: is larger than {MOST_CONFIG_BYTES / 1e6:g} MB")
    try:
        content = yaml.load(text, _UniqueKeys)
    except _RepeatedKey as error:
        raise InputError(f"config {path}: {error}") from error
    # Beside its own errors PyYAML lets through whatever its constructors raise: a month 13, a number of 5,000 digits.
    except Exception as error:
        raise InputError(f"config {path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise InputError(f"config {path}: not a mapping of options")
    return {str(key): value for key, value in content.items()}


def read_options(path: Path) -> dict[str, Any]:
    """Read a YAML file of command line options: a value is a scalar, a list of scalars, or a mapping of scalars.

    Raises `InputError`.
    """
    options = read_config_file(path)
    for name, value in options.items():
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        if not all(isinstance(one, Scalar | None) for one in inner):
            raise InputError(f"config {path}: {name[:80]!r} is neither a scalar nor a flat list or mapping")
    return options
