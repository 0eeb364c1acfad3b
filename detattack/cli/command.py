"""How command lines are parsed where Typer alone does not suffice: what all commands, and all groups of them, share."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from detattack.core.errors import InputError, unknown

RAY, HERE = "--ray", "here"
"""An option that may stand without a value, as none of Typer's can, and its value then."""
CONFIG_SET = "detattack.set"
"""The key of a context under which the `set` of its config file is kept, as a list of `key=value`."""
OPTION_OF = {
    "max_iterations": "max_iterations",
    "levels": "floats",
    "perceptual": "perceptual",
    "stop": "stop_confidence",
    "stop_confidence": "stop_confidence",
}
"""Keys of `--set` that an option sets too, by the name of its parameter."""


class Command(TyperCommand):
    """A command on whose line `--ray` may stand without an address.

    The command line wins over the `--config` file setting by setting. An error that speaks of a setting of that file
    names the file.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--ray` with no address after it is `--ray=here`; `--set` is merged into the `set` of the config file."""
        if any(RAY in parameter.opts for parameter in self.params):
            args = [f"{RAY}={HERE}" if one == RAY and after.startswith("-") else one for one, after in _pairs(args)]
        rest = super().parse_args(ctx, args)
        if CONFIG_SET in ctx.meta:
            given = {name for name in ctx.params if _source(ctx, name) == "COMMANDLINE"}
            line = ctx.params["set"] if "set" in given else []
            ctx.params["set"] = merged(ctx.meta[CONFIG_SET], line, given)
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises `InputError`."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            path, settings = ctx.params.get("config"), list(_spoken_of(str(error), ctx))
            if not settings or f"config {path}" in str(error):
                raise
            raise InputError(f"{error} (config {path}: {', '.join(settings)})") from error


def merged(config: Sequence[str], line: Sequence[str], given: Iterable[str]) -> list[str]:
    """Merge what a config file sets of methods, as far as the command line leaves it, with what the command line sets.

    - config, line: `key=value` or `METHOD.key=value`. A key of the line wins over the same key of the file, and without
      a method over that of any method.
    - given: parameters of the command that the command line names; an option for a key wins over the file's `set` too
    """
    given = set(given)
    named = {_key(one) for one in line} | {key for key, option in OPTION_OF.items() if option in given}
    kept = [one for one in config if not named & {_key(one), _key(one).rpartition(".")[2]}]
    return [*kept, *line]


class Group(TyperGroup):
    """A group of commands, which says what it has where none is named, or an unknown one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; raise `InputError` for a command line that names no command."""
        if not args and not ctx.resilient_parsing:
            raise InputError(f"Missing command of {ctx.command_path}: {', '.join(self.commands)}")
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Resolve; raise `InputError` for a name that no command has."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            raise unknown(
                "command", args[0], [*self.commands, *(name for one in self.get_params(ctx) for name in one.opts)]
            )
        return super().resolve_command(ctx, args)


def _pairs(args: list[str]) -> Iterable[tuple[str, str]]:
    """Each argument with the one after it; a dash after the last."""
    return zip(args, [*args, "-"][1:], strict=True)


def _source(ctx: Any, name: str) -> str:
    """Tell where the value of a parameter is from, as click names it."""
    source = ctx.get_parameter_source(name)
    return "" if source is None else str(source.name)


def _spoken_of(message: str, ctx: Any) -> Iterator[str]:
    """Yield the settings of the config file whose name, or a word of whose value, is in a message."""
    words = _words(message)
    for parameter in ctx.command.params:
        if _source(ctx, parameter.name) == "DEFAULT_MAP":
            spelled = parameter.opts[-1].lstrip("-")
            if words & (_words(spelled) | _words(str(ctx.default_map[parameter.name]))):
                yield spelled


def _words(text: str) -> set[str]:
    return {word.replace("-", "_") for word in re.findall(r"\w[\w-]{2,}", text)}


def _key(assignment: str) -> str:
    return assignment.partition("=")[0].strip()
