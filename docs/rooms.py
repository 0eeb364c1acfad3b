"""Draw the rooms of the source tree and the imports between them: `python docs/rooms.py` writes the picture.

A room is an entry of `detattack/` (a folder, or a file beside the folders), and `classify`. An arrow runs from a room
to another that it imports, wherever in a file the import stands. A room's floor is one above the highest room that it
imports; rooms that import no other stand on floor 1. Nothing is executed: imports are read from the syntax trees.
"""

import argparse
import ast
import html
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "pictures" / "rooms.svg"
PACKAGES = ("detattack", "classify")
PACKAGE_FILES = ("__init__", "__main__")
"""Files that are no room of their own: the package's face, and its entry point."""

WIDTH, ROW, BOX_WIDTH, BOX_HEIGHT, MARGIN = 960, 96, 132, 44, 24


@dataclass(frozen=True)
class House:
    """Rooms and what ties them.

    lines: of code in each room. arrows: from a room to those that it imports, with the files that do so.
    """

    lines: dict[str, int]
    arrows: dict[tuple[str, str], tuple[str, ...]]

    def imports_of(self, room: str) -> set[str]:
        """The rooms that a room imports."""
        return {to for start, to in self.arrows if start == room}

    def floors(self) -> dict[str, int]:
        """The floor of each room, 1 at the ground. Raises ValueError where rooms import each other in a circle."""
        found: dict[str, int] = {}
        while len(found) < len(self.lines):
            ready = [room for room in self.lines if room not in found and self.imports_of(room) <= found.keys()]
            if not ready:
                raise ValueError(f"circle among {', '.join(sorted(self.lines.keys() - found.keys()))}")
            found |= {room: 1 + max((found[to] for to in self.imports_of(room)), default=0) for room in ready}
        return found


def read_house(root: Path = ROOT) -> House:
    """Read the rooms and arrows of a checkout from its imports."""
    lines: dict[str, int] = {}
    arrows: dict[tuple[str, str], set[str]] = {}
    for path in sorted(p for package in PACKAGES for p in (root / package).rglob("*.py")):
        own = room_of(path.relative_to(root).with_suffix("").parts)
        if own is None:
            continue
        text = path.read_text(encoding="utf-8")
        lines[own] = lines.get(own, 0) + text.count("\n")
        for module in imported(ast.parse(text)):
            other = room_of(tuple(module.split(".")))
            if other not in (own, None):
                arrows.setdefault((own, str(other)), set()).add(path.relative_to(root).as_posix())
    return House(lines, {pair: tuple(sorted(files)) for pair, files in sorted(arrows.items())})


def room_of(parts: tuple[str, ...]) -> str | None:
    """Name the room of a module, given as the parts of its dotted name; None for what is no room of the project."""
    if parts[0] == "classify":
        return "classify"
    if parts[0] != "detattack" or len(parts) < 2 or parts[1] in PACKAGE_FILES or not parts[1][0].islower():
        return None
    return parts[1]


def imported(tree: ast.AST) -> Iterable[str]:
    """List the modules that a syntax tree imports, absolute ones: relative imports are banned by the linter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module in PACKAGES:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def drawn(house: House) -> str:
    """Draw the house as SVG: a row a floor, the ground at the bottom; an arrow's width grows with its files."""
    floors = house.floors()
    places = _places(floors)
    height = MARGIN * 2 + ROW * max(floors.values())
    shapes = [_arrow(places[start], places[to], len(files)) for (start, to), files in house.arrows.items()]
    shapes += [_box(place, room, house.lines[room]) for room, place in places.items()]
    style = "text{font:14px sans-serif;text-anchor:middle;fill:#1b2733}.n{font-size:11px;fill:#5a6b7b}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    marker = (
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto" '
        'markerUnits="userSpaceOnUse"><path d="M0 0L8 4L0 8z" fill="#8aa0b4"/></marker></defs>'
    )
    background = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    return "\n".join([head, f"<style>{style}</style>", marker, background, *shapes, "</svg>", ""])


def _places(floors: dict[str, int]) -> dict[str, tuple[float, float]]:
    """The middle of each room's box."""
    places = {}
    top = max(floors.values())
    for floor in range(1, top + 1):
        rooms = sorted(room for room in floors if floors[room] == floor)
        for number, room in enumerate(rooms):
            shift = 60 * (-1) ** floor if len(rooms) == 1 else 0  # so that arrows over two floors stay visible
            x = WIDTH * (number + 1) / (len(rooms) + 1) + shift
            places[room] = (x, MARGIN + ROW * (top - floor) + BOX_HEIGHT / 2)
    return places


def _box(place: tuple[float, float], room: str, lines: int) -> str:
    x, y = place
    return (
        f'<rect x="{x - BOX_WIDTH / 2:.0f}" y="{y - BOX_HEIGHT / 2:.0f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" '
        f'rx="6" fill="#eaf1f8" stroke="#3f6a94"/><text x="{x:.0f}" y="{y - 2:.0f}">{html.escape(room)}</text>'
        f'<text class="n" x="{x:.0f}" y="{y + 14:.0f}">{lines:,} lines</text>'
    )


def _arrow(start: tuple[float, float], to: tuple[float, float], files: int) -> str:
    x1, y1, x2, y2 = start[0], start[1] + BOX_HEIGHT / 2, to[0], to[1] - BOX_HEIGHT / 2
    bend = (y1 + y2) / 2
    width = min(1 + files / 8, 4)
    return (
        f'<path d="M{x1:.0f} {y1:.0f}C{x1:.0f} {bend:.0f} {x2:.0f} {bend:.0f} {x2:.0f} {y2:.0f}" fill="none" '
        f'stroke="#8aa0b4" stroke-opacity=".7" stroke-width="{width:.1f}" marker-end="url(#a)"/>'
    )


def summary(house: House) -> str:
    """Tell the house in words: counts, then each floor from the top."""
    floors = house.floors()
    lines = [f"{len(house.lines)} rooms, {max(floors.values())} floors, {len(house.arrows)} arrows"]
    for floor in range(max(floors.values()), 0, -1):
        for room in sorted(room for room in floors if floors[room] == floor):
            lines.append(
                f"{floor:3}  {room:12} {house.lines[room]:6} lines  -> {', '.join(sorted(house.imports_of(room)))}"
            )
    return "\n".join(lines)


def main() -> None:
    """Print the rooms of a checkout, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", type=Path, help="another checkout: print its rooms, draw nothing")
    root = parser.parse_args().root
    house = read_house(root or ROOT)
    print(summary(house))
    if root is None:
        PICTURE.write_text(drawn(house), encoding="utf-8")
        print(f"drawn: {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
