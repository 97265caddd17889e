"""Experiments on real heads, on heads and a decoder small enough to know the answers."""

import math
from dataclasses import asdict, replace
from typing import Any

import jax
import numpy as np
import pytest

from experiments import (
    commit_ablation,
    decoder_response,
    decoder_tube,
    decoders,
    heads,
    real_heads,
    runtime,
    store,
)
from figures import commit_ablation as ablation_figures
from figures import decoder_response as response_figures
from figures import decoder_tube as tube_figures
from tests.pipeline.drawn import shown
from tests.pipeline.small_heads import SYMBOLS, distances, forget, greedy, reader, sampled
from tests.refusals import refusals
from theory.partition import PowerDiagram

TUBE = decoder_tube.Cell("g2p-en", 0.2, 90, 32, 12, 40)
RESPONSE = decoder_response.Cell("g2p-en", 1.0, 90, 12, 1.0)
ABLATION = commit_ablation.Cell("textgenrnn", 0.0, 12, 16)


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch):
    """The small head and the small decoder in the place of all real ones."""
    forget()
    monkeypatch.setattr(real_heads, "sampled", sampled)
    monkeypatch.setattr(decoders, "model", lambda name: reader())
    yield
    forget()


def measured(module: Any, cell: Any) -> store.Row:
    """The row under one fixed key, so that only the cell can make the difference."""
    forget()
    found = module.measure(cell, runtime.cell_key({"fixed": True}, 0))
    row = store.flatten(found[0] if isinstance(found, tuple) else found)
    assert not row.keys() & asdict(cell).keys()
    return row


# Grids

BAD = {
    "unknown decoder 'g2p': did you mean 'g2p-en'?": lambda: decoder_tube.Grid(("g2p",)),
    "expected count ≥ 16, draws ≥ 1, modes ≥ 2 and denoised ≥ 2, got 8, 16, 500 and 1000": (
        lambda: decoder_tube.Grid(count=8)
    ),
    "modes ≥ 2 and denoised ≥ 2, got 4000, 0, 1 and 1": lambda: decoder_tube.Grid(
        draws=0, modes=1, denoised=1
    ),
    "ratios must be positive and finite, got (0.0,)": lambda: decoder_tube.Grid(ratios=(0.0,)),
    "ratios must be positive and finite, got ()": lambda: decoder_tube.Grid(ratios=()),
    "unknown decoder 'pp-orc'": lambda: decoder_response.Grid(("pp-orc",)),
    "expected count ≥ 16 and modes ≥ 2, got 4000 and 1": lambda: decoder_response.Grid(modes=1),
    "lengths and ratio must be positive and finite, got (nan,) and 1.0": (
        lambda: decoder_response.Grid(lengths=(math.nan,))
    ),
    "positive and finite, got (0.25, 1.0, 4.0) and inf": lambda: decoder_response.Grid(
        ratio=math.inf
    ),
    "unknown generator 'minilm'": lambda: commit_ablation.Grid(("minilm",)),
    "expected texts ≥ 2, steps ≥ 8, got 1 and 60": lambda: commit_ablation.Grid(texts=1),
    "softness lies in [0, 1], got (0.5, 1.5)": lambda: commit_ablation.Grid(softness=(0.5, 1.5)),
    "softness lies in [0, 1], got ()": lambda: commit_ablation.Grid(softness=()),
}


test_a_grid_out_of_range_is_one_clear_line = refusals(BAD)

GRIDS = {
    decoder_tube: {"ratios": (0.3,), "count": 99, "draws": 3, "modes": 7, "denoised": 9},
    decoder_response: {"lengths": (0.3,), "count": 99, "modes": 7, "ratio": 0.7},
    commit_ablation: {"softness": (0.3,), "texts": 9, "steps": 9},
}


@pytest.mark.parametrize("module", GRIDS, ids=lambda module: module.__name__)
def test_every_grid_field_reaches_the_cells(module: Any):
    changes = {"decoders": ("textgenrnn",), **GRIDS[module]}
    base = module.Grid()
    assert changes.keys() == asdict(base).keys()
    for name, value in changes.items():
        assert module.cells(replace(base, **{name: value})) != module.cells(base), name
    assert all(module.cost(cell) > 0 for cell in module.cells(module.PRESETS["paper"]))


