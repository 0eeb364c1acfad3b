"""Read the file of `--categories`: the class names of a user's own model."""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from detattack.core.categories import categories_named, check_one_a_line
from detattack.core.errors import InputError
from detattack.core.types import Category
from detattack.core.wording import counted

KEYS = ("categories", "names", "id2label")
"""Where COCO files, YOLO's data.yaml and Hugging Face's config.json hold the classes."""
FORMS = "names, one a line, a JSON list of them, `names` of a data.yaml, `id2label` of a config.json, COCO's categories"
_NUMBERED = re.compile(r"(\d{1,6})[\s:;,.)=-]+(\S.*)", re.ASCII)
log = logging.getLogger(__name__)


def read_categories(path: str | Path) -> tuple[Category, ...]:
    """Read categories in the order of a model's head, without the background.

    The file holds names, one a line, with or without numbers from 0 or 1 on before them; a JSON list of names; a YOLO
    data set's YAML (`names`, a list or by number); a Hugging Face config (`id2label`); or a COCO file (or a list of
    its categories), in the order of its ids, which are kept. What is taken from a file that holds more than names is
    logged as a warning. Raises `InputError` for anything else, and for names that are not one a class.
    """
    where = f"categories {path}"
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a null byte in the name
        raise InputError(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    is_yaml = Path(path).suffix.lower() in (".yaml", ".yml") or re.search(r"^names\s*:", text, re.MULTILINE)
    if is_yaml or text.lstrip().startswith(("{", "[")):
        categories = _of_content(_parsed(text, bool(is_yaml), where), where)
    else:
        categories = _of_lines([line.strip() for line in text.splitlines() if line.strip()], where)
    if not categories:
        raise InputError(f"{where}: names no class")
    names = [category.name for category in categories]
    twice = next((name for name in names if names.count(name) > 1), None)
    if "" in names or twice is not None:
        raise InputError(f"{where}: {'a class has no name' if '' in names else f'names {twice!r} twice'}")
    return categories


def _of_lines(lines: list[str], where: str) -> tuple[Category, ...]:
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    if not all(numbered):
        check_one_a_line(lines, where)
        return categories_named(lines)
    found = _in_order(((int(one[1]), one[2]) for one in numbered if one), where)
    check_one_a_line(found, where)
    if found:
        _say(where, "the numbers of its lines", found)
    return categories_named(found)


def _parsed(text: str, is_yaml: bool, where: str) -> Any:
    try:
        # The base loader leaves a class that is called `no` or `010` the text that it is.
        return yaml.load(text, Loader=_UniqueKeys) if is_yaml else json.loads(text, object_pairs_hook=_unique)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:120]
        raise InputError(f"{where}: not {'YAML' if is_yaml else 'JSON'} that can be read ({why})") from error


class _UniqueKeys(yaml.BaseLoader):
    """A loader of texts, and of mappings that have each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping; raise `ValueError` for a key that is there twice."""
        _unique([(key.value, None) for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
        return super().construct_mapping(node, deep)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"key {next(key for key, count in Counter(k for k, _ in pairs).items() if count > 1)!r} twice")
    return found


def _of_content(content: Any, where: str) -> tuple[Category, ...]:
    key = next((key for key in KEYS if isinstance(content, dict) and key in content), None)
    classes = content if key is None else content[key]
    if isinstance(classes, list) and classes and all(isinstance(item, dict) for item in classes):
        annotations = content.get("annotations") if isinstance(content, dict) else None
        return _of_coco(classes, annotations if isinstance(annotations, list) else [], where)
    if isinstance(classes, list) and all(isinstance(item, str) for item in classes):
        names = [item.strip() for item in classes]
    elif isinstance(classes, dict) and all(isinstance(name, str) for name in classes.values()):
        names = _in_order(((_number(key, where), name.strip()) for key, name in classes.items()), where)
    else:
        raise InputError(f"{where}: none of {FORMS}")
    count = content.get("nc") if isinstance(content, dict) else None
    if count is not None and _number(count, where) != len(names):
        raise InputError(f"{where}: nc is {count}, but {counted(len(names), 'class is', 'classes are')} named")
    if isinstance(content, dict):
        _say(where, repr(key) if key else "its numbers", names)
    return categories_named(names)


def _of_coco(items: list[Mapping[str, Any]], annotations: list[Any], where: str) -> tuple[Category, ...]:
    if not all({"id", "name"} <= item.keys() and isinstance(item["name"], str | int) for item in items):
        raise InputError(f"{where}: a category is without `id` or `name`")
    items = _without_roots(items, annotations, where)
    if any(isinstance(item["id"], str) and not item["id"].isdecimal() for item in items):
        names = [str(item["name"]).strip() for item in items]
        _say(where, "the order of the file, since an id is no number", names)
        return categories_named(names)
    named = sorted((_number(item["id"], where), str(item["name"]).strip()) for item in items)
    if len({number for number, _ in named}) < len(named):
        raise InputError(f"{where}: two categories have the same id")
    return tuple(Category(name, number) for number, name in named)


def _without_roots(items: list[Mapping[str, Any]], annotations: list[Any], where: str) -> list[Mapping[str, Any]]:
    """Leave out the categories that others belong to and nothing is annotated with, as Roboflow writes one."""
    used = [str(one.get("category_id")) for one in annotations if isinstance(one, dict)]
    parents = [item.get("supercategory") for item in items if item.get("supercategory") != item["name"]]
    roots = [item for item in items if item["name"] in parents and str(item["id"]) not in used]
    if roots:
        log.warning("%s: %r is no class, others belong to it; left out", where, roots[0]["name"])
    return [item for item in items if item not in roots]


def _number(value: Any, where: str) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InputError(f"{where}: {text[:80]!r} is no number of a class")
    return int(text)


def _in_order(numbered: Iterable[tuple[int, str]], where: str) -> list[str]:
    """Return names in the order of their numbers, which must run from 0 or 1 without a gap.

    Nobody knows whether the head has a gap too.
    """
    pairs = sorted(numbered)
    numbers = [number for number, _ in pairs]
    if numbers and numbers != list(range(min(numbers[0], 1), min(numbers[0], 1) + len(numbers))):
        raise InputError(
            f"{where}: the classes' numbers do not run from 0 or 1 on without a gap; write the names alone, one a line"
            " in the order of the head, or, where the numbers are part of them, as a JSON list"
        )
    return [name for _, name in pairs]


def _say(where: str, what: str, names: list[str]) -> None:
    shown = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
    log.warning("%s: %s, by %s: %s", where, counted(len(names), "class"), what, shown)
