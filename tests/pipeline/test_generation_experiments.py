"""few_step, churn_sweep, commitment_rounds: fields that count, refused grids, claims, figures."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from experiments import churn_sweep, commitment_rounds, few_step, generation, runtime, store
from experiments.claims import churn, commitment
from experiments.claims import few_step as few_claims
from figures import churn_sweep as churn_figure
from figures import commitment_rounds as rounds_figure
from figures import few_step as few_figure
from tests.pipeline.drawn import has_line, save, shown
from tests.refusals import refusals

TINY = "markov 8 0.3 4 random"
WAY = few_step.Cell(
    *(TINY, 8, "churn", 0.5, "flow", "uniform", "argmax", 0.0, 0.0, 3, 0, 0.02, "way", 0)
)
SWEPT = churn_sweep.Cell(
    *(TINY, 8, "churn", 0.5, "flow", "uniform", "argmax", 1.5, 0.3, 3, 0, 0.02, "floor")
)
ROUNDS = commitment_rounds.Cell(TINY, 8, "random", 3, 0, 0.02)


def measured(module: Any, cell: Any) -> dict:
    """The row under one fixed key, so that only the cell can make the difference."""
    row = store.flatten(module.measure(cell, runtime.cell_key({"fixed": True}, 0)))
    assert not row.keys() & asdict(cell).keys()
    return row


CHANGES = {
    "language": "markov 8 0.3 4 simplex".replace(" 4 ", " 8 "),
    "length": 9,
    "sampler": "ancestral",
    "churn": 0.7,
    "schedule": "preserving",
    "grid": "cosine",
    "ending": "sampled",
    "guidance": 2.5,
    "floor": 2.0,
    "steps": 4,
    "draw": 1,
    "effort": 0.05,
}


@pytest.mark.slow
def test_every_field_of_a_generation_changes_its_row():
    assert {*CHANGES, "family", "modes"} == set(asdict(WAY))
    before = measured(few_step, WAY)
    for name, value in CHANGES.items():
        others = {"churn": 0.0} if name == "sampler" else {}
        cell = replace(WAY, **{name: value}, **others)
        assert measured(few_step, cell) != before, name


def test_the_same_generation_is_the_same_row_in_both_experiments():
    plain = replace(SWEPT, guidance=0.0, floor=0.0)
    assert measured(churn_sweep, plain) == measured(few_step, WAY)


@pytest.mark.slow
def test_every_field_of_a_commitment_changes_its_row():
    changes = {"language": "markov 8 0.5 4 random", "length": 9, "order": "confidence", "steps": 2}
    changes |= {"draw": 1, "effort": 0.05}
    assert set(changes) == set(asdict(ROUNDS))
    before = measured(commitment_rounds, ROUNDS)
    for name, value in changes.items():
        assert measured(commitment_rounds, replace(ROUNDS, **{name: value})) != before, name


@pytest.mark.slow
def test_modes_by_every_way():
    grid = replace(few_step.PRESETS["quick"], modes=(2,), mode_steps=(3,), effort=0.02)
    cells = [c for c in few_step.cells(grid) if c.family == "modes" and c.sampler != "heun"]
    rows = [store.configuration(c) | measured(few_step, c) for c in cells]
    for row in rows:
        assert row["leak_lower"] <= row["leak_value"] <= row["leak_upper"]
        assert (row["leak_value"] == 0) == (row["ending"] == "sampled")
        if row["sampler"] == "exact" and row["ending"] == "argmax":
            assert row["whole"] >= row["stiffness_floor"]
    save(few_figure.draw(rows))


def test_a_deterministic_sampler_does_not_depend_on_draws_of_noise_within():
    """ODE rows of churn 0 and of exact steps agree: γ = 0 raises nothing."""
    ode = replace(WAY, sampler="exact", churn=0.0)
    assert measured(few_step, ode) == measured(few_step, replace(WAY, churn=0.0))


GRIDS: dict[Any, dict[str, Any]] = {
    few_step: {
        "reference": "markov 8 0.3 5 random",
        "draws": 2,
        "reference_steps": (3,),
        "ways": ("exact, preserving, uniform, argmax",),
        "languages": (TINY,),
        "lengths": (9,),
        "steps": (3,),
        "looks": (0.6,),
        "look_languages": (TINY,),
        "modes": (3,),
        "mode_steps": (3,),
        "effort": 0.2,
    },
    churn_sweep: {
        "churns": (0.1,),
        "steps": (3,),
        "languages": ("markov 8 0.3 5 random",),
        "bases": (TINY,),
        "places": ("flow, cosine, argmax",),
        "guidances": (2.0,),
        "floors": (0.1,),
        "length": 9,
        "draws": 2,
        "effort": 0.2,
    },
    commitment_rounds: {
        "languages": (TINY,),
        "lengths": (17,),
        "orders": ("left to right",),
        "rounds": (3,),
        "draws": 2,
        "effort": 0.2,
    },
}


@pytest.mark.parametrize("module", GRIDS, ids=lambda m: m.__name__.split(".")[-1])
def test_every_grid_field_reaches_the_cells(module):
    base, changes = module.PRESETS["quick"], GRIDS[module]
    if module is few_step:
        base = replace(base, languages=("markov 4 0.3 2 random",), lengths=(4,))
    assert set(changes) == set(asdict(base))
    for name, value in changes.items():
        assert module.cells(replace(base, **{name: value})) != module.cells(base), name
    assert all(module.cost(cell) > 0 for cell in module.cells(base))


def test_languages_share_chains_across_dimensions_and_tables_across_lengths():
    one, two = (generation.language_of(f"markov 8 0.3 {n} random", 0) for n in (4, 5))
    np.testing.assert_array_equal(one.states.transition, two.states.transition)
    other = generation.language_of(TINY, 1)
    assert not np.array_equal(one.states.transition, other.states.transition)
    assert not np.array_equal(one.embeddings, other.embeddings)


# Rows written by hand


def estimates(**named: float) -> dict[str, float]:
    found = {}
    for name, value in named.items():
        found |= {f"{name}_value": value, f"{name}_sem": 0.002 * abs(value)}
        found |= {f"{name}_bias": 0.0, f"{name}_count": 1000}
    return found


def row_of(**changes: Any) -> dict:
    """A way or a sweep's row as it should be."""
    base = asdict(WAY) | {"language": "markov 64 0.05 16 random", "churn": 0.0, "sampler": "exact"}
    base |= {"family": "reference", "varied": "dimension", "truth": 7.0, "entropy_truth": 4.0}
    ratio = changes.pop("ratio", 1.02)
    found = estimates(
        perplexity=7 * ratio, over_truth=ratio, entropy=4.0, bigram=0.1, frechet=0.001
    )
    return base | found | changes


