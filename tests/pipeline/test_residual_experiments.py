"""`decoder_sensitivity` and `oracle_rollin`: fields that count, refusals, claims, pictures."""

import math
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments import decoder_sensitivity, embedded, oracle_rollin, readouts, runtime, store
from experiments.claims import residual as claims
from figures import decoder_sensitivity as sensitivity_figures
from figures import oracle_rollin as rollin_figures
from tests.pipeline.drawn import shown
from tests.refusals import refusals
from theory.estimate import from_samples
from theory.forward_backward import posterior_mean
from theory.residual import row_space
from theory.residual_law import mean_cosine, normal_ratio

SMALL = "lowrank 8 2 4"
STEP = decoder_sensitivity.Cell(SMALL, "separated", 1.0, 1.0, 4.0, 2048)
TERMINAL = oracle_rollin.Cell("terminal", SMALL, "separated", 1.0, 0, 0.0, 0, 0.05)
ROLLED = oracle_rollin.Cell("rollin", SMALL, "separated", 0.0, 2, 0.5, 8, 0.05)
SPOKEN = oracle_rollin.Cell("sequence", "random 16 8 6", "language", 0.0, 2, 0.75, 8, 0.1)


def measured(module, cell) -> dict:
    """The row under one fixed key, so that only the cell can make the difference."""
    return store.flatten(module.measure(cell, runtime.cell_key({"fixed": True}, 0)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "cell", "changes"),
    [
        (
            decoder_sensitivity,
            STEP,
            {"latents": "gaussian", "length": 2.0, "scale": 2.0, "sharpness": 2.0, "samples": 2049},
        ),
        (oracle_rollin, TERMINAL, {"latents": "nuisance", "scale": 2.0, "effort": 0.1}),
        (oracle_rollin, ROLLED, {"steps": 3, "start": 1.0, "flow": 1, "effort": 0.2}),
        (
            oracle_rollin,
            SPOKEN,
            {"steps": 3, "start": 1.0, "flow": 1, "effort": 0.2},
        ),
    ],
    ids=["step", "terminal", "rollin", "sequence"],
)
def test_swept_fields_change_the_row(module, cell, changes: dict):
    before = measured(module, cell)
    for name, value in changes.items():
        assert measured(module, replace(cell, **{name: value})) != before, name


@pytest.mark.slow
def test_rows_agree_with_each_other():
    """K = 1 from t = ½ is the terminal step at s = 1; what is exact is exact."""
    step, terminal = measured(decoder_sensitivity, STEP), measured(oracle_rollin, TERMINAL)
    once = measured(oracle_rollin, replace(ROLLED, steps=1, effort=0.5))
    assert (step["classes"], step["rank"], step["dimension"]) == (8, 2, 4)
    assert once["cumulative_flips_lower"] <= terminal["flips_upper"]
    assert terminal["flips_lower"] <= once["cumulative_flips_upper"]
    assert terminal["isotropic_share"] == 0.5
    assert step["normal_limit"] == pytest.approx(normal_ratio(4))
    assert step["isotropic_cosine"] == pytest.approx(mean_cosine(4))
    assert step["normal_flips_value"] == pytest.approx(0.5, abs=0.1)  # at the median distance
    whole = measured(oracle_rollin, replace(ROLLED, latents="gaussian", start=1.0))
    spread = 6.11 * whole["spread_sem"]
    assert whole["spread_law"] == 0.25
    assert whole["spread_value"] == pytest.approx(0.25, abs=spread)


# Readouts and latents


@pytest.mark.parametrize("words", ["code 8 3", "lowrank 8 2 4", "simplicial 4 5"])
def test_readouts_have_their_shape_and_rank_and_modes_lie_in_their_cells(words: str):
    _, modes, rank, dimension = readouts.parsed(words)
    diagram = readouts.readout(words)
    assert (diagram.modes, diagram.dimension) == (modes, dimension)
    assert len(row_space(diagram).spectrum) == rank
    for name in ("overlapping", "separated"):
        law = readouts.latents(name, words)
        scores = np.asarray(law.means) @ np.asarray(diagram.sites).T
        np.testing.assert_array_equal(scores.argmax(axis=1), np.arange(modes))
    alone = readouts.latents("gaussian", words)
    assert float(np.abs(alone.means).max()) == 0
    assert set(np.asarray(alone.widths).tolist()) == {1.0}


def test_nuisance_is_outside_of_the_row_space():
    diagram, law = readouts.readout(SMALL), readouts.latents("nuisance", SMALL)
    means = np.asarray(law.means).reshape(2, 4, 4)
    np.testing.assert_array_equal(diagram.label(law.means), np.repeat([0, 4], 4))
    apart = means - means[:, :1]
    np.testing.assert_allclose(apart @ row_space(diagram).basis.T, 0, atol=1e-12)
    assert np.abs(apart[:, 1:]).max(axis=2).min() > 0.1
    grid = oracle_rollin.Grid(("code 64 16", SMALL), ("nuisance",), (1.0,), (), (), 1)
    assert [cell.readout for cell in oracle_rollin.cells(grid)] == [SMALL]
    grid = replace(grid, steps=(1, 2), starts=(0.5,), languages=("random 8 4 4",))
    assert [c.steps for c in oracle_rollin.cells(grid) if c.family == "sequence"] == [1, 2]


