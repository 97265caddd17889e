"""The report: complete, whole, harmless and accessible as it stands, without a browser."""

import base64
import itertools
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import album, claims, cli, mathml, paper, registry, report
from experiments.captions import CAPTIONS, caption
from experiments.pictures import Shapes, UnknownMarkup, convert
from experiments.statements import SECTIONS
from tests.pipeline.report_page import DRAWN, HOSTILE, REFERENCE, Reader, write

LARGEST = 5_000_000
GALLERY = Path(__file__).resolve().parents[2] / "figures" / "gallery"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("report") / "out")


@pytest.fixture(scope="module")
def text(path):
    return path.read_text("utf-8")


@pytest.fixture(scope="module")
def page(text):
    return Reader(text)


def attributes(page, *names):
    return [e.attributes[n] for e in page.all for n in names if n in e.attributes]


# Complete


def test_every_claim_stands_once_in_the_verdicts_and_once_in_its_section(page):
    known = {claim.id: claim for claim in claims.CLAIMS}
    tables = [e for e in page.all if e.name == "table"]
    linked = [link.attributes["href"] for t in tables for link in t.find("a")]
    assert sorted(linked) == sorted(f"#claim-{name}" for name in known)
    rows = {e.attributes["id"]: e.text for e in page.all if e.name == "tr" and "id" in e.attributes}
    assert sorted(rows) == sorted(f"claim-{name}" for name in known)
    for name, claim in known.items():
        assert claim.statement in rows[f"claim-{name}"]
        assert claim.command in rows[f"claim-{name}"]


def test_every_verdict_that_does_not_hold_says_why_and_the_counts_are_right(page, path):
    verdicts = claims.evaluate(path.parent)
    rows = {e.attributes.get("id"): e.text for e in page.all if e.name == "tr"}
    other = [verdict for verdict in verdicts if verdict.verdict != "holds"]
    assert {"missing", "inconclusive"} <= {verdict.verdict for verdict in other}
    for verdict in other:
        assert f"{verdict.verdict}: {verdict.reason}" in rows[f"claim-{verdict.id}"]
        assert verdict.reason.endswith(".")
    (counts,) = [e for e in page.all if e.attributes.get("class") == "counts"]
    said = {label: int(number) for number, label in (li.text.split() for li in counts.find("li"))}
    assert said == {v: sum(o.verdict == v for o in verdicts) for v in report.VERDICTS}


def test_every_number_of_the_paper_has_its_row(page, path):
    (table,) = [e for e in page.all if e.attributes.get("class") == "paper"]
    rows = [[cell.text for cell in row.children] for row in table.find("tr")[1:]]
    fields = ("quantity", "where", "paper", "ours", "judgement", "why")
    assert rows == [[getattr(c, f) for f in fields] for c in paper.compare(path.parent)]


def test_every_theorem_has_a_section_and_every_experiment_and_claim_one_of_them(page):
    titles = [e.text for e in page.all if e.name == "h2"]
    assert titles[2:] == [section.title for section in SECTIONS]
    homes = [name for section in SECTIONS for name in section.experiments]
    assert sorted(homes) == sorted(registry.EXPERIMENTS)
    assert not [v for v in claims.evaluate(Path("nowhere")) if report._home(v) is report.OTHER]
    named = {claim.theorem for claim in claims.CLAIMS}
    assert {source for section in SECTIONS for source in section.sources} <= named


def test_sections_have_formulas_figures_and_where_the_numbers_come_from(page, path):
    formulas = [e for e in page.all if e.name == "math"]
    assert len(formulas) > 50
    names = [e.find("title")[0].text for e in page.all if e.name == "figure"]
    assert names == [f.stem for name in DRAWN for f in report.figures(path.parent, name)]
    facts = json.loads((path.parent / f"{DRAWN[0]}.manifest.json").read_text("utf-8"))
    (section,) = [e for e in page.all if e.attributes.get("aria-labelledby") == "theorem-6"]
    for value in (facts["command"], facts["commit"], f"jax {facts['versions']['jax']}"):
        assert value in section.text