CHANGES = {
    TUBE: {
        "decoder": "textgenrnn",
        "ratio": 0.3,
        "count": 96,
        "draws": 31,
        "modes": 11,
        "denoised": 30,
    },
    RESPONSE: {"decoder": "pp-ocr-blank", "length": 2.0, "count": 96, "modes": 11, "ratio": 2.0},
    ABLATION: {"decoder": "smollm2", "softness": 0.7, "texts": 11, "steps": 17},
}


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("cell", CHANGES, ids=lambda cell: type(cell).__module__)
def test_every_field_of_a_cell_changes_its_row(cell: Any):
    module = {decoder_tube.Cell: decoder_tube, decoder_response.Cell: decoder_response}.get(
        type(cell), commit_ablation
    )
    assert CHANGES[cell].keys() == asdict(cell).keys()
    before = measured(module, cell)
    assert measured(module, cell) == before
    for name, value in CHANGES[cell].items():
        assert measured(module, replace(cell, **{name: value})) != before, name


# Heads under noise


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
def test_flips_lie_in_the_sandwich_of_their_own_noise():
    near, far = (measured(decoder_tube, replace(TUBE, ratio=r)) for r in (0.2, 1.0))
    diagram, found = sampled("g2p-en", 90)
    median = float(np.median(distances(diagram, found.latents)))
    for row, ratio in ((near, 0.2), (far, 1.0)):
        assert row["scale"] == pytest.approx(ratio * median)
        assert row["flips_lower"] <= row["sandwich_upper"]
        assert row["sandwich_lower"] <= row["flips_upper"]
        law = math.sqrt(2 / math.pi) * row["scale"] * row["area_value"]
        assert row["law"] == pytest.approx(law)
    assert near["flips_upper"] < far["sandwich_lower"]  # not of another noise
    assert (near["latents"], near["groups"], near["classes"]) == (90, 30, 6)


@pytest.mark.usefixtures("unchecked")
def test_distances_are_those_of_the_definition():
    _, arrays = decoder_tube.measure(TUBE, runtime.cell_key({}, 0))
    diagram, found = sampled("g2p-en", 90)
    relative = distances(diagram, found.latents) / np.linalg.norm(found.latents, axis=1)
    wanted = np.quantile(relative, arrays["quantiles"])
    np.testing.assert_allclose(arrays["relative_distance"], wanted, rtol=1e-9)


@pytest.mark.usefixtures("unchecked")
def test_the_law_is_fitted_and_judged_on_other_groups(monkeypatch: pytest.MonkeyPatch):
    """In great noise the posterior mean is the mean of the law, whatever is denoised."""
    fitted, judged = [], []

    def fit(means: np.ndarray, held_out: np.ndarray) -> Any:
        fitted.append((means, held_out))
        return original(means, held_out)

    def denoised(key: Any, head: heads.Head, *rest: Any) -> np.ndarray:
        judged.append(np.asarray(head.latents))
        return counted(key, head, *rest)

    original, counted = real_heads.fit, decoder_tube._denoised
    monkeypatch.setattr(real_heads, "fit", fit)
    monkeypatch.setattr(decoder_tube, "_denoised", denoised)
    row = measured(decoder_tube, replace(TUBE, ratio=1e6))
    diagram, found = sampled("g2p-en", 90)
    group = {z.tobytes(): g for z, g in zip(found.latents, found.group, strict=True)}
    ((means, held_out),) = fitted
    training = {group[z.tobytes()] for z in means}
    assert training.isdisjoint(group[z.tobytes()] for z in held_out)
    assert len(judged) == 4  # three bandwidths, and draws of the law
    for rows in judged[:3]:
        assert training.isdisjoint(group[z.tobytes()] for z in rows)
    assert not any(z.tobytes() in group for z in judged[3])
    one = int(diagram.label(means.mean(axis=0)[None])[0])
    for name, rows in zip(
        ("mean_narrow", "mean", "mean_wide", "law_mean"), judged[:4], strict=True
    ):
        others = np.asarray(diagram.label(rows)) != one
        assert row[f"{name}_flips_value"] == pytest.approx(others.mean()), name


def test_two_classes_exchange_one_pair():
    diagram = PowerDiagram(np.array([[1.0, 0], [-1, 0]]), np.zeros(2))
    latents = np.random.default_rng(0).standard_normal((40, 2))
    head = heads.make_head(diagram, latents)
    found = heads.concentration(jax.random.key(0), head, 2.0)
    assert found["flips_seen"] > 8
    assert (found["pairs"], found["pairs_half"], found["collision"].value) == (1, 1, 1)
    assert found["collision"].count == found["flips_seen"] // 2


