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


def blocks(text: str, language: str) -> list[str]:
    """List the blocks of code in a language."""
    return [code for found, code in FENCE.findall(text) if found == language]


def command_lines(text: str) -> list[list[str]]:
    """List the arguments of each `detattack` in the blocks of a shell: whole lines, without comments and `[options]`."""
    found = []
    for block in blocks(text, "bash"):
        for line in re.sub(r"\\\n *", "", block).splitlines():
            for part in re.split(r" && | \| | -- ", line):
                words = [
                    word for word in shlex.split(re.sub(r" \[[^]]*\](?= |$)", "", part), comments=True) if word != "..."
                ]
                program = next((n for n, word in enumerate(words) if word.rpartition("/")[2] == "detattack"), None)
                if program is not None and all("=" in word for word in words[:program]):
                    found.append(words[program + 1 :])
    return found