def test_writing_again_gives_the_same_bytes(path, text):
    tables = [path.parent / f"{name}.csv" for name in DRAWN]
    again = report.write(path.parent, tables, claims.evaluate(path.parent))
    assert again.read_text("utf-8") == text


def test_a_broken_manifest_is_named_with_what_to_do(path, tmp_path):
    table = tmp_path / "tube_law.csv"
    table.write_text((REFERENCE / "quick" / "tube_law.csv").read_text())
    table.with_suffix(".manifest.json").write_text("{")
    with pytest.raises(
        ValueError, match=r"tube_law\.manifest\.json is no JSON object.*run tube_law"
    ):
        report.write(tmp_path, [table], [])


# Whole, and harmless


def test_ids_are_unique_and_every_reference_has_its_id(page):
    ids = attributes(page, "id")
    assert len(ids) == len(set(ids))
    links = [value[1:] for value in attributes(page, "href")]
    named = [name for value in attributes(page, "aria-labelledby") for name in value.split()]
    painted = re.findall(
        r"url\(#([^()]+)\)", " ".join(attributes(page, "clip-path", "fill", "stroke"))
    )
    assert painted
    assert {*links, *named, *painted} <= set(ids)


def test_nothing_is_fetched_and_nothing_runs(page, text):
    names = {e.name for e in page.all}
    assert not names & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "foreignobject",
        "base",
        "form",
    }
    assert all(value.startswith("#") for value in attributes(page, "href"))
    assert all(value.startswith("data:image/png;base64,") for value in attributes(page, "src"))
    assert not {n for e in page.all for n in e.attributes if n.startswith("on") or n == "style"}
    assert not re.search(r"https?:|@import|url\((?!#)|<!ENTITY|<\?xml", text)