# Steps


def test_a_step_along_the_normal_flips_where_it_is_longer_than_the_distance():
    diagram, found = sampled("g2p-en", 90)
    delta = distances(diagram, found.latents)
    ends = [delta.min() * 0.99, delta.max() * 1.01]
    rows = [
        measured(decoder_response, replace(RESPONSE, length=float(x / np.median(delta))))
        for x in ends
    ]
    assert [row["normal_flips_value"] for row in rows] == [0, 1]
    for row, end in zip(rows, ends, strict=True):
        assert row["step"] == pytest.approx(end)
        assert row["independent"] == row["normal_flips_count"] == 15  # of 30 groups the other half
        # The control has no facets: normals are to it what any direction is.
        moved = row["smooth_normal_output_value"] / row["smooth_isotropic_output_value"]
        assert row["smooth_dabi_normal_output_value"] == pytest.approx(moved)


def test_one_latent_of_every_held_out_group():
    head = real_heads.real_head("g2p-en", 90)
    kept, again = (np.asarray(decoder_response.independent(k, head)) for k in split(2))
    row_of = {z.tobytes(): k for k, z in enumerate(head.latents)}
    for rows in (kept, again):
        found = head.group[[row_of[z.tobytes()] for z in rows]]
        assert sorted(found) == list(range(1, 30, 2))
    assert not np.array_equal(kept, again)


def split(count: int) -> Any:
    return jax.random.split(jax.random.key(0), count)


# Feedback


@pytest.mark.parametrize("carry", [pytest.param(0.0, marks=pytest.mark.slow), 0.6])
def test_tokens_erase_all_that_the_context_does_not_hold(carry: float, monkeypatch):
    monkeypatch.setattr(decoders, "model", lambda name: reader(carry))
    seen, whole = [], commit_ablation.cci

    def cci(key: Any, step: Any, z: Any, head: PowerDiagram) -> Any:
        seen.append(np.asarray(z))
        return whole(key, step, z, head)

    monkeypatch.setattr(commit_ablation, "cci", cci)
    row = measured(commit_ablation, ABLATION)
    for way in ("isotropic", "normal"):
        assert row[f"cci_{way}_value"] == pytest.approx(1 - carry**2, abs=1e-12)
    assert row["retention_value"] == 1  # a token's own row of the table is the nearest
    assert row["independent"] == 12
    said = [row[f"sample_{k}"] for k in range(3)]
    assert said == [greedy(reader(carry), z, 16) for z in seen[0][:3]]


def test_averages_do_not_erase():
    row = measured(commit_ablation, replace(ABLATION, softness=1.0))
    assert row["moved_normal_value"] > 0
    assert row["cci_normal_value"] < 1
    assert 0 <= row["retention_lower"] <= row["retention_value"] <= row["retention_upper"]
    assert 0 <= row["repetition_value"] <= 1
    assert row["true_nats_value"] == pytest.approx(math.log(len(SYMBOLS)))  # it reads averages


# Pictures


@pytest.mark.usefixtures("unchecked")
def test_measured_rows_are_drawn():
    cells = {
        tube_figures: [(decoder_tube, replace(TUBE, ratio=r)) for r in (0.2, 1.0)],
        response_figures: [(decoder_response, replace(RESPONSE, length=x)) for x in (0.5, 2.0)],
        ablation_figures: [(commit_ablation, replace(ABLATION, softness=x)) for x in (0.0, 1.0)],
    }
    tables = {f: [asdict(c) | measured(m, c) for m, c in pairs] for f, pairs in cells.items()}
    drawn = {module: module.draw(table) for module, table in tables.items()}
    assert {name for figures in drawn.values() for name in figures} == {
        *("g2p-en", "g2p-en-law", "dabi", "textgenrnn")
    }
    raw = [row["flips_value"] for row in tables[tube_figures]]
    assert set(raw) <= set(shown(drawn[tube_figures]["g2p-en"].axes[0])[:, 0])
    (cci,) = (a for a in drawn[ablation_figures]["textgenrnn"].axes if "CCI" in a.get_ylabel())
    fed = tables[ablation_figures]
    wanted = sorted(row[f"cci_{way}_value"] for row in fed for way in ("isotropic", "normal"))
    np.testing.assert_array_equal(shown(cci)[:, 0], wanted)