def mode_row(ending: str = "argmax", leak: float = 1.0, steps: int = 1, **changes: Any) -> dict:
    own = {"family": "modes", "modes": 8, "ending": ending, "steps": steps}
    own |= estimates(unbalance=0.01) | {"leak_lower": leak, "leak_upper": leak, "leak_count": 4096}
    return row_of(**own, leak_value=leak, **changes)


def look_rows(early: float) -> list[dict]:
    return [
        row_of(family="look", language=f"markov 64 0.05 {n} random", grid=f"look {t}", ratio=ratio)
        for n, t, ratio in ((16, 0.4, 2 * early), (16, 0.8, 5), (128, 0.4, 5), (128, 0.8, 2))
    ]


def few_step_rows(wrong: str = "") -> list[dict]:
    def ratio(name: str, right: float, false: float) -> float:
        return false if wrong == name else right

    return [
        row_of(steps=2, ratio=ratio("few-step-gap", 4.0, 1.5)),
        row_of(steps=16, ratio=1.1),
        row_of(steps=64, ratio=ratio("ode-truth", 1.03, 1.3)),
        row_of(
            family="way", sampler="ancestral", steps=16, ratio=ratio("ancestral-equal", 1.1, 2.0)
        ),
        row_of(
            family="way", sampler="renoise", steps=64, ratio=ratio("renoise-collapse", 0.9, 1.1)
        ),
        *look_rows(4.0 if wrong == "look-dimension" else 1.0),
        mode_row(leak=0.5 if wrong == "mode-leak" else 1.0),
        mode_row("sampled", leak=0.3 if wrong == "mode-commit" else 0.0),
        mode_row(
            leak=0.2, steps=4, whole=0.5 if wrong == "mode-floor" else 9.0, stiffness_floor=3.0
        ),
    ]