@pytest.mark.slow
def test_sequences_flip_as_their_definition_says():
    """K = 1 gives the posterior mean of every token; from pure noise all are the same."""
    spoken = embedded.language("random 16 8 6")
    cell = replace(SPOKEN, steps=1, effort=1.0)
    row = measured(oracle_rollin, replace(cell, start=0.9))
    tokens = np.asarray(spoken.sample(jax.random.key(1), 2048, 6))
    clean = np.asarray(spoken.embeddings)[tokens]
    noisy = 0.1 * clean + 0.9 * np.random.default_rng(0).standard_normal(clean.shape)
    found = posterior_mean(spoken.states, spoken.embeddings, noisy, 0.1, 0.9)
    flips = np.asarray(spoken.read(found)) != tokens
    wanted = from_samples(flips.mean(axis=1)).interval(1e-9)
    assert wanted.lower <= row["cumulative_flips_upper"]
    assert row["cumulative_flips_lower"] <= wanted.upper
    assert 0.1 < row["cumulative_flips_value"] < 0.9
    alone = measured(oracle_rollin, replace(cell, start=1.0))
    assert alone["entropy_value"] == 0
    assert 6 * alone["tube_value"] == pytest.approx(round(6 * alone["tube_value"]))
    assert "cumulative_flips_value" not in alone
    little = measured(oracle_rollin, replace(cell, steps=8, start=0.01))
    assert (little["cumulative_flips_value"], little["flow_flips_value"]) == (0, 0)
    assert little["cumulative_flips_upper"] == pytest.approx(1 - (1e-9 / 2) ** (1 / 1024))
    assert little["perplexity_count"] == 1024
    assert little["perplexity_value"] == pytest.approx(little["truth"], rel=0.2)


BAD = {
    "a readout is 'code M n'": lambda: decoder_sensitivity.Grid(readouts=("code 64",)),
    "got 'cube 8 3'": lambda: oracle_rollin.Grid(readouts=("cube 8 3",)),
    "got ''": lambda: readouts.parsed(""),
    "2 ≤ rank ≤ n ≤ 4096, got 'lowrank 8 5 4'": lambda: readouts.parsed("lowrank 8 5 4"),
    "got 'simplicial 5 3'": lambda: readouts.parsed("simplicial 5 3"),
    "latents are any of gaussian, overlapping, separated, nuisance, got 'odd'": lambda: (
        oracle_rollin.Grid(latents=("odd",))
    ),
    "nuisance needs rank ≤ n − 2 and M ≥ 8, got 'code 8 3'": lambda: readouts.latents(
        "nuisance", "code 8 3"
    ),
    "lengths must be positive and finite, got (0.0,)": lambda: decoder_sensitivity.Grid(
        lengths=(0.0,)
    ),
    "scale must be positive and finite, got nan": lambda: decoder_sensitivity.Grid(scale=math.nan),
    "sharpness must be positive and finite, got -1": lambda: decoder_sensitivity.Grid(sharpness=-1),
    "scales must be positive and finite, got (0,)": lambda: oracle_rollin.Grid(scales=(0,)),
    "a language is 'KIND V n L'": lambda: oracle_rollin.Grid(languages=("random 8 4",)),
    "starts lie in (0, 1], got (1.5,)": lambda: oracle_rollin.Grid(starts=(1.5,)),
    "steps are from 1 to 4096, got (0,)": lambda: oracle_rollin.Grid(steps=(0,)),
    "and a flow of 0": lambda: oracle_rollin.Grid(flow=0),
    "effort must be positive and finite, got inf": lambda: oracle_rollin.Grid(effort=math.inf),
}


test_a_grid_out_of_range_is_one_clear_line = refusals(BAD)


# Claims

BY_ID = {claim.id: claim for claim in claims.CLAIMS}


def estimated(name: str, value: float, relative: float = 0.002, count: int = 10**6) -> dict:
    sem = relative * value
    return {f"{name}_value": value, f"{name}_sem": sem, f"{name}_bias": 0.0, f"{name}_count": count}


def ended(name: str, value: float, half: float) -> dict:
    ends = {f"{name}_lower": value * (1 - half), f"{name}_upper": value * (1 + half)}
    return {f"{name}_value": value, **ends}


def terminal_row(latents: str, scale: float, factor: float, half: float) -> dict[str, Any]:
    """A residual `factor` times off in everything that a claim looks at."""
    share = {"gaussian": 0.25, "nuisance": 0.22}.get(latents, 0.3 if scale < 1 else 0.45)
    apart = 10.0 if latents == "separated" and scale >= 1 else 1.0
    return {
        "family": "terminal",
        "latents": latents,
        "scale": scale,
        "rank": 8,
        "dimension": 32,
        "isotropic_share": 0.25,
        "isotropic_cosine": 0.14,
        **estimated("noise_share", 0.25 * factor, half / 6),
        **estimated("noise_cosine", 0.14 * factor, half / 6),
        **estimated("share", share * (factor if latents == "nuisance" else factor**-4), half / 6),
        **estimated("share_law", share, half / 6),
        **estimated("cosine", 0.2 / factor**3, half / 6),
        **estimated("flips", 0.1),
        **estimated("raw_flips", 0.1),
        **ended("structured", apart / factor**10, 3 * half),
        **ended("raw_structured", factor**2, 3 * half),
    }


