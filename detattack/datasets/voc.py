"""Pascal VOC data sets: an XML file for each image, in the folders of VOC or beside the images.

The folders of VOC are `JPEGImages`, `Annotations` and `ImageSets/Main`, whose lists are the splits. VOC counts pixels
from 1 and includes the last one, so that x1, y1, x2, y2 are xmin − 1, ymin − 1, xmax, ymax. Many a tool counts from 0
instead: where a box of the data set begins at 0, all are taken to.

Objects that are marked as difficult count as others do: COCO has no such mark, and its hard objects are in its AP.
"""

import hashlib
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.parsers import expat

from detattack.core.errors import InputError
from detattack.core.files import is_plain
from detattack.core.wording import counted, worded
from detattack.datasets.base import Dataset, decoded, missing_images, read_description
from detattack.datasets.coco import is_outside
from detattack.datasets.coco_file import Repairs
from detattack.datasets.image_io import image_size
from detattack.datasets.image_names import IMAGE_SUFFIXES, image_paths
from detattack.datasets.labeled import CocoItem, LabeledImage, check_folder, coco_object, labeled_dataset, read_labels

IMAGES, XMLS, LISTS = "JPEGImages", "Annotations", "ImageSets/Main"
FOLDERS = ((IMAGES, XMLS), ("images", "annotations"))
"""Folders of images and of XML files: VOC's own, and as data sets are shared."""
ROOT, OBJECT = "annotation", "annotation/object"
CORNERS = ("xmin", "ymin", "xmax", "ymax")
DEEPEST = 4
"""Elements further down are not looked at."""
_HEAD_BYTES = 4096
_FLAG = re.compile(r"\s+-?\d+$")
"""What a line of a list may go on with."""


@dataclass(frozen=True)
class _Object:
    """An object of a file. place: file and line. corners: as written, each pair in order."""

    name: str
    corners: tuple[float, float, float, float]
    is_difficult: bool
    place: str


@dataclass(frozen=True)
class _File:
    size: tuple[str, str]
    objects: tuple[_Object, ...]


def is_voc(folder: Path) -> bool:
    """Return whether a folder has folders of images and VOC's files, or images with these beside them."""
    if (folder / IMAGES).is_dir() and (folder / XMLS).is_dir():
        return True
    pictures, xmls = _places(folder, None)
    files = (xml for xml in xmls.rglob("*.xml") if xml.is_file())
    return any(_begins_like_voc(xml) for xml in files if pictures != xmls or _is_pictured(xml))


def voc_dataset(
    images: Path, annotations: Path | None = None, split: str | None = None, missing: str = "skip"
) -> Dataset:
    """Open a Pascal VOC data set; its categories are the names that occur, in alphabetical order.

    - images: the folder of VOC's folders, or of the images
    - annotations: the folder of the XML files; None: VOC's, else that of the images
    - split: a list of `ImageSets/Main`; None: all images
    - missing: "skip" images without a file, and files without an image, or "error"

    Raises `InputError` that names file and line.
    """
    images = Path(images)
    check_folder(images, "images")
    pictures, xmls = _places(images, annotations)
    check_folder(xmls, "annotations")
    of_image, of_xml = _by_name(pictures, image_paths(pictures, images)), _by_name(xmls, sorted(xmls.rglob("*.xml")))
    known = {*of_image, *of_xml}
    names = sorted(known) if split is None else _listed(images / LISTS, split, known)
    notes = missing_images(names, [of_image.get(name) for name in names], pictures, "labeled", missing)
    notes += _unlabeled([name for name in names if name in of_image], of_xml, xmls, missing)
    both = [name for name in names if name in of_image and name in of_xml]
    digest, repairs = hashlib.sha256(), Repairs()
    files = []
    for name in both:
        said = read_labels(of_xml[name], "annotations")
        digest.update(said + b"\0")
        files.append(_parsed(said, str(of_xml[name]), repairs))
    number = {name: i for i, name in enumerate(sorted({o.name for file in files for o in file.objects}), 1)}
    if not number:
        raise InputError(f"annotations {xmls}: none of {counted(len(both), 'file')} has an object")
    start = _first_pixel(files, repairs)
    labeled = [_labeled(of_image[name], file, number, start, repairs) for name, file in zip(both, files, strict=True)]
    categories = [{"id": i, "name": name} for name, i in number.items()]
    return labeled_dataset(images, labeled, categories, digest.digest(), (*notes, *repairs.notes()))