def churn_rows(wrong: str = "") -> list[dict]:
    large = "markov 64 0.05 128 random"

    def pair(gain: float, **others: Any) -> list[dict]:
        return [
            row_of(ratio=2 * gain, churn=0.0, **others),
            row_of(ratio=2.0, churn=0.5, **others),
        ]

    rows = pair(2.0 if wrong == "churn-small" else 1.0, steps=4)
    rows += pair(1.0 if wrong == "churn-dimension" else 3.0, steps=2, language=large)
    place = {"varied": "place", "grid": "shifted", "language": large, "steps": 2}
    rows.append(row_of(ratio=0.5 if wrong == "churn-is-place" else 2.0, **place))
    frechet = {"frechet_value": 0.3} if wrong.startswith("smooth") else {}
    return [*rows, row_of(ratio=1.5, steps=8, **frechet)]


def rounds_rows(wrong: str = "") -> list[dict]:
    def row(order: str, ratio: float, steps: int = 6, language: str = "markov 64 0.05 16 random"):
        cell = {"language": language, "length": 32, "order": order, "steps": steps, "draw": 0}
        return row_of(ratio=ratio) | cell | estimates(transition_over_truth=ratio)

    return [
        row("bisection", 1.1 if wrong == "commit-exact" else 1.001),
        row("random", 0.9 if wrong == "commit-orders" else 2.0),
        row("confidence", 3.0, 4),
        row(
            "bisection",
            0.9 if wrong == "commit-second-order" else 1.5,
            language="pairs 16 0.1 16 random",
        ),
    ]


TABLES = {
    "few_step": few_step_rows,
    "churn_sweep": churn_rows,
    "commitment_rounds": rounds_rows,
}
BY_ID = {claim.id: claim for part in (few_claims, churn, commitment) for claim in part.CLAIMS}


@pytest.mark.parametrize("claim", BY_ID)
def test_a_claim_holds_on_rows_as_they_should_be_and_not_on_wrong_ones(claim: str):
    make = TABLES[BY_ID[claim].experiment]
    right = BY_ID[claim].judge(make())
    assert right.verdict == "holds", right
    assert BY_ID[claim].judge(make(claim)).verdict != "holds"
    assert BY_ID[claim].judge([]).verdict == "missing"


def test_figures_show_the_tables_numbers():
    few = [
        row_of(steps=k, draw=d, ratio=r)
        for d in (0, 1)
        for k, r in ((2, 4.0), (8, 1.5), (64, 1.02))
    ]
    few += [row_of(family="way", sampler="heun", steps=k, ratio=1.2) for k in (2, 8)]
    few += [
        row_of(family="sweep", sampler=s, steps=k, ratio=1.3)
        for s in ("exact", "churn", "ancestral")
        for k in (2, 8)
    ]
    figures = few_figure.draw(few + look_rows(1.0))
    assert figures.keys() == {"reference", "sweep-markov-64-0.05", "look"}
    assert sorted(shown(figures["look"].axes[0])[:, 0]) == [2, 2, 5, 5]
    top = figures["reference"].axes[0]
    assert sorted(set(shown(top)[:, 0])) == [1.02, 1.2, 1.5, 4.0]
    save(figures)
    swept = churn_figure.draw(churn_rows())
    assert "gain" in swept
    save(swept)
    rounds = rounds_figure.draw(rounds_rows())
    assert len(rounds) == 2
    top = rounds["markov-64-0.05-16-random"].axes[0]
    assert sorted(shown(top)[:, 0]) == [1.001, 2.0, 3.0]
    save(rounds)


