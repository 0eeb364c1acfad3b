"""Colors of figures and pages: one for a class everywhere, and those of text."""

import colorsys
import zlib

Color = tuple[float, float, float]
"""RGB in [0,1]."""
INK, SOFT = "#1a1a1a", "#6b6b6b"
"""Of text, and of text that stands back."""
_FAMILIAR: dict[str, Color] = {
    name: tuple(int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))  # type: ignore[misc]
    for name, code in {
        "car": "e6550d",
        "person": "1f77d0",
        "truck": "8c4fc4",
        "bus": "128a52",
        "bicycle": "d6336c",
        "motorcycle": "0b8fa3",
        "traffic light": "f2b705",
        "stop sign": "c1121f",
        "train": "5c4ad1",
        "dog": "9a5b13",
        "cat": "c2379a",
        "bird": "4c9a1f",
    }.items()
}


def class_color(name: str) -> Color:
    """Return the color of a class: the same everywhere, whatever a model's order of classes."""
    if name in _FAMILIAR:
        return _FAMILIAR[name]
    seed = zlib.crc32(name.encode())
    hue, lightness = (seed % 997) / 997, 0.42 + 0.06 * (seed // 997 % 3)
    return colorsys.hls_to_rgb(hue, lightness, 0.75)


def ink_on(color: Color) -> Color:
    """Return white or near-black, whichever reads better on a color."""
    luminance = 0.2126 * color[0] ** 2.2 + 0.7152 * color[1] ** 2.2 + 0.0722 * color[2] ** 2.2
    return (0.08, 0.08, 0.08) if luminance > 0.36 else (1.0, 1.0, 1.0)


def hex_color(color: Color) -> str:
    """Write a color as CSS does, `#rrggbb`."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in color)
