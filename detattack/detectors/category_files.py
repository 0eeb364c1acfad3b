"""The file of `--categories`: what the classes of a user's own model are called."""

import json
from pathlib import Path
from typing import Any

from detattack.detectors.names import categories_named
from detattack.errors import InputError
from detattack.types import Category


def read_categories(path: str | Path) -> tuple[Category, ...]:
    """Categories in the order of a model's head, the background left out.

    Either one name a line, or a COCO file (or a list of its categories), in the order of its ids, which are kept.
    Raises `InputError`.
    """
    where = f"categories {path}"
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    categories = _of_json(text, where) if text.lstrip().startswith(("{", "[")) else _of_lines(text)
    if not categories:
        raise InputError(f"{where}: names no class")
    names = [category.name for category in categories]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{where}: names {twice[0]!r} twice")
    return categories


def _of_lines(text: str) -> tuple[Category, ...]:
    return categories_named(line.strip() for line in text.splitlines() if line.strip())


def _of_json(text: str, where: str) -> tuple[Category, ...]:
    try:
        content: Any = json.loads(text)
        items = content["categories"] if isinstance(content, dict) else content
        return tuple(
            Category(str(item["name"]), int(item["id"])) for item in sorted(items, key=lambda item: item["id"])
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InputError(f"{where}: neither a name a line nor COCO's categories ({error})") from error
