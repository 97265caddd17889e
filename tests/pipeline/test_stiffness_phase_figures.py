"""Pictures of `stiffness_phase` show their tables."""

import numpy as np
import pytest

from figures import planar_map, stiffness_phase
from tests.pipeline.drawn import area, column, has_line, of, save, shown, triples


def phase_row(family, modes, dimension, restart=0):
    best = 14 * max(area(modes), 0.3 * modes ** (1 / dimension))
    share = 0.0 if family in ("line", "sparsemax") else 0.01
    value = best * (1.0 if family != "trained" else 1.02 + 0.003 * modes + 0.03 * restart)
    return {
        "family": family,
        "modes": modes,
        "dimension": dimension,
        "leak": 0.1,
        "restart": restart,
        "steps": 1200,
        "stiffness_floor": 12 * area(modes),
        "stiffness": value,
        "stiffness_lower": value * (1 - share),
        "stiffness_upper": value * (1 + share),
    }


def phases():
    found = []
    pairs = [(m, n) for n in (1, 2) for m in (4, 6, 8, 12, 16)]
    for modes, n in pairs + [(m, m) for m in (2, 4, 8, 16, 32)]:
        known = {1: "line", 2: "partition" if modes > 3 else "sparsemax"}.get(n, "sparsemax")
        found.append(phase_row(known, modes, n))
        found += [phase_row("trained", modes, n, restart) for restart in range(3)]
    return found


@pytest.fixture(scope="module")
def phase():
    return stiffness_phase.draw(phases())


def test_phase_shows_every_stiffness_and_the_floor(phase):
    assert list(phase) == ["phase", "shortfall"]
    save(phase)
    (axes,) = phase["phase"].axes
    names = ("stiffness", "stiffness_lower", "stiffness_upper")
    want = triples(*(column(phases(), name) for name in names))
    np.testing.assert_allclose(shown(axes), want)
    floors = {row["modes"]: row["stiffness_floor"] for row in phases()}
    assert has_line(axes, sorted(floors), [floors[m] for m in sorted(floors)])
    laws = {text.get_text().split("∝ ")[1] for text in axes.texts}
    assert laws == {"$M$", "$M^{1/2}$", r"$\sqrt{\log M}$"}


def test_shortfall_is_over_the_best_known_with_both_intervals(phase):
    (axes,) = phase["shortfall"].axes
    known = {(r["modes"], r["dimension"]): r for r in phases() if r["family"] != "trained"}
    want = []
    for row in of(phases(), "trained"):
        other = known[row["modes"], row["dimension"]]
        low = row["stiffness_lower"] / other["stiffness_upper"]
        high = row["stiffness_upper"] / other["stiffness_lower"]
        want.append((row["stiffness"] / other["stiffness"], low, high))
    np.testing.assert_allclose(shown(axes), triples(*zip(*want, strict=True)))


def test_best_restarts_are_filled(phase):
    (axes,) = phase["phase"].axes
    filled = [
        value
        for container in axes.containers
        if (line := container.lines[0]).get_markerfacecolor() != "none" and line.get_marker() != "_"
        for value in line.get_ydata()
    ]
    best = [row["stiffness"] for row in of(phases(), "trained") if row["restart"] == 0]
    np.testing.assert_allclose(sorted(filled), sorted(best))


@pytest.mark.slow
def test_small_tables_draw():
    assert stiffness_phase.draw([]) == {}
    for name in dict.fromkeys(row["family"] for row in phases()):
        rows = of(phases(), name)
        assert stiffness_phase.draw(rows[:1])
        save(stiffness_phase.draw(rows[:1]))
        save(stiffness_phase.draw(rows[-4:]))


def test_without_trained_maps_there_is_no_shortfall():
    assert list(stiffness_phase.draw(of(phases(), "line"))) == ["phase"]
    assert list(stiffness_phase.draw(of(phases(), "trained"))) == ["phase"]


# Arrays


def picture(modes, side=31):
    """Sectors about the origin, with a stretched strip about every fourth line."""
    axis = np.linspace(-3, 3, side)
    x, y = np.meshgrid(axis, axis)
    label = ((np.arctan2(y, x) + np.pi) / (2 * np.pi) * modes).astype(np.int16) % modes
    off = np.abs(x) < 0.3
    return {
        "losses": np.array([1.0, 0.5, 0.25]),
        "axis": axis,
        "label": label,
        "entry": np.where(off, 0.7, 1.0),
        "norm": np.where(off, 9.0, 0.0),
    }


def stored():
    plane = [phase_row("trained", m, 2, restart) for m in (4, 8) for restart in range(2)]
    found = [(row, picture(row["modes"])) for row in plane]
    line = phase_row("trained", 4, 1), {"losses": np.array([0.9, 0.4, 0.2])}
    return [*found, line, (phase_row("sparsemax", 2, 2), {})]


def test_the_map_is_the_best_of_the_most_modes():
    figures = stiffness_phase.draw_arrays(stored())
    assert set(figures) == {"losses", "map"}
    save(figures)
    left, right = figures["map"].axes[:2]
    best = phase_row("trained", 8, 2)
    np.testing.assert_allclose(right.images[0].get_array(), picture(8)["norm"] / best["stiffness"])
    colour = np.asarray(left.images[0].get_array())
    np.testing.assert_array_equal(colour, planar_map.cells(picture(8)))
    assert len(np.unique(picture(8)["label"])) == 8


def test_cells_are_dark_off_the_modes_and_differ_from_their_neighbours():
    shape = picture(6)
    colour, off = planar_map.cells(shape), shape["entry"] < 1
    np.testing.assert_allclose(
        planar_map.cells(shape | {"entry": np.ones_like(shape["entry"])})[off] * planar_map.INK,
        colour[off],
    )
    whole = planar_map.cells(shape | {"entry": np.ones_like(shape["entry"])})
    for i, j in planar_map.neighbours(shape["label"]):
        first, second = (whole[shape["label"] == k][0] for k in (i, j))
        assert not np.allclose(first, second)


def test_losses_are_drawn_at_the_ends_of_their_chunks():
    panels = stiffness_phase.draw_arrays(stored())["losses"].axes
    assert [axes.get_title() for axes in panels] == ["$n = 1$", "$n = 2$"]
    assert has_line(panels[0], [500, 1000, 1200], [0.9, 0.4, 0.2])
    assert len(panels[1].lines) == 4


def test_without_arrays_nothing_is_drawn():
    assert stiffness_phase.draw_arrays([]) == {}