def rollin_rows(factor: float = 1.0, half: float = 0.02) -> list[store.Row]:
    rows: list[store.Row] = [
        terminal_row(latents, scale, factor, half)
        for latents in ("gaussian", "overlapping", "separated", "nuisance")
        for scale in (0.25, 1.0)
    ]
    common = {"family": "rollin", "start": 1.0}
    gaussian = common | {"latents": "gaussian", "steps": 2, "spread_law": 0.25}
    rows.append(gaussian | estimated("spread", 0.25 * factor, half / 6))
    tubes = estimated("tube", 0.02 / factor**20, 0.1, int(2e4 / (50 * half)))
    own = estimated("tube_data", 0.008, 0.1, int(2e4 / (50 * half)))
    return [*rows, {**common, "latents": "separated", "steps": 4, **tubes, **own}]


def step_rows(factor: float = 1.0, half: float = 0.02) -> list[store.Row]:
    rows: list[store.Row] = []
    count = int(1000 / half**2)
    for length, tube in ((0.1, 0.06), (1.0, 0.5)):
        row = {"latents": "gaussian", "length": length, "normal_limit": normal_ratio(32)}
        row |= estimated("tube", tube, count=count)
        row |= estimated("normal_flips", tube / factor**2, count=count)
        row |= ended("dabi_normal_flips", normal_ratio(32) / factor**15, 5 * half)
        for way in ("normal", "residual"):
            row |= ended(f"smooth_dabi_{way}_output", factor**2, half)
        rows.append(row)
    return rows


TABLES = {"oracle_rollin": rollin_rows, "decoder_sensitivity": step_rows}


@pytest.mark.parametrize("claim", BY_ID)
def test_true_rows_hold_and_rows_bent_are_refuted(claim: str):
    make = TABLES[BY_ID[claim].experiment]
    assert BY_ID[claim].judge(make()).verdict == "holds"
    assert BY_ID[claim].judge(make(1.2)).verdict == "refuted"


@pytest.mark.parametrize("claim", BY_ID)
def test_vague_rows_say_nothing_and_no_rows_are_missing(claim: str):
    make = TABLES[BY_ID[claim].experiment]
    assert BY_ID[claim].judge(make(half=0.5)).verdict == "inconclusive"
    assert BY_ID[claim].judge([]).verdict == "missing"


def test_open_ends_were_stored_as_nothing():
    rows = step_rows()
    for row in rows:
        row |= {"dabi_normal_flips_value": None, "dabi_normal_flips_upper": None}
        row["dabi_normal_flips_lower"] = 30.0
    assert BY_ID["dabi-sharp"].judge(rows).verdict == "holds"
    assert BY_ID["dabi-limit"].judge(rows).verdict == "refuted"


# Pictures


@pytest.mark.slow
def test_pictures_show_their_tables(tmp_path):
    cells = [
        replace(STEP, length=x, latents=z) for x in (0.1, 1.0) for z in ("gaussian", "separated")
    ]
    steps = [{**vars(cell), **measured(decoder_sensitivity, cell)} for cell in cells]
    figures = sensitivity_figures.draw(steps)
    assert set(figures) == {"dabi", "lowrank-8-2-4"}
    top = figures["lowrank-8-2-4"].axes[0]
    dashed = [line for line in top.lines if line.get_linestyle() == "--"]
    np.testing.assert_array_equal(dashed[0].get_ydata(), [s["tube_value"] for s in steps[::2]])
    rolls = [replace(ROLLED, steps=k, start=t) for k in (1, 4) for t in (0.5, 1.0)]
    spoken = [replace(SPOKEN, steps=k, start=t) for k in (1, 4) for t in (0.75, 1.0)]
    cells = [TERMINAL, replace(TERMINAL, scale=0.25), *rolls, *spoken]
    rows = [{**vars(cell), **measured(oracle_rollin, cell)} for cell in cells]
    more = rollin_figures.draw(rows)
    names = {f"{x}-lowrank-8-2-4" for x in ("terminal", "residual", "rollin")}
    assert set(more) == names | {"sequence-random-16-8-6"}
    said = [row.get("cumulative_flips_value") for row in rows if row["family"] == "sequence"]
    seen = shown(more["sequence-random-16-8-6"].axes[2])[:, 0]
    np.testing.assert_array_equal(seen, sorted(x for x in said if x is not None))
    share = more["residual-lowrank-8-2-4"].axes[0].lines
    law = [rows[k]["share_law_value"] / 0.5 for k in (1, 0)]
    assert any(np.array_equal(line.get_ydata(), law) for line in share)
    for name, figure in {**figures, **more}.items():
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / f"{name}.svg")
    assert sensitivity_figures.draw([]) == rollin_figures.draw([]) == {}
