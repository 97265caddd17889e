"""Pictures of text beside images show the numbers, texts and pixels of their table."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from experiments import store
from figures import decoder_contrast
from figures.contrast_strip import FONT, LETTER, SIZE, compared, printable
from tests.pipeline.drawn import SIGMAS, column, ends, has_line, save, shown, triples

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
TABLES = sorted(REFERENCE.glob("*/decoder_contrast.csv"))
LARGE = [path for path in TABLES if path.parent.name == "paper"]
TEXT, IMAGES = ("g2p-en", "textgenrnn"), ("dcgan", "super-resolver", "taef2")
WAYS = {"text": ("normal", "singular", "residual"), "image": ("singular", "residual")}
RESPONSES = {"text": ("flips", "rise", "output"), "image": ("output", "perceptual")}
PANELS = [(kind, response) for kind, names in RESPONSES.items() for response in names]
FELT = ("singular", "residual", "isotropic")
END = ("value", "lower", "upper")
LENGTHS = (0.01, 0.12, 0.3)


def base(family: str, kind: str, decoder: str, length: float, way: str = "none") -> store.Row:
    row: store.Row = {"family": family, "kind": kind, "decoder": decoder, "length": length}
    return row | {"way": way, "dimension": 64, "independent": 50}


def ratio(name: str, value: Any, lower: Any, upper: Any) -> store.Row:
    return {f"{name}_value": value, f"{name}_lower": lower, f"{name}_upper": upper}


def felt(name: str, value: float) -> store.Row:
    return ends(name, value, 0.5) | {f"{name}_bias": 0.01 * value}


def step_row(kind: str, decoder: str, length: float) -> store.Row:
    row = base("step", kind, decoder, length)
    scale = len(decoder) * length
    for k, way in enumerate((*WAYS[kind], "isotropic")):
        for name in (*RESPONSES[kind], "pixels"):
            row |= felt(f"{way}_{name}", scale / 4**k)
            if way != "isotropic":
                value = 40 * scale / 4**k
                row |= ratio(f"dabi_{way}_{name}", value, 0.6 * value, 1.7 * value)
    return row


def step_rows() -> list[store.Row]:
    named = [("text", name) for name in TEXT] + [("image", name) for name in IMAGES]
    return [step_row(kind, name, length) for kind, name in named for length in LENGTHS]


def heads(axes: Axes) -> list[tuple[float, float, int]]:
    """Where arrows start, and whether they point up the axis or down."""
    return [
        (*note.xy, int(math.copysign(1, note.xyann[0])))
        for note in axes.texts
        if isinstance(note, Annotation)
    ]


def dotted(axes: Axes) -> list[Any]:
    return [line for line in axes.lines if line.get_linestyle() == ":"]


def labels(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


# DABI


def by_panel(figure: Figure) -> dict[tuple[str, str], Axes]:
    return dict(zip(PANELS, figure.axes, strict=True))


def test_dabi_has_every_direction_and_response_at_the_length_nearest_a_tenth():
    rows = step_rows()
    figure = decoder_contrast.draw(rows)["dabi"]
    for (kind, response), axes in by_panel(figure).items():
        mine = [row for row in rows if row["kind"] == kind and row["length"] == 0.12]
        names = [tick.get_text() for tick in axes.get_yticklabels()]
        assert names == [row["decoder"] for row in mine]
        found = [
            triples(*(column(mine, f"dabi_{way}_{response}_{end}") for end in END))
            for way in WAYS[kind]
        ]
        wanted = np.concatenate(found)
        np.testing.assert_allclose(shown(axes, across=0), wanted[np.lexsort(wanted.T[::-1])])
        assert axes.get_xscale() == "log"
        assert has_line(axes, [1, 1], [0, 1])
        low, high = axes.get_xlim()
        assert low < wanted[:, 0].min()
        assert high > wanted[:, 0].max()
        assert not heads(axes)
    save({"dabi": figure})


@pytest.mark.parametrize(
    ("found", "marker", "arrow"),
    [
        ((None, 7.0, None), (7.0, "none"), 1),  # without isotropic flips
        ((None, None, 7.0), (7.0, "none"), -1),
        ((-50.0, None, 7.0), (7.0, "none"), -1),  # the isotropic rise may be a fall
        ((20.0, 7.0, None), (20.0, "full"), 1),
        ((20.0, None, 30.0), (20.0, "full"), -1),
        ((20.0, -3.0, 30.0), (20.0, "full"), 0),
    ],
)
def test_an_open_end_is_an_arrow_from_what_is_known(found, marker, arrow):
    rows = [step_row("text", "g2p-en", 0.1)]
    rows[0] |= ratio("dabi_normal_flips", *found)
    axes = dabi_of_text(rows)
    line = axes.containers[0].lines[0]
    assert (line.get_xdata()[0], line.get_fillstyle()) == marker
    place = line.get_ydata()[0]
    assert heads(axes) == ([(marker[0], place, arrow)] if arrow else [])
    assert not dotted(axes)


@pytest.mark.parametrize("value", [None, -700.0, 20.0])
def test_with_both_ends_open_a_dotted_line_runs_along_the_axis(value):
    rows = [step_row("text", "g2p-en", 0.1)]
    rows[0] |= ratio("dabi_normal_flips", value, None, None)
    axes = dabi_of_text(rows)
    (line,) = dotted(axes)
    assert tuple(line.get_xdata()) == axes.get_xlim()
    assert len(axes.containers) == len(WAYS["text"]) - (value != 20.0)
    assert not heads(axes)


def dabi_of_text(rows: list[store.Row]) -> Axes:
    return decoder_contrast.draw(rows)["dabi"].axes[0]


def test_a_direction_that_was_measured_for_text_alone_has_no_place_among_images():
    rows = step_rows()
    for row in rows:
        row |= dict.fromkeys((f"normal_{name}_value" for name in RESPONSES["image"]), None) | row
        if row["kind"] == "text":
            row |= felt("oriented_flips", 0.1) | ratio("dabi_oriented_flips", 5.0, 4.0, 6.0)
    panels = by_panel(decoder_contrast.draw(rows)["dabi"])
    assert len(panels["text", "flips"].containers) == 4 * len(TEXT)
    assert len(panels["image", "output"].containers) == 2 * len(IMAGES)
    assert "residual, sign towards the facet" in labels(panels["text", "flips"].figure)


# Responses of images


def test_changes_of_pixels_and_of_what_is_perceived_are_shown_for_every_image_decoder():
    rows = step_rows()
    figure = decoder_contrast.draw(rows)["amplification"]
    panels = np.array(figure.axes).reshape(len(IMAGES), 2)
    for line, name in zip(panels, IMAGES, strict=True):
        mine = [row for row in rows if row["decoder"] == name]
        assert line[0].get_ylabel() == f"{name}\nN = 50"
        for axes, response in zip(line, ("pixels", "perceptual"), strict=True):
            wanted = np.concatenate([spread(mine, f"{way}_{response}") for way in FELT])
            np.testing.assert_allclose(shown(axes), wanted[np.lexsort(wanted.T[::-1])])
            assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert labels(figure) == list(FELT)
    save({"amplification": figure})


def spread(rows: list[store.Row], name: str) -> np.ndarray:
    value, sem, bias = (column(rows, f"{name}_{part}") for part in ("value", "sem", "bias"))
    reach = SIGMAS * sem + bias
    return triples(value, np.maximum(value - reach, value / 100), value + reach)


# The plane


def generator(kind: str, decoder: str, way: str, value: float, x: Any, **more: Any) -> store.Row:
    row = base("generator", kind, decoder, 0.1, way) | {"retention_value": None}
    row["dabi_response"] = "output" if kind == "image" else "flips"
    about = {"sem": 0.01, "bias": 0.0, "value": value}
    row |= {f"cci_isotropic_{part}": number for part, number in about.items()}
    return row | ratio("dabi", x, x and x / 2, x and 2 * x) | more


def generators() -> list[store.Row]:
    return [
        generator("synthetic", "random 64 16", "commit", 1.0, 12.0, retention_value=1.0),
        generator("synthetic", "random 64 16", "constant", 1.0, 12.0, retention_value=0.02),
        generator("text", "g2p-en", "token", 0.17, None, dabi_lower=3.0, retention_value=0.9),
        generator("image", "dcgan", "denoise", 0.1, 2.5),
    ]


def test_the_plane_has_every_generator_with_its_name_and_what_it_keeps():
    figure = decoder_contrast.draw(generators())["plane"]
    (axes,) = figure.axes
    points = {(*c.lines[0].get_xdata(), *c.lines[0].get_ydata()) for c in drawn(axes)}
    assert points == {(12.0, 1.0), (3.0, 0.17), (2.5, 0.1)}
    assert [head for head in heads(axes) if head[2]] == [(3.0, 0.17, 1)]
    names = [text.get_text() for text in axes.texts if text.get_text()]
    assert sorted(names) == [
        "commit (1.00)",
        "constant (0.02)",
        "dcgan: denoise",
        "g2p-en: token (0.90)",
    ]
    markers = {c.lines[0].get_marker() for c in drawn(axes)}
    assert len(markers) == len({"text", "image", "synthetic"})
    assert labels(figure) == [
        "synthetic: flips along the facet normal",
        "text: flips along the facet normal",
        "image: output along the singular direction",
    ]
    save({"plane": figure})


def drawn(axes: Axes) -> list[Any]:
    """Bars with a marker."""
    return [container for container in axes.containers if container.lines[0] is not None]


def test_names_in_the_plane_stand_within_the_page_and_apart_with_cci_far_below_zero():
    rows = [*generators(), generator("text", "textgenrnn", "average", -40.0, 5.0)]
    figure = decoder_contrast.draw(rows)["plane"]
    save({"plane": figure})
    (axes,) = figure.axes
    assert axes.get_yscale() == "symlog"
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert len(boxes) == len(rows)
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
    heights = np.sort([(box.y0 + box.y1) / 2 for box in boxes])
    assert np.diff(heights).min() > 0.9 * 6.5 / 72 * figure.dpi
    assert axes.get_window_extent().x1 > 0.55 * figure.bbox.x1  # names do not press the axes


# Jacobians


def test_spectra_are_shares_of_the_largest_and_of_images_medians_within_a_band():
    text = base("spectrum", "text", "g2p-en", 0.0) | {"effective_rank": 3.0}
    image = base("spectrum", "image", "dcgan", 0.0) | {"effective_rank_value": 5.0}
    image |= {"effective_rank": None}
    values = np.array([8.0, 4.0, 2.0, 0.0])
    latents = np.array([[4.0, 2.0, 1.0], [10.0, 1.0, 1.0], [1.0, 0.4, 0.3]])
    figures = decoder_contrast.draw_arrays(
        [(image, {"spectrum": latents}), (text, {"spectrum": values}), ({}, {})]
    )
    (axes,) = figures["spectrum"].axes
    k = np.arange(1, 4) / 64
    assert has_line(axes, k, [1.0, 0.5, 0.25])  # without the direction that is not felt
    assert has_line(axes, k, [1.0, 0.4, 0.25])
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert {0.1, 0.3, 0.5} <= set(np.round(heights, 9))
    assert labels(figures["spectrum"]) == ["g2p-en: 64, 3", "dcgan: 64, 5"]
    save(figures)


# Strips


def said(decoder: str, **texts: Any) -> store.Row:
    row = base("strip", "text", decoder, 0.1)
    for way in ("clean", "isotropic", "residual", "singular", "normal"):
        row[f"said_0_{way}"] = texts.get(way, texts["clean"])
    return row | {"said_1_clean": None}


def test_images_stand_as_they_are_one_line_a_direction():
    rng = np.random.default_rng(0)
    row = base("strip", "image", "taef2", 0.1)
    row |= {f"{way}_shown": 10.0 / k for k, way in enumerate(FELT, start=1)}
    ways = ("clean", "isotropic", "residual", "singular")
    for channels in (1, 3):
        arrays = {way: rng.integers(0, 256, (2, 5, 7, channels), np.uint8) for way in ways}
        figures = decoder_contrast.draw_arrays([(row, arrays)])
        assert set(figures) == {"strip-taef2"}
        panels = np.array(figures["strip-taef2"].axes).reshape(4, 2)
        for line, way in zip(panels, ways, strict=True):
            for axes, image in zip(line, arrays[way], strict=True):
                (picture,) = axes.images
                np.testing.assert_array_equal(
                    picture.get_array(), np.broadcast_to(image, (5, 7, 3))
                )
                assert picture.get_interpolation() == "nearest"
        names = [line[0].get_ylabel() for line in panels]
        assert names == ["clean", "isotropic\n3.3", "residual\n5", "singular\n10"]
        assert "r = 0.1 median" in figures["strip-taef2"].get_suptitle()
        save(figures)


def test_new_tokens_are_bold_and_underlined_in_place():
    row = said("g2p-en", clean="S T EY1 T", normal="S AE1 EY1 T", singular=None)
    figure = decoder_contrast.draw([row])["strip-text"]
    save({"strip-text": figure})
    (page,) = figure.axes
    bold = [text.get_text() for text in page.texts if text.get_weight() == "bold"]
    assert [text for text in bold if text] == ["g2p-en: r = 0.1 median ‖Z‖", "∅", "AE1"]
    (run,) = [text for text in page.texts if text.get_text() == "AE1"]
    beneath = page.lines[-1].get_xdata()
    np.testing.assert_allclose(beneath, [run.get_position()[0], run.get_position()[0] + 3 * LETTER])
    assert len(page.lines) == 2
    figure.draw_without_rendering()
    assert run.get_window_extent().x1 < figure.bbox.x1


@pytest.mark.parametrize(
    ("clean", "moved", "new"),
    [
        (["a ", "b "], ["a ", "b "], ""),
        (["a ", "b "], ["a ", "cd "], "cd"),
        (["a ", "b "], ["a "], "∅"),
        (["a ", "b ", "c "], ["b ", "c ", "c "], "bc"),
        (["a ", "b "], ["a ", "x ", "b "], "x"),
        (list("abc"), list("a c"), " "),
        ([], ["a "], "a"),
    ],
)
def test_what_is_new(clean, moved, new):
    found = compared(clean, moved)
    assert "".join(letter for letter, is_new in found if is_new) == new
    assert "".join(letter for letter, _ in found).replace("∅ ", "") == "".join(moved)


def test_long_lines_numbers_and_letters_without_a_glyph_stay_on_the_page():
    long = "settlements of the region " * 12
    rows = [said("smollm2", clean=long, normal=long.replace("o", "漢")), said("pp-ocr", clean=2026)]
    figure = decoder_contrast.draw(rows)["strip-text"]
    figure.draw_without_rendering()
    (page,) = figure.axes
    assert max(text.get_window_extent().x1 for text in page.texts) <= figure.bbox.x1
    assert min(text.get_window_extent().y0 for text in page.texts) >= 0
    texts = [text.get_text() for text in page.texts]
    assert texts.count("2026") == 5
    assert any("□f" in text for text in texts)
    assert printable("aé漢") == "aé□"


def test_letters_of_the_font_are_as_wide_as_they_are_placed():
    row = said("textgenrnn", clean="m" * 40)
    figure = decoder_contrast.draw([row])["strip-text"]
    figure.set_dpi(200)
    figure.draw_without_rendering()
    run = next(text for text in figure.axes[0].texts if text.get_text() == "m" * 40)
    assert run.get_fontname() == FONT
    assert run.get_fontsize() == pytest.approx(SIZE)
    assert run.get_window_extent().width / 200 == pytest.approx(40 * LETTER, abs=LETTER)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.parent.name, marks=pytest.mark.slow if path in LARGE else ())
        for path in TABLES
    ],
)
def test_committed_tables_draw(path: Path):
    table = store.read_table(path)
    figures = decoder_contrast.draw(table)
    plane = {"plane"} if any(row["family"] == "generator" for row in table) else set()
    assert {"dabi", "amplification"} | plane <= set(figures)
    save(figures)


def test_no_table_no_figure():
    assert decoder_contrast.draw([]) == decoder_contrast.draw_arrays([]) == {}
