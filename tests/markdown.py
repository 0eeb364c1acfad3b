"""What the tests read from README and docs: links, anchors and command lines."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUTSIDE = [
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "detattack/detectors/demo/weights/README.md",
    "classify/models/weights/README.md",
]
PAGES = [*(ROOT / name for name in OUTSIDE), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[(?:[^][]|\[[^]]*\])*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """List what the links and pictures of a page lead to."""
    return LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """Return what a link may have behind its `#`: the headings, as hosts and the site spell them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def marked_blocks(page: Path) -> list[tuple[str, str]]:
    """List the blocks of a shell, each with the comment before it: `needs: ...`, `run by: FILE`, or nothing."""
    found = re.findall(
        r"(?:^ *<!-- (.*?) -->\n)?^ *```bash\n(.*?)^ *```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return [(mark, code) for mark, code in found]


def inline_lines(page: Path) -> list[list[str]]:
    """List the arguments of each `detattack ...` within a text or a table."""
    return [line for code in re.findall(r"`(detattack [a-z][^`]+)`", prose(page)) for line in command_lines(code)]


def command_lines(script: str) -> list[list[str]]:
    """List the arguments of each `detattack` in a script. What is in brackets is taken; dots are not."""
    lines = re.sub(r"\\\n *", "", script).splitlines()
    return [
        words for line in lines for part in re.split(r" && | \| | -- ", line) if (words := arguments(part)) is not None
    ]


def arguments(command: str) -> list[str] | None:
    """Return what follows `detattack`, or None where another program is called."""
    plain = re.sub(r"(?<= )\[([^]]*)\]", r"\1", command)
    words = [word for word in shlex.split(plain, comments=True) if not word.endswith("...")]
    program = next((n for n, word in enumerate(words) if "=" not in word), len(words))
    return words[program + 1 :] if words[program:] and Path(words[program]).name == "detattack" else None