def _begins_like_voc(path: Path) -> bool:
    with path.open("rb") as file:
        return f"<{ROOT}".encode() in file.read(_HEAD_BYTES)


def _is_pictured(xml: Path) -> bool:
    """Return whether an image of the name of an XML file lies beside it."""
    return any(xml.with_suffix(suffix).is_file() for suffix in (*IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES)))


def _places(folder: Path, annotations: Path | None) -> tuple[Path, Path]:
    """Return the folders of images and of XML files."""
    if annotations is not None:
        return folder / IMAGES if (folder / IMAGES).is_dir() else folder, Path(annotations)
    both = ((folder / images, folder / xmls) for images, xmls in FOLDERS)
    return next(((images, xmls) for images, xmls in both if images.is_dir() and xmls.is_dir()), (folder, folder))


def _listed(lists: Path, split: str, known: Collection[str]) -> list[str]:
    """Return the names in a list, whose lines may go on with whether a class is there. known: names that there are."""
    path = lists / f"{split}.txt"
    if not is_plain(split) or not path.is_file():
        known = ", ".join(sorted(one.stem for one in lists.glob("*.txt"))[:10]) or "none"
        raise InputError(f"split {split[:80]!r}: no list of {lists} (there: {known})")
    lines = decoded(read_description(path, f"list {path}"), f"list {path}").splitlines()
    names = [line if line in known else _FLAG.sub("", line) for line in map(str.strip, lines) if line]
    if not names:
        raise InputError(f"list {path}: is empty")
    return list(dict.fromkeys(names))


def _by_name(folder: Path, paths: Sequence[Path]) -> dict[str, Path]:
    """Index files by their names in a folder, without the suffix. Raises `InputError` where two have the same."""
    found: dict[str, Path] = {}
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix()
        if found.setdefault(name, path) is not path:
            raise InputError(f"{path} and {found[name].name} have the same name but for the suffix")
    return found


def _unlabeled(names: Sequence[str], of_xml: Mapping[str, Path], xmls: Path, missing: str) -> list[str]:
    """Return the note on images without a file, where there are any. Parameters as in `missing_images`."""
    without = [name for name in names if name not in of_xml]
    if not without:
        return []
    of_all = (
        f"{len(without)} of {counted(len(names), 'image')} {worded(len(without), 'has', 'have')} no XML file in {xmls}"
    )
    said = f"{of_all} (the first: {without[0][:80]!r})"
    if missing == "error" or len(without) == len(names):
        are_texts = not of_xml and any(xmls.rglob("*.txt"))
        raise InputError(f"{said}; text files are YOLO's, whose data.yaml --images takes" if are_texts else said)
    return [f"{said}; left out of every figure"]


def _parsed(said: bytes, where: str, repairs: Repairs) -> _File:
    """Parse an XML file. where: its path. Raises `InputError` that names the line."""
    fields: dict[str, tuple[int, str]] = {}
    objects, root = [], ""
    for path, line, text in _elements(said, where):
        root = path
        if path == OBJECT:
            own = {
                name.removeprefix(f"{OBJECT}/"): fields.pop(name)
                for name in list(fields)
                if name.startswith(f"{OBJECT}/")
            }
            objects.append(_object(own, where, line, repairs))
        else:
            fields[path] = (line, text)
    if root != ROOT:
        raise InputError(f"{where}: no annotation of Pascal VOC (its root is {root[:40]!r}, not {ROOT!r})")
    width, height = (fields.get(f"{ROOT}/size/{side}", (0, ""))[1] for side in ("width", "height"))
    return _File((width, height), tuple(objects))