def test_the_stiffness_of_modes_is_drawn_with_its_floor():
    rows = [mode_row(steps=k, whole=2.0 * k, peak=1.5, stiffness_floor=0.5 * k) for k in (2, 4)]
    figure = few_figure.draw(rows)["modes"]
    for name in ("whole", "stiffness_floor", "peak"):
        assert has_line(figure.axes[1], [2, 4], [row[name] for row in rows])


GRID = few_step.PRESETS["quick"]
BAD = {
    "a language is 'markov V c n'": lambda: replace(GRID, reference="markov 8 0.3"),
    "got 'markov 8 0.3 4 learned'": lambda: replace(GRID, reference="markov 8 0.3 4 learned"),
    "2 to 1024 states, c > 0 and n": lambda: replace(GRID, reference="pairs 64 0.3 4 random"),
    "expected sampler, schedule, grid and ending": lambda: replace(GRID, ways=("exact, flow",)),
    "a sampler is one of exact": lambda: replace(GRID, ways=("ddim, flow, uniform, argmax",)),
    "got 'churn'": lambda: replace(GRID, ways=("churn, flow, uniform, argmax",)),
    "schedule is one of flow": lambda: replace(GRID, ways=("exact, ve, uniform, argmax",)),
    "grid must be one of uniform": lambda: replace(GRID, ways=("exact, flow, linear, argmax",)),
    "ending is one of argmax": lambda: replace(GRID, ways=("exact, flow, uniform, greedy",)),
    "steps are from 1 to 4096": lambda: replace(GRID, reference_steps=(0,)),
    "modes are from 2 to 64, got 1": lambda: replace(GRID, modes=(1,)),
    "draws are from 1 to 1000, got 0": lambda: replace(GRID, draws=0),
    "effort must be positive": lambda: replace(GRID, effort=-1.0),
    "w ≥ 0 and s₀ ≥ 0": lambda: replace(churn_sweep.PRESETS["quick"], guidances=(-1.0,)),
    "churns are ≥ 0": lambda: replace(churn_sweep.PRESETS["quick"], churns=(-1.0,)),
    "sampled of first-order languages": lambda: generation.check(replace(SWEPT, ending="sampled")),
    "orders are any of bisection": lambda: commitment_rounds.Grid(orders=("middle",)),
    "lengths are from 2 to 4096": lambda: commitment_rounds.Grid(lengths=(1,), rounds=()),
    "rounds are from 1 to the least L": lambda: commitment_rounds.Grid(rounds=(64,)),
}
test_bad_grids_are_named_on_one_line = refusals(BAD)


def test_draw_0_of_the_floored_reference_has_the_truths_of_the_row_compared_with():
    """6.42 a sequence, 5.98 a transition; one step says one token for ever: 622, without noise."""
    language = generation.language_of(few_step.PRESETS["paper"].reference, 0)
    assert float(np.asarray(language.states.transition).min()) > 0.9 * generation.FLOOR
    truths = generation.truths(language, few_step.LENGTH)
    assert round(truths["truth"], 2) == 6.42
    assert round(truths["truth_transition"], 2) == 5.98
    law, table = np.asarray(language.states.initial), np.asarray(language.embeddings)
    token = int(np.argmax((law @ table) @ table.T))
    constant = np.full((2, few_step.LENGTH), token)
    assert round(float(language.perplexity(constant).value)) == 622


def test_floored_languages_differ_by_draw_and_part_and_are_random_only():
    first, other, part = (
        np.asarray(generation.language_of("floored 8 0.3 4 random", *which).states.transition)
        for which in ((0,), (1,), (0, 1))
    )
    assert not np.allclose(first, other)
    assert not np.allclose(first, part)
    with pytest.raises(ValueError, match="floored languages have random embeddings"):
        generation.parsed("floored 8 0.3 8 simplex")
