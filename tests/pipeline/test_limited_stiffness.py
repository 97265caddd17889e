"""Limited stiffness: fields that count, refused grids, what goes on, its claims and its figures."""

from dataclasses import asdict, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import denoising, limited_stiffness, runtime, store
from experiments.claims import stiffness_surface
from figures import limited_stiffness as figure
from tests.pipeline.drawn import has_line, save, shown
from tests.refusals import refusals

BY_ID = {claim.id: claim for claim in stiffness_surface.CLAIMS}
CELL = limited_stiffness.Cell(
    family="lipschitz",
    stiffness=1.0,
    floor=0.0,
    depths="K 1 2",
    restart=0,
    language="markov 4 0.5 2 random",
    length=4,
    window=3,
    width=16,
    steps=4,
    batch=2,
    effort=0.01,
)
FLOOR = replace(CELL, family="floor", stiffness=0.0, floor=1.0, window=0, width=0, steps=0, batch=0)


def measured(cell: limited_stiffness.Cell, checkpoint: Any = None) -> dict[str, Any]:
    """The row under one fixed key, so that only the cell can make the difference."""
    key = runtime.cell_key({"fixed": True}, 0)
    row = store.flatten(limited_stiffness.measure(cell, key, checkpoint)[0])
    assert not row.keys() & asdict(cell).keys()
    return row


def asked(monkeypatch, cell: limited_stiffness.Cell) -> list:
    """What a cell asks for, without training: names, numbers and shapes of all arguments."""
    found: list = []
    answers: dict[str, Any] = {
        "lipschitz_denoiser": "model",
        "lipschitz_student": "model",
        "trained": ("model", np.zeros(1)),
        "stiffness": {"law_max": 1.0},
        "agreement": (np.zeros((4, 2, 2)), {}),
    }
    for name in ("made", "errors", "certificates", "described"):
        answers[name] = {}

    def stub(name: str, answer: Any) -> Any:
        def answered(*given: Any, **named: Any) -> Any:
            plain = [a.denoiser() if hasattr(a, "denoiser") else a for a in given]
            parts = jax.tree.leaves((plain, named))
            found.append((name, [getattr(a, "shape", a) for a in parts], _sum(parts)))
            return answer

        return answered

    with monkeypatch.context() as patch:
        for name, answer in answers.items():
            patch.setattr(limited_stiffness, name, stub(name, answer))
        patch.setattr(limited_stiffness, "taught", lambda language, z: np.zeros(z.shape[:2], int))
        limited_stiffness.measure(cell, runtime.cell_key({"fixed": True}, 0))
    return found


def _sum(parts: list) -> float:
    floating = [a for a in parts if jnp.issubdtype(getattr(a, "dtype", bool), jnp.floating)]
    return float(sum(np.sum(a) for a in floating))


@pytest.mark.slow
def test_every_field_of_a_cell_counts(monkeypatch):
    """A restart changes a cell's key alone."""
    changes: dict[str, Any] = {
        "family": "student",
        "stiffness": 2.0,
        "depths": "K 1 3",
        "language": "markov 4 0.6 2 random",
        "length": 5,
        "window": 1,
        "width": 18,
        "steps": 5,
        "batch": 3,
        "effort": 0.02,
    }
    assert {*changes, "floor", "restart"} == set(asdict(CELL))
    before = asked(monkeypatch, CELL)
    assert asked(monkeypatch, CELL) == before
    for name, value in changes.items():
        assert asked(monkeypatch, replace(CELL, **{name: value})) != before, name
    assert asked(monkeypatch, replace(FLOOR, floor=0.5)) != asked(monkeypatch, FLOOR)


@pytest.mark.slow
def test_a_student_is_measured_beside_its_teacher():
    row = measured(replace(CELL, family="student", depths="K 1"))
    assert 0 <= row["agreement_value"] <= 1
    assert 0 <= row["leak_value"] <= 1
    assert row["teacher_perplexity_value"] < row["ode_1_perplexity_value"]
    assert row["law_max"] <= row["certified"] == pytest.approx(1, abs=1e-5)
    assert figure.draw([asdict(CELL) | {"family": "student"} | row]).keys() == {"students"}