def _elements(said: bytes, where: str) -> Iterator[tuple[str, int, str]]:
    """Yield path, first line and text of each element of an XML file, the inner ones first. Raises `InputError`."""
    parser, found = expat.ParserCreate(), []
    opened: list[tuple[str, int, list[str]]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        opened.append((name, parser.CurrentLineNumber, []))

    def end(name: str) -> None:
        if len(opened) <= DEEPEST:
            found.append(("/".join(one for one, _, _ in opened), opened[-1][1], "".join(opened[-1][2]).strip()))
        opened.pop()

    def refuse(*declared: object) -> None:
        raise InputError(f"{where}:{parser.CurrentLineNumber}: declares entities, which no annotation needs")

    parser.StartElementHandler, parser.EndElementHandler, parser.EntityDeclHandler = start, end, refuse
    parser.CharacterDataHandler = lambda text: opened[-1][2].append(text)
    try:
        parser.Parse(said, True)
    except expat.ExpatError as error:
        raise InputError(f"{where}:{error.lineno}: not XML ({expat.ErrorString(error.code)})") from error
    except (ValueError, LookupError) as error:  # an encoding that Python does not have
        raise InputError(f"{where}: not XML ({error})") from error
    yield from found


def _object(fields: dict[str, tuple[int, str]], where: str, line: int, repairs: Repairs) -> _Object:
    """Make an object of its elements, each with its line."""
    name = fields.get("name", (line, ""))[1]
    if not name:
        raise InputError(f"{where}:{line}: an object without a name")
    values = {}
    for corner in CORNERS:
        at, text = fields.get(f"bndbox/{corner}", (line, ""))
        values[corner] = _number(text, f"{where}:{at}: {corner} of {name[:40]!r}")
    xs, ys = sorted((values["xmin"], values["xmax"])), sorted((values["ymin"], values["ymax"]))
    place = f"{Path(where).name}:{line}"
    if (xs[0], ys[0]) != (values["xmin"], values["ymin"]):
        repairs.add("object", "with its corners the wrong way round", place, "put in order")
    difficult = fields.get("difficult", (line, "0"))[1].lower() in ("1", "true")
    return _Object(name, (xs[0], ys[0], xs[1], ys[1]), difficult, place)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where} is {text[:20]!r}, not a number" if text else f"{where} is missing")
    return value


def _first_pixel(files: Sequence[_File], repairs: Repairs) -> int:
    """Return the number of the first pixel: VOC's 1, or 0 where a box begins there."""
    at_zero = [o for file in files for o in file.objects if min(o.corners[:2]) < 1]
    for one in at_zero:
        repairs.add("box", "beginning before pixel 1", one.place, "all count from 0 here, not from 1 as VOC's")
    return 0 if at_zero else 1


def _labeled(path: Path, file: _File, number: dict[str, int], start: int, repairs: Repairs) -> LabeledImage:
    """Make COCO's annotations of what a file says."""
    size = image_size(path)
    if size and all(side.isdecimal() and int(side) for side in file.size) and file.size != (str(size[0]), str(size[1])):
        repairs.add("image", "of another size than its XML file says", path.name, "boxes are kept as they are")
    objects: list[CocoItem] = []
    for one in file.objects:
        x1, y1, x2, y2 = one.corners
        box = [x1 - start, y1 - start, x2 - x1 + start, y2 - y1 + start]
        mark = {"difficult": 1} if one.is_difficult else {}
        if one.is_difficult:
            repairs.add("object", "marked as difficult", one.place, "counted, as COCO counts its hard ones")
        if is_outside(box, size):
            repairs.add("object", "outside of its image", one.place, "left out")
        else:
            objects.append(coco_object(number[one.name], box, **mark))
    return LabeledImage(path, size, objects)