def test_the_policy_comes_first_and_forbids_all_but_style_and_the_pages_own_pictures(page):
    metas = [e.attributes for e in page.all if e.name == "meta"]
    policy = next(m["content"] for m in metas if m.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    expected = {"default-src": "'none'", "style-src": "'unsafe-inline'", "img-src": "data:"}
    assert rules == {**expected, "base-uri": "'none'", "form-action": "'none'"}
    names = [e.name for e in page.all]
    assert "style" not in names[: names.index("meta") + 3]


def test_a_hostile_manifest_is_text(page, text):
    assert "<script" not in text
    assert "script" not in {e.name for e in page.all}
    codes = [e.text for e in page.all if e.name == "code"]
    assert HOSTILE in codes  # the command
    items = [e.text for e in page.all if e.name == "li" and "alert" in e.text]
    assert items == [f"decoder {HOSTILE} {HOSTILE}", f" {HOSTILE}"]  # skipped, failed


@pytest.mark.slow
def test_the_page_of_the_paper_tables_is_below_5_mb(tmp_path):
    names = tuple(registry.EXPERIMENTS)
    path = write(tmp_path / "out", "paper", names)
    assert path.stat().st_size <= LARGEST
    drawn = {f.stem for f in (tmp_path / "out" / "figures").glob("*.svg")}
    assert len(drawn) > 80
    assert [name for name in drawn if caption(name) == name] == []


# Accessible as far as markup goes


def test_headings_descend_one_level_at_a_time(page):
    levels = [int(e.name[1]) for e in page.all if re.fullmatch("h[1-6]", e.name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_tables_have_captions_scoped_headers_and_regions_that_scroll_by_key(page):
    tables = [e for e in page.all if e.name == "table"]
    assert len(tables) > 10
    regions = [e for e in page.all if e.attributes.get("role") == "region"]
    assert [len(region.find("table")) for region in regions] == [1] * len(tables)
    for region in regions:
        (named,) = region.find("caption")
        assert region.attributes["aria-labelledby"] == named.attributes["id"]
        assert region.attributes["tabindex"] == "0"
        assert named.text.strip()
    cells = [e.attributes.get("scope") for e in page.all if e.name == "th"]
    assert set(cells) == {"col", "row", "rowgroup"}


def test_pictures_have_names_and_captions(page):
    figures = [e for e in page.all if e.name == "figure"]
    assert figures
    for figure in figures:
        (picture,) = figure.find("svg")
        (title,) = figure.find("title")
        assert picture.attributes["role"] == "img"
        assert picture.attributes["aria-labelledby"] == title.attributes["id"]
        assert caption(title.text) in figure.find("figcaption")[0].text


def test_every_figure_of_the_gallery_has_a_caption_and_every_caption_an_experiment():
    names = [path.stem for path in GALLERY.glob("*.png")]
    assert len(names) > 40
    assert [name for name in names if caption(name) == name] == []
    assert {key.partition("-")[0] for key in CAPTIONS} <= set(registry.EXPERIMENTS)
    assert caption("decoder_response-dabi") != caption("decoder_response-smollm2")


# Pictures

SVG = """<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 viewBox="0 0 20 10"><metadata>made</metadata><defs><style>*{{}}</style></defs>
<g id="a"><defs><path id="m" d="M 0 0 \nL 0 3.5004 \nL 1 -0.001 z" style="stroke: #000"/></defs>
<g clip-path="url(#c)"><use xlink:href="#m" x="7.12549" y="2" style="fill: #07b; stroke: #fff"/></g>
{extra}</g><defs><clipPath id="c"><rect x="0" y="0" width="20" height="10"/></clipPath></defs>
</svg>"""


def test_a_picture_is_small_salted_and_shares_its_shapes():
    shapes = Shapes()
    first, second = (convert(SVG.format(extra=""), salt, shapes) for salt in ("p1", "p2"))
    assert (first.width, first.height) == (20, 10)
    assert first.inside == (
        '<g clip-path="url(#p1-1)"><use href="#s0" x="7.13" y="2" fill="#07b"/></g>'
        '<defs><clipPath id="p1-1"><rect x="0" y="0" width="20" height="10"/></clipPath></defs>'
    )
    assert second.inside == first.inside.replace("p1-", "p2-")
    assert shapes.markup(first.shapes) == '<path id="s0" d="M0 0L0 3.5 1 0z" stroke="#000"/>'
    assert shapes.markup({"p1-1"}) == ""


@pytest.mark.parametrize(
    "extra",
    [
        "<script>alert(1)</script>",
        "<foreignObject/>",
        '<a xlink:href="javascript:alert(1)"/>',
        '<animate attributeName="href" values="javascript:alert(1)"/>',
        '<path d="M 0 0" onload="alert(1)"/>',
        '<path d="M 0 0" style="fill: url(http://x.example/a)"/>',
        '<path d="M 0 0" style="fill: url(#nowhere)"/>',
        '<path d="M 0 0" style="fill: &quot;>&lt;script>"/>',
        '<path d="M 0 0" style="behavior: url(#c)"/>',
        '<path d="M 0 0" clip-path="url(http://x.example/a#c)"/>',
        '<path d="M 0 0" transform="translate(1 2) evil(3)"/>',
        '<use xlink:href="http://x.example/a.svg#m"/>',
        '<use xlink:href="#nowhere"/>',
        '<image xlink:href="http://x.example/a.png"/>',
        '<image xlink:href="data:image/svg+xml;base64,AAAA"/>',
        "<text>letters</text>",
        "<broken>",
    ],
)
def test_what_the_figures_do_not_draw_is_refused(extra):
    with pytest.raises(UnknownMarkup):
        convert(SVG.format(extra=extra), "p", Shapes())


def test_a_picture_that_was_tampered_with_is_named(tmp_path):
    file = tmp_path / "toy-means.svg"
    file.write_text(SVG.format(extra="<script/>"))
    with pytest.raises(ValueError, match=r"toy-means\.svg is not as.*<script>.*noncommit figures"):
        album.collect([file], LARGEST)


def test_over_the_budget_the_picture_that_saves_most_becomes_pixels(tmp_path):
    pixels = album.SIGNATURE + b"pixels"
    lines = {"small": 1, "large": 300, "larger": 400, "alone": 500}
    for name, count in lines.items():
        path = '<path d="M 1.25 2.25 L 3.75 4.5"/>' * count
        (tmp_path / f"{name}.svg").write_text(SVG.format(extra=path))
        if name != "alone":
            (tmp_path / f"{name}.png").write_bytes(pixels)
    files = [tmp_path / f"{name}.svg" for name in lines]

    def traded(budget):
        return {f.name for f in album.collect(files, budget).figures.values() if f.pixels}

    whole = sum(len(f.picture.inside) for f in album.collect(files, LARGEST).figures.values())
    assert traded(whole) == set()
    assert traded(whole - 1) == {"larger"}
    assert traded(whole // 2) == {"larger", "large"}
    figure = album.collect(files, whole - 1).figures["larger"]
    assert base64.b64decode(figure.pixels.partition(",")[2]) == pixels


# Formulas


def test_every_statement_is_well_formed_and_no_formula_is_empty():
    for section in SECTIONS:
        for text in (*section.statement, *section.differs):
            root = ElementTree.fromstring(f"<p>{mathml.prose(text)}</p>")
            assert "$" not in "".join(root.itertext())
            assert all(len(formula) for formula in root.iter("math"))


@pytest.mark.parametrize(
    ("source", "markup"),
    [
        ("P(x)", "<mi>P</mi><mo>\u2061</mo><mrow><mo>(</mo><mi>x</mi><mo>)</mo></mrow>"),
        ("M (x)", "<mi>M</mi><mo>\u2062</mo><mrow><mo>(</mo><mi>x</mi><mo>)</mo></mrow>"),
        ("2 ε", "<mn>2</mn><mo>\u2062</mo><mi>ε</mi>"),
        ("a_i^2", "<msubsup><mi>a</mi><mi>i</mi><mn>2</mn></msubsup>"),
        ("a_{ij}", "<msub><mi>a</mi><mrow><mi>i</mi><mi>j</mi></mrow></msub>"),
        (r"\frac{1}{2}", "<mfrac><mrow><mn>1</mn></mrow><mrow><mn>2</mn></mrow></mfrac>"),
        (r"\log M", '<mi>log</mi><mo>\u2061</mo><mspace width="0.17em"/><mi>M</mi>'),
        (r"\text{a < b}", "<mtext>a &lt; b</mtext>"),
        ("Λ-1", '<mi mathvariant="normal">Λ</mi><mo>−</mo><mn>1</mn>'),
    ],
)
def test_formulas_say_what_is_applied_and_what_multiplied(source, markup):
    assert mathml.formula(source) == f"<math>{markup}</math>"


def test_limits_stand_below_on_a_line_of_their_own():
    assert "<munder><mo>∑</mo>" in mathml.formula(r"\sum_i a", block=True)
    assert "<msub><mo>∑</mo>" in mathml.formula(r"\sum_i a")


@pytest.mark.parametrize("source", ["(x", "x)", r"\frac{1}", r"\sqrt", "{x", "a^", "_a", r"\{"])
def test_a_formula_with_a_loose_end_is_refused(source):
    with pytest.raises(ValueError, match="formula"):
        mathml.formula(source)


@pytest.mark.parametrize("text", ["a $b", "$a$ $$b$", "$$a$"])
def test_a_dollar_without_its_like_is_refused(text):
    with pytest.raises(ValueError, match="needs its like"):
        mathml.prose(text)


# Verdicts as they come


def test_effects_that_are_no_numbers_and_theorems_unknown_have_their_place(path, tmp_path):
    verdict = claims.evaluate(path.parent, "interface-floor")[0]
    odd = replace(verdict, effect=float("nan"), interval=(0.0, float("inf")))
    strange = replace(odd, id="strange", command="noncommit run toy && …", theorem="Lemma <0>")
    page = Reader(report.write(tmp_path, [], [odd, strange]).read_text("utf-8"))
    rows = {e.attributes.get("id"): e for e in page.all if e.name == "tr"}
    cells = [cell.text for cell in rows["claim-interface-floor"].find("td")]
    assert cells[2:4] == ["nan", "[0, inf]"]
    assert "Lemma <0>" in rows["claim-strange"].text
    assert [e.text for e in page.all if e.name == "h2"][-1] == "Other experiments"


def test_the_command_writes_what_the_function_does(path, text, capsys):
    assert cli.main(["report", "--out", str(path.parent)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text("utf-8") == text
