"""A report of a few quick tables, with a manifest that lies in wait for it, and its elements."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from experiments import claims, cli, report
from experiments.verdict import Verdict

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
DRAWN = ("interface_exact", "decoder_contrast")
HOSTILE = "</code><script>alert('x')</script>\"onload=\"alert(1)"
VOID = {"meta", "img", "br", "link", "path", "use", "rect", "mspace", "image"}


@dataclass
class Element:
    """An element of a page with the text in it, in the order of the page."""

    name: str
    attributes: dict[str, str]
    parents: tuple[str, ...]
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def find(self, name: str) -> list["Element"]:
        """Everything of this name in it."""
        inside = [element for child in self.children for element in child.find(name)]
        return [child for child in self.children if child.name == name] + inside


class Reader(HTMLParser):
    """Elements of a page as a browser nests them; complains of a tag that closes nothing."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = Element("document", {}, ())
        self.open, self.all = [self.root], list[Element]()
        self.feed(page)
        assert self.open == [self.root], f"not closed: {[e.name for e in self.open]}"

    def handle_starttag(self, tag, attrs):
        parents = tuple(element.name for element in self.open)
        element = Element(tag, {name: value or "" for name, value in attrs}, parents)
        assert len(element.attributes) == len(attrs), f"an attribute twice in {tag} {attrs}"
        self.open[-1].children.append(element)
        self.all.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop().name == tag

    def handle_data(self, data):
        for element in self.open:
            element.text += data


def write(
    out: Path,
    preset: str = "quick",
    names: tuple[str, ...] = DRAWN,
    judge: Callable[[Path], list[Verdict]] = claims.evaluate,
) -> Path:
    """A report of these reference tables, the last of which has a hostile manifest."""
    (out / "figures").mkdir(parents=True)
    for name in names:
        for kind in ("csv", "manifest.json"):
            shutil.copy(REFERENCE / preset / f"{name}.{kind}", out)
    manifest = out / f"{names[-1]}.manifest.json"
    facts = json.loads(manifest.read_text("utf-8"))
    facts["skipped"] = [{"config": {"decoder": HOSTILE}, "reason": HOSTILE}]
    facts |= {"command": HOSTILE, "failed": [{"config": {}, "error": HOSTILE}]}
    manifest.write_text(json.dumps(facts), "utf-8")
    tables = [out / f"{name}.csv" for name in names]
    for table in tables:
        cli.draw(table)
    return report.write(out, tables, judge(out))