@pytest.mark.slow
def test_a_training_goes_on_from_its_checkpoint(tmp_path):
    checkpoint = store.Checkpoint(tmp_path / "cell.json")
    row = measured(CELL, checkpoint)
    leaves = checkpoint.load()
    assert leaves is not None
    assert int(leaves[0]) == CELL.steps
    broken = [leaves[0], leaves[1] + 1.0, *leaves[2:]]  # taken up, or the losses would be others
    checkpoint.save(broken)
    again = measured(CELL, checkpoint)
    assert again.pop("last_loss") == pytest.approx(row.pop("last_loss") + 1)
    assert again.pop("first_loss") == pytest.approx(row.pop("first_loss") + 1)
    assert again == row
    assert row["law_max"] <= row["certified"]
    assert row["exact_mse_50_value"] < row["mse_50_value"]


@pytest.mark.slow
def test_the_exact_denoiser_has_no_excess():
    row = measured(replace(FLOOR, floor=0.0))
    assert all(row[f"excess_{round(100 * t)}_value"] == 0 for t in denoising.MOMENTS)
    assert "certified" not in row


def test_every_grid_field_reaches_the_cells():
    base = limited_stiffness.PRESETS["quick"]
    changes: dict[str, Any] = {
        "stiffnesses": (2.0,),
        "floors": (0.5,),
        "students": (1.0,),
        "depths": (1, 3),
        "restarts": 2,
        "language": "markov 8 0.3 4 random",
        "length": 9,
        "window": 1,
        "width": 34,
        "steps": 70,
        "batch": 16,
        "effort": 0.1,
    }
    assert set(changes) == set(asdict(base))
    before = limited_stiffness.cells(base)
    for name, value in changes.items():
        assert limited_stiffness.cells(replace(base, **{name: value})) != before, name


def test_costs_are_positive_and_trainings_cost_most():
    found = {c.family: limited_stiffness.cost(c) for c in limited_stiffness.cells(PAPER)}
    assert 0 < found["floor"] < found["student"] < found["lipschitz"]


PAPER = limited_stiffness.PRESETS["paper"]
BAD = {
    "stiffnesses have Λ in (0, 64], got 0.0": lambda: replace(PAPER, stiffnesses=(0.0,)),
    "students have Λ in (0, 64], got nan": lambda: replace(PAPER, students=(float("nan"),)),
    "floors are finite and ≥ 0, got -1.0": lambda: replace(PAPER, floors=(-1.0,)),
    "depths are from 1 to 256, got 0": lambda: replace(PAPER, depths=(0,)),
    "the language is a markov one, got 'pairs 8 0.1 4 random'": lambda: replace(
        PAPER, language="pairs 8 0.1 4 random"
    ),
    "got 'french'": lambda: replace(PAPER, language="french"),
    "length must be from 2 to 1024, got 1": lambda: replace(PAPER, length=1),
    "window must be odd and at least 1, got 4": lambda: replace(PAPER, window=4),
    "width must be even and at least 88, got 86": lambda: replace(PAPER, width=86),
    "width must be even and at least 88, got 99": lambda: replace(PAPER, width=99),
    "restarts must be at least 1, got 0": lambda: replace(PAPER, restarts=0),
    "steps must be at least 1, got 0": lambda: replace(PAPER, steps=0),
    "batch must be at least 1, got 0": lambda: replace(PAPER, batch=0),
    "effort must be positive and finite, got 0": lambda: replace(PAPER, effort=0),
}


test_a_grid_out_of_range_is_one_clear_line = refusals(BAD)


# Claims and figures, from rows as the statements would have them


def estimated(name: str, value: float, share: float = 1e-3) -> dict[str, Any]:
    sem = value * share
    return {f"{name}_value": value, f"{name}_sem": sem, f"{name}_bias": 0.0, f"{name}_count": 512}


