"""The pictures of real heads show the numbers of their tables, as far as they are there."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import store
from figures import commit_ablation, decoder_response, decoder_tube
from figures.marks import Table
from figures.responses import LOOKS
from tests.pipeline.drawn import SIGMAS, column, ends, has_line, save, shown, triples

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
NAMES = ("decoder_tube", "decoder_response", "commit_ablation")
TABLES = [
    pytest.param(path, marks=() if path.parent.name == "quick" else pytest.mark.slow)
    for path in sorted(path for name in NAMES for path in REFERENCE.glob(f"*/{name}.csv"))
]
RATIOS = (0.05, 0.2, 1.0)
KINDS = {"": 1.0, "mean_narrow_": 1.4, "mean_": 0.9, "mean_wide_": 0.8}
LAWS = {"law_raw_": 1.1, "law_mean_": 0.7}


def about(name: str, value: float, share: float) -> store.Row:
    """The columns of an estimate, whatever its sign."""
    return {f"{name}_value": value, f"{name}_sem": abs(value) * share / SIGMAS, f"{name}_bias": 0.0}


def tube_row(decoder: str, ratio: float, kinds: dict[str, float]) -> store.Row:
    row = {"decoder": decoder, "ratio": ratio, "modes": 100, "classes": 74, "dimension": 256}
    row |= {"latents": 600, "distance_median": 1.35, "bandwidth": 0.7, "law": 0.11 * ratio}
    row |= {"sandwich_lower": 0.08 * ratio, "sandwich_upper": 0.13 * ratio}
    row |= {"law_raw_law": 0.12 * ratio}
    for prefix, factor in kinds.items():
        row |= ends(f"{prefix}flips", 0.1 * factor * ratio, 0.3)
        row |= ends(f"{prefix}ratio_to_law", factor * (1 - ratio / 3), 0.4)
    return row


def tube_rows(*decoders: str, kinds: dict[str, float] = KINDS | LAWS) -> Table:
    return [tube_row(name, ratio, kinds) for name in decoders for ratio in RATIOS]


def of_ends(rows: Table, name: str) -> np.ndarray:
    return triples(*(column(rows, f"{name}_{end}") for end in ("value", "lower", "upper")))


def both(rows: Table, *names: str) -> np.ndarray:
    found = np.concatenate([of_ends(rows, name) for name in names])
    return found[np.lexsort(found.T[::-1])]


def test_flips_and_ratios_of_both_noises_are_shown_with_law_and_sandwich():
    rows = tube_rows("g2p-en")
    figures = decoder_tube.draw(rows)
    assert set(figures) == {"g2p-en", "g2p-en-law"}
    for name, prefixes in {"g2p-en": ("", "mean_"), "g2p-en-law": LAWS}.items():
        top, bottom = figures[name].axes
        for axes, what in ((top, "flips"), (bottom, "ratio_to_law")):
            np.testing.assert_allclose(shown(axes), both(rows, *(p + what for p in prefixes)))
    top, bottom = figures["g2p-en"].axes
    for name in ("law", "sandwich_lower", "sandwich_upper", "mean_wide_flips_value"):
        assert has_line(top, RATIOS, column(rows, name)), name
    assert has_line(bottom, RATIOS, column(rows, "mean_narrow_ratio_to_law_value"))
    assert has_line(figures["g2p-en-law"].axes[0], RATIOS, column(rows, "law_raw_law"))
    save(figures)


def test_a_table_without_denoising_or_law_is_drawn():
    rows = tube_rows("g2p-en", kinds={"": 1.0})
    rows[0] |= {"flips_value": 0.0, "flips_lower": 0.0, "flips_upper": 0.01}
    rows[1] |= {f"ratio_to_law_{end}": None for end in ("value", "lower", "upper")}
    rows[2] |= {"law": None}
    figures = decoder_tube.draw(rows)
    assert set(figures) == {"g2p-en"}
    top, bottom = figures["g2p-en"].axes
    np.testing.assert_allclose(shown(top), of_ends(rows[1:], "flips"))
    assert has_line(top, [0.05], [0.01])  # none seen: the upper end
    np.testing.assert_allclose(shown(bottom), of_ends([rows[0], rows[2]], "ratio_to_law"))
    save(figures)


def test_distances_are_cumulative_curves():
    quantiles = np.linspace(0, 1, 11)
    stored = [
        (row, {"quantiles": quantiles, "relative_distance": scale * (0.01 + quantiles)})
        for scale, name in ((1.0, "textgenrnn"), (0.1, "g2p-en"))
        for row in tube_rows(name)
    ]
    figures = decoder_tube.draw_arrays(stored)
    (axes,) = figures["distances"].axes
    assert len(axes.lines) == 2
    for scale in (0.1, 1.0):
        assert has_line(axes, scale * (0.01 + quantiles), quantiles)
    assert axes.get_xscale() == "log"
    save(figures)
    assert decoder_tube.draw_arrays([]) == decoder_tube.draw_arrays([({}, {})]) == {}


# Steps


def step_row(decoder: str, length: float) -> store.Row:
    row: store.Row = {"decoder": decoder, "length": length, "ratio": 1.0, "independent": 50}
    row |= {"classes": 74, "dimension": 256, "relative_step": length / 9, "normal_limit": 40.0}
    for k, way in enumerate(LOOKS):
        row |= ends(f"{way}_flips", 0.3 * min(length, 2) / 2**k, 0.5)
        row |= about(f"{way}_rise", (-1) ** k * length / 4**k, 0.5)
        for name, value in {"flips": 30.0, "output": 2.0, "rise": 9.0 - 10 * k}.items():
            low, high = sorted((0.5 * value, 1.5 * value))
            ratio = {"value": value * length, "lower": low * length, "upper": high * length}
            row |= {f"dabi_{way}_{name}_{end}": number for end, number in ratio.items()}
        row |= ends(f"smooth_dabi_{way}_output", 1.0, 0.02)
    return row


def step_rows(*decoders: str) -> Table:
    return [step_row(name, length) for name in decoders for length in (0.25, 1.0, 4.0)]


def spread(rows: Table, name: str) -> np.ndarray:
    """Value and ends at SIGMAS standard errors."""
    value, sem = (column(rows, f"{name}_{part}") for part in ("value", "sem"))
    return triples(value, value - SIGMAS * sem, value + SIGMAS * sem)


def test_every_direction_has_its_flips_and_rises():
    rows = step_rows("g2p-en")
    figures = decoder_response.draw(rows)
    assert set(figures) == {"dabi", "g2p-en"}
    top, bottom, *_ = figures["g2p-en"].axes
    for axes, name in ((top, "flips"), (bottom, "rise")):
        wanted = np.concatenate([spread(rows, f"{way}_{name}") for way in LOOKS])
        np.testing.assert_allclose(shown(axes), wanted[np.lexsort(wanted.T[::-1])], atol=1e-12)
    (above,) = top.child_axes  # the same lengths over the norm of latents
    np.testing.assert_allclose(above._functions[0](np.array([9.0])), [1.0])
    save(figures)


def test_no_flip_is_a_hollow_marker_at_one_of_all():
    rows = step_rows("g2p-en")
    rows[0] |= {"isotropic_flips_value": 0.0, "isotropic_flips_sem": 0.0}
    top = decoder_response.draw(rows)["g2p-en"].axes[0]
    hollow = [
        line for line in top.lines if line.get_fillstyle() == "none" and line.get_xdata().size
    ]
    assert [line.get_ydata().tolist() for line in hollow] == [[1 / 50]]
    assert len(shown(top)) == 4 * 3 - 1


def test_dabi_of_every_response_for_all_decoders_and_the_control():
    rows = step_rows("g2p-en", "textgenrnn")
    figures = decoder_response.draw(rows)
    panels = np.array(figures["dabi"].axes).reshape(3, 2)
    for line, name in zip(panels, ("flips", "output", "rise"), strict=True):
        for axes, way in zip(line, ("normal", "residual"), strict=True):
            names = [f"dabi_{way}_{name}"]
            names += [f"smooth_dabi_{way}_output"] if name == "output" else []
            np.testing.assert_allclose(shown(axes), both(rows, *names), err_msg=f"{way} {name}")
    limits = [line for line in panels[0, 0].lines if line.get_linestyle() == ":"]
    assert {tuple(line.get_ydata()) for line in limits} == {(40.0, 40.0)}


def test_without_isotropic_flips_an_arrow_stands_at_the_lower_end():
    rows = step_rows("g2p-en")
    for row in rows:
        row |= {f"dabi_{way}_flips_{end}": None for way in LOOKS for end in ("value", "upper")}
        row |= {f"dabi_residual_flips_{end}": 0.0 for end in ("lower",)}
    figures = decoder_response.draw(rows)
    normal, residual = figures["dabi"].axes[:2]
    assert not len(shown(normal))
    arrows = [line.get_ydata() for line in normal.lines if "arrow" in str(line.get_marker())]
    np.testing.assert_allclose(arrows, [column(rows, "dabi_normal_flips_lower")])
    assert [text.get_text() for text in residual.texts] == ["both ends open"]
    save({"dabi": figures["dabi"]})


# Feedback


def fed_row(decoder: str, softness: float, **more: Any) -> store.Row:
    row = {"decoder": decoder, "softness": softness, "independent": 60}
    for name, value in {"cci_isotropic": 0.9, "cci_normal": -4 - softness}.items():
        row |= about(name, value, 0.1)
    row |= ends("retention", 1 - softness / 2, 0.0)
    quality = {"phoneme_errors": None, "nats": None, "repetition": None} | more
    for name, value in quality.items():
        known = value is not None
        row |= {f"{name}_value": value, f"{name}_sem": 0.01 if known else None}
        row |= {f"{name}_bias": 0.0 if known else None}
    return row


def fed_rows() -> Table:
    said = {"sample_0": "a pair of $5 bills ☃ 漢 " + "word " * 80, "sample_1": None}
    spoken = [fed_row("g2p-en", x, phoneme_errors=0.1 + x / 9) for x in (0.0, 0.5, 1.0)]
    for row in spoken:
        row |= {"sample_0": f"word: W ER1 D {row['softness']}", "sample_1": "the: DH AH0"}
    return spoken + [
        fed_row("textgenrnn", x, nats=1 + x, repetition=0.5) | said for x in (0.0, 1.0)
    ]


def test_quality_cci_and_retention_are_shown_as_far_as_they_are_there():
    rows = fed_rows()
    figures = commit_ablation.draw(rows)
    panels = {name: [a.get_ylabel() for a in f.axes[:-1]] for name, f in figures.items()}
    assert panels["g2p-en"] == ["phoneme errors\na listed phoneme", "CCI of a step", "retention"]
    assert panels["textgenrnn"][:2] == ["nats a token", "share of runs\nrepeated"]
    errors, cci, kept, _ = figures["g2p-en"].axes
    np.testing.assert_allclose(shown(errors), spread(rows[:3], "phoneme_errors"))
    found = np.concatenate([spread(rows[:3], f"cci_{way}") for way in ("isotropic", "normal")])
    found[:, 1:].sort(axis=1)
    np.testing.assert_allclose(shown(cci), found[np.lexsort(found.T[::-1])], atol=1e-12)
    np.testing.assert_allclose(shown(kept), of_ends(rows[:3], "retention"))
    assert (cci.get_yscale(), kept.get_ylim()) == ("symlog", (0, 1.05))
    save(figures)


def test_texts_of_the_ends_stand_below_within_the_page():
    figures = commit_ablation.draw(fed_rows())
    lines = [text.get_text() for text in figures["g2p-en"].axes[-1].texts]
    assert [line for line in lines if line.startswith("λ")] == ["λ = 0", "λ = 1"]
    assert [line for line in lines if "word" in line] == [
        f"– word: W ER1 D {x}" for x in (0.0, 1.0)
    ]
    page = figures["textgenrnn"]
    save({"textgenrnn": page})
    texts = page.axes[-1].texts
    assert len(texts) == 2 * (1 + commit_ablation.LINES)
    assert texts[1].get_text().startswith("– a pair of $5 bills ☃ □ word")
    assert texts[2].get_text().endswith("…")
    for text in texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= page.bbox.x1
    heights = np.array([page.axes[-1].transAxes.transform(t.get_position())[1] for t in texts])
    assert (-np.diff(heights) * 72 / page.dpi).min() > commit_ablation.SIZE


@pytest.mark.parametrize("path", TABLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_tables_draw(path: Path):
    module = importlib.import_module(f"figures.{path.stem}")
    rows = store.read_table(path)
    figures = module.draw(rows)
    assert {row["decoder"] for row in rows} <= set(figures)
    save(figures)


@pytest.mark.parametrize("name", NAMES)
def test_no_table_no_figure(name: str):
    assert importlib.import_module(f"figures.{name}").draw([]) == {}
