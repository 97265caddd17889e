"""Pictures of `inverse_stiffness` show their tables."""

import math

import numpy as np
import pytest

from figures import inverse_stiffness
from tests.pipeline.drawn import SIGMAS, area, column, ends, has_line, of, save, shown, triples


def map_row(family, modes, stiffness, dimension=None, restart=0):
    first = math.sqrt(2) * area(modes)
    exact = first / stiffness - 0.1 * modes**0.3 / stiffness**2
    excess = 1 + {"sparsemax": 0.0, "trained": 0.001 * stiffness}.get(family, 0.3) + 0.02 * restart
    common = {
        "family": family,
        "modes": modes,
        "dimension": dimension or modes,
        "stiffness": stiffness,
        "restart": restart,
        "steps": 6000,
        "exact": exact,
        "asymptote": first / stiffness,
        "two_term": exact - 0.1 / stiffness**3,
        "leak_floor": 0.8 * exact,
    }
    common |= ends("leak", exact * excess, 0.02)
    common |= ends("ratio", exact * excess * stiffness / first, 0.02)
    if family in inverse_stiffness.PARTITIONS:
        common |= {"perimeter": 1.3 * area(modes), "corner_stretch": 1 + 1 / stiffness}
        common |= {"raw_limit": 3 * area(modes)} | ends("sharp_rate", 1.25 * area(modes), 0.02)
        common |= ends("raw_rate", (3 - 4 / stiffness) * area(modes), 0.02)
    return common


def maps():
    found = [map_row("sparsemax", m, 2.0**k) for m in (2, 4, 16, 64, 256) for k in range(2, 8)]
    for name, modes, n in (("intervals", 4, 1), ("orthants", 4, 2), ("balanced", 64, 8)):
        found += [map_row(name, modes, stiffness, n) for stiffness in (4.0, 16.0, 64.0)]
    return found + [
        map_row("trained", modes, stiffness, restart=restart)
        for modes in (2, 3, 4, 8, 16)
        for stiffness in (4.0, 16.0, 64.0)
        for restart in range(3)
    ]


@pytest.fixture(scope="module")
def separated():
    return inverse_stiffness.draw(maps())


def test_inverse_stiffness_has_three_figures(separated):
    assert list(separated) == ["leak", "ratio", "sharp_maps"]
    save(separated)


def test_leak_shows_samples_over_exact_curves_with_their_slopes(separated):
    (axes,) = separated["leak"].axes
    rows = of(maps(), "sparsemax", "trained")
    names = ("leak_value", "leak_lower", "leak_upper")
    np.testing.assert_allclose(shown(axes), triples(*(column(rows, name) for name in names)))
    texts = [text.get_text() for text in axes.texts]
    for modes in (2, 256):
        exact = [row for row in of(rows, "sparsemax") if row["modes"] == modes]
        x = column(exact, "stiffness")
        for name in ("exact", "asymptote", "two_term", "leak_floor"):
            assert has_line(axes, x, column(exact, name))
        slope = np.polyfit(np.log(x), np.log(column(exact, "exact")), 1)[0]
        assert f"{modes}: −{-slope:.3f}" in texts


def test_ratio_shows_the_exact_one_and_every_restart(separated):
    (axes,) = separated["ratio"].axes
    trained = of(maps(), "trained")
    names = ("ratio_value", "ratio_lower", "ratio_upper")
    np.testing.assert_allclose(shown(axes), triples(*(column(trained, name) for name in names)))
    exact = [row for row in of(maps(), "sparsemax") if row["modes"] == 16]
    height = column(exact, "exact") / column(exact, "asymptote")
    assert has_line(axes, column(exact, "stiffness"), height)
    levels = [line.get_ydata()[0] for line in axes.lines if len(set(line.get_ydata())) == 1]
    assert {1, 1.15} <= set(levels)


def test_sharp_maps_are_over_their_perimeter(separated):
    left, right = separated["sharp_maps"].axes
    rows = of(maps(), *inverse_stiffness.PARTITIONS)
    over = column(rows, "perimeter")
    want = []
    for name in ("sharp_rate", "raw_rate"):
        value, reach = column(rows, f"{name}_value"), SIGMAS * column(rows, f"{name}_sem")
        want += [value / over, (value - reach) / over, (value + reach) / over]
    both = np.vstack([triples(*want[:3]), triples(*want[3:])])
    np.testing.assert_allclose(shown(left, across=0), both[np.lexsort(both.T[::-1])])
    stretch = [x for line in right.lines if line.get_marker() != "None" for x in line.get_xdata()]
    np.testing.assert_allclose(sorted(stretch), sorted(column(rows, "corner_stretch")))
    limits = {x[0] for line in left.lines for x in [line.get_xdata()] if len(set(x)) == 1}
    assert {row["raw_limit"] / row["perimeter"] for row in rows} <= limits


@pytest.mark.slow
def test_small_tables_draw():
    assert inverse_stiffness.draw([]) == {}
    for name in dict.fromkeys(row["family"] for row in maps()):
        rows = of(maps(), name)
        assert inverse_stiffness.draw(rows[:1])
        save(inverse_stiffness.draw(rows[:1]))
        save(inverse_stiffness.draw(rows[-4:]))


def test_without_partitions_there_are_no_sharp_maps():
    assert list(inverse_stiffness.draw(of(maps(), "trained"))) == ["leak", "ratio"]
    assert list(inverse_stiffness.draw(of(maps(), "orthants"))) == ["sharp_maps"]


def test_losses_are_drawn_beside_each_other():
    trained = [(row, {"losses": np.array([1.0, 0.3])}) for row in of(maps(), "trained")]
    figures = inverse_stiffness.draw_arrays(trained)
    save(figures)
    assert [len(axes.lines) for axes in figures["losses"].axes] == [15, 15, 15]


def test_a_training_of_one_chunk_has_no_curve():
    short = [(row, {"losses": np.array([1.0])}) for row in of(maps(), "trained")]
    assert inverse_stiffness.draw_arrays(short) == {}
    assert inverse_stiffness.draw_arrays([]) == {}