def row(family: str, level: float, bent: bool = False, share: float = 1e-3) -> dict[str, Any]:
    """Of a denoiser: perplexity 1 + 40/(KΛ) times the truth, or rising with Λ where bent."""
    student, floor = family == "student", family == "floor"
    depths = [1] if student else [1, 2, 8]
    found: dict[str, Any] = {
        "family": family,
        "stiffness": 0.0 if floor else level,
        "floor": level if floor else 0.0,
        "restart": 0,
        "depths": "K " + " ".join(map(str, depths)),
        "truth": 6.0,
        "certified": None if floor else level,
    }
    scale = 1 / level if bent and level else (level if level else 1e9)
    for depth in depths:
        over = 1 + 40 / depth / scale
        if floor:
            over = 1 + (1 / (1 + level) if bent else level) / depth
        if depth == 1 and not student:
            over = 5.0 if bent else 100.0
        near = 0.2 if bent else 0.9 / depth / 40
        found |= estimated(f"ode_{depth}_perplexity", 6 * over, share)
        found |= estimated(f"ode_{depth}_frechet", near, share)
    if student:
        found |= estimated("leak", 0.3 if bent else 0.3 / level, share)
        found |= estimated("agreement", 0.5, share)
    return found


def rows(bent: bool = False, share: float = 1e-3) -> list[dict[str, Any]]:
    found = [row(f, x, bent, share) for f in ("lipschitz", "student") for x in (1.0, 2.0, 4.0)]
    return found + [row("floor", s, bent, share) for s in (0.0, 1.0, 2.0)]


@pytest.mark.parametrize("claim", BY_ID)
def test_rows_as_stated_hold(claim: str):
    verdict = BY_ID[claim].judge(rows())
    assert verdict.verdict == "holds"
    assert verdict.interval[0] <= verdict.effect <= verdict.interval[1]


@pytest.mark.parametrize("claim", BY_ID)
def test_bent_rows_are_refuted(claim: str):
    assert BY_ID[claim].judge(rows(bent=True)).verdict == "refuted"


@pytest.mark.parametrize("claim", BY_ID)
def test_vague_rows_are_inconclusive(claim: str):
    assert BY_ID[claim].judge(rows(share=1.0)).verdict == "inconclusive"


@pytest.mark.parametrize("claim", BY_ID)
def test_no_row_is_missing_and_no_row_of_its_kind_inconclusive(claim: str):
    assert BY_ID[claim].judge([]).verdict == "missing"
    other = row("floor", 0.5) | {"depths": "K 2"}
    assert BY_ID[claim].judge([other]).verdict == "inconclusive"


def test_the_surface_is_drawn_over_depth_and_over_stiffness():
    figures = figure.draw(rows())
    assert figures.keys() == {"floors", "depth", "stiffness", "students"}
    save(figures)
    top, bottom = figures["stiffness"].axes
    wanted = [r for r in rows() if r["family"] != "floor"]
    values = np.sort([r[f"ode_{k}_perplexity_value"] / 6 for r in wanted for k in _depths(r)])
    np.testing.assert_allclose(np.sort(shown(top)[:, 0]), values)
    assert len(shown(bottom)) == len(values)
    assert has_line(figures["depth"].axes[0], [0, 1], [1, 1])
    # Three trained denoisers and the exact one, three depths each.
    assert len(shown(figures["depth"].axes[1])) == 4 * 3
    assert len(shown(figures["floors"].axes[0])) == 3 * 3


def _depths(found: dict[str, Any]) -> list[int]:
    return [int(word) for word in found["depths"].split()[1:]]


def test_the_line_of_students_is_one_over_stiffness():
    (axes,) = figure.draw([r for r in rows() if r["family"] == "student"])["students"].axes
    x = np.array([1.0, 2.0, 4.0])
    assert has_line(axes, x, 0.3 / x)
