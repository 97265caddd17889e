"""Pictures inside a page: the SVG that the figures draw, made safe, small and free of clashes.

Only what the figures draw is let through, so no script runs and nothing is fetched. Shapes that
many pictures use, above all the letters of the labels, stand in the page once, under an id that
their content gives them; every other id gets the salt of its picture. Coordinates are kept to
0.01 pt, which no screen or printer shows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from xml.etree import ElementTree

ELEMENTS = {"svg", "g", "defs", "path", "use", "clipPath", "pattern", "rect", "image"}
IGNORED = {"metadata", "style", "title"}  # the page has a style and a title for every picture
PLACED = {"x", "y", "width", "height"}
PROPERTIES = {
    *("fill", "fill-opacity", "fill-rule", "stroke", "stroke-width", "stroke-opacity"),
    *("stroke-linejoin", "stroke-linecap", "stroke-dasharray", "stroke-dashoffset"),
    *("stroke-miterlimit", "opacity", "image-rendering"),
}
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
STEP = re.compile(rf"[A-DF-Za-df-z]|{NUMBER.pattern}")
CALL = re.compile(r"(translate|scale|rotate|matrix)\(([^()]*)\)")
PLAIN = re.compile(r"[-#\w., %]*")
PIXELS = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]+")


class UnknownMarkup(ValueError):
    """A picture holds what the figures do not draw."""


@dataclass
class Shapes:
    """The shapes that pictures of one page share: markup by id."""

    known: dict[str, str] = field(default_factory=dict)

    def share(self, attributes: str) -> str:
        """The id of a path with these attributes."""
        return self.known.setdefault(attributes, f"s{len(self.known)}")

    def markup(self, wanted: set[str]) -> str:
        """Definitions of the shapes with these ids."""
        shapes = ((name, text) for text, name in self.known.items() if name in wanted)
        return "".join(f'<path id="{name}"{text}/>' for name, text in shapes)


@dataclass(frozen=True)
class Picture:
    """What stands inside an `<svg>`, its size in points, and the shared shapes it uses."""

    width: float
    height: float
    inside: str
    shapes: set[str]


def convert(svg: str, salt: str, shapes: Shapes) -> Picture:
    """A picture for a page, ids salted, from the SVG of a figure.

    Raises:
        UnknownMarkup: when it is no XML, or has an element, attribute or reference that the
            figures do not draw (a script, a link, an address).
    """
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise UnknownMarkup(f"no well-formed SVG ({error})") from None
    _, _, width, height = map(float, root.get("viewBox", "0 0 0 0").split())
    writer = _Writer(root, salt, shapes)
    inside = "".join(writer.write(child) for child in root)
    return Picture(width, height, inside, writer.used)


class _Writer:
    """Writes the elements of one picture."""

    def __init__(self, root: ElementTree.Element, salt: str, shapes: Shapes) -> None:
        self.salt, self.used = salt, set[str]()
        self.links: dict[str, str] = {}
        self.styles: dict[str, Mapping[str, str]] = {}
        for shape in root.findall(".//{*}defs/{*}path[@id]"):
            name = shapes.share(_text(self._attributes(shape)))
            self.links[shape.attrib["id"]] = name
            self.styles[shape.attrib["id"]] = _style(shape)
        for other in root.findall(".//{*}clipPath[@id]") + root.findall(".//{*}pattern[@id]"):
            self.links[other.attrib["id"]] = f"{salt}-{len(self.links)}"

    def write(self, element: ElementTree.Element) -> str:
        """An element with what it holds; a group without attributes is what it holds."""
        name = _local(element.tag)
        if name in IGNORED:
            return ""
        if name not in ELEMENTS:
            raise UnknownMarkup(f"an element <{name}>")
        if name == "path" and element.get("id") in self.links:
            return ""
        attributes = self._attributes(element)
        if name in ("clipPath", "pattern"):
            attributes = {"id": self.links[element.attrib["id"]], **attributes}
        inside = "".join(self.write(child) for child in element)
        if (name == "g" and not attributes) or (name in ("g", "defs") and not inside):
            return inside
        return f"<{name}{_text(attributes)}" + (f">{inside}</{name}>" if inside else "/>")

    def _attributes(self, element: ElementTree.Element) -> dict[str, str]:
        """Its attributes, small; a style becomes attributes too, as the page allows no other."""
        found: dict[str, str] = {}
        for name, value in element.attrib.items():
            if (local := _local(name)) not in ("id", "style"):
                found |= self._attribute(local, value)
        style = _style(element)
        if _local(element.tag) == "use":
            found = _placed(found)
            own = self.styles.get(_target(element), {})  # its user cannot change it
            style = {name: value for name, value in style.items() if name not in own}
        for name, value in style.items():
            found[name] = self._reference(value) if "url" in value else value
        return found

    def _attribute(self, name: str, value: str) -> dict[str, str]:
        if name in PLACED:
            return {name: _short(value)}
        if name == "d":
            return {name: _path(value)}
        if name == "transform":
            return _transform(value)
        if name == "clip-path":
            return {name: self._reference(value)}
        if name == "href":
            return {name: value if PIXELS.fullmatch(value) else f"#{self._link(value[1:], value)}"}
        if name in ("patternUnits", "viewBox") and PLAIN.fullmatch(value):
            return {name: value}
        raise UnknownMarkup(f"an attribute {name}={value[:40]!r}")

    def _reference(self, value: str) -> str:
        match = re.fullmatch(r"url\(#([^()]+)\)", value)
        return f"url(#{self._link(match[1] if match else '', value)})"

    def _link(self, name: str, value: str) -> str:
        """The new id of something in this picture."""
        if name not in self.links:
            raise UnknownMarkup(f"a reference {value[:40]!r} to nothing in it")
        self.used.add(self.links[name])
        return self.links[name]


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _text(attributes: Mapping[str, str]) -> str:
    return "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())


def _placed(attributes: dict[str, str]) -> dict[str, str]:
    """A shift alone is a place, which is shorter."""
    shift = re.fullmatch(r"translate\(([^ ()]+) ([^ ()]+)\)", attributes.get("transform", ""))
    if shift is None or PLACED & attributes.keys():
        return attributes
    rest = {name: value for name, value in attributes.items() if name != "transform"}
    return rest | {
        axis: place for axis, place in zip("xy", shift.groups(), strict=True) if place != "0"
    }


def _target(element: ElementTree.Element) -> str:
    """The id that a `<use>` refers to."""
    return next((v[1:] for k, v in element.attrib.items() if _local(k) == "href"), "")


def _style(element: ElementTree.Element) -> dict[str, str]:
    """The declarations of a style attribute."""
    declared = (part.partition(":") for part in element.get("style", "").split(";") if part.strip())
    found = {name.strip(): value.strip() for name, _, value in declared}
    for name, value in found.items():
        reference = name in ("fill", "stroke") and value.startswith("url(")
        if name not in PROPERTIES or not (reference or PLAIN.fullmatch(value)):
            raise UnknownMarkup(f"a style {name}: {value[:40]!r}")
    return found


def _short(number: str) -> str:
    """To two digits after the point."""
    return _trimmed(f"{float(number):.2f}")


def _trimmed(number: str) -> str:
    """Without zeros that say nothing: -0.50 is -.5."""
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    sign, digits = ("-", number[1:]) if number.startswith("-") else ("", number)
    if digits == "0":
        return "0"
    return sign + digits.removeprefix("0")


def _path(data: str) -> str:
    """The steps of a path, a letter only where it changes."""
    text, last = "", ""
    for step in STEP.findall(data):
        if step.isalpha():
            text += "" if step == last and step not in "Mm" else step
            last = step
            continue
        number = _short(step)
        text += number if text[-1:].isalpha() or number[0] == "-" else f" {number}"
    return text


def _transform(value: str) -> dict[str, str]:
    """A transform; places to two digits, factors to six, which sizes of 10³ pt need."""
    calls = CALL.findall(value)
    if CALL.sub("", value).strip(" ,"):
        raise UnknownMarkup(f"a transform {value[:40]!r}")
    short = []
    for name, numbers in calls:
        places = NUMBER.findall(numbers)
        if name == "translate":
            short.append(f"translate({' '.join(map(_short, places))})")
        else:
            short.append(f"{name}({' '.join(_trimmed(f'{float(x):.6f}') for x in places)})")
    return {"transform": "".join(short)}
