"""Hooks of mkdocs: pages that lie outside of docs/, and links between files made links between pages."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "detattack/detectors/demo/weights/README.md": "demo-card.md",
    "classify/models/weights/README.md": "classifier-card.md",
}
"""Files of the repository that are pages of the site, too."""
SOURCES = {page: source for source, page in PAGES.items()}
LINK = re.compile(r"\[((?:[^][]|\[[^]]*\])*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"(^ *```.*?^ *```)", re.DOTALL | re.MULTILINE)


def on_files(files, config):
    """Add the pages that lie outside of docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links between files of the repository into links between pages; code is left alone."""
    source = SOURCES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    parts = FENCE.split(markdown)
    parts[::2] = [LINK.sub(lambda link: in_site(link, source, page.file.src_uri), part) for part in parts[::2]]
    return "".join(parts)


def in_site(link, source, page):
    """Return a link of a file as its page has it; one to a file that is no page becomes its text."""
    text, target = link.groups()
    path, mark, anchor = target.partition("#")
    if not path or "://" in path:
        return link[0]
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    uri = PAGES.get(file, file.removeprefix("docs/"))
    if uri == file:
        return text
    return f"[{text}]({posixpath.relpath(uri, posixpath.dirname(page) or '.')}{mark}{anchor})"
