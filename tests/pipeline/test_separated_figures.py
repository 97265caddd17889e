"""Pictures of `inverse_stiffness`, `stiffness_phase` and `depth_hierarchy` show their tables."""

import math

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures import depth_hierarchy, inverse_stiffness, marks, planar_map, stiffness_phase

SIGMAS = 6.11
AREAS = {2: 0.399, 3: 0.598, 4: 0.728, 8: 1.007, 16: 1.249, 64: 1.657, 256: 1.999, 4096: 2.564}


def area(modes):
    """P_S, or near it."""
    return float(np.interp(math.log(modes), np.log(list(AREAS)), list(AREAS.values())))


def ends(name, value, share, **others):
    """The columns of an estimate and its interval."""
    found = {f"{name}_value": value, f"{name}_sem": value * share / SIGMAS}
    found |= {f"{name}_lower": value * (1 - share), f"{name}_upper": value * (1 + share)}
    return found | others


# Tables with the grids of the paper presets


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


def hierarchy_row(family, modes, depth):
    once, level = 14 * area(modes), 14 * area(modes ** (1 / depth))
    whole = 1 - 0.9**depth
    row = {
        "family": family,
        "modes": modes,
        "depth": depth,
        "leak": 0.1,
        "once_exact": once,
        "peak_ratio_exact": once / level,
        "peak_ratio_limit": 1.01 * once / level,
        "price_exact": depth * level / once,
        "price_limit": 0.99 * depth * level / once,
    }
    for name, value in (("step", level), ("careful", depth * level)):
        parts = {"": 1.01, "_lower": 0.99, "_upper": 1.04}
        row |= {f"{name}_stiffness{end}": value * by for end, by in parts.items()}
    return row | ends("step_leak", 0.099, 0.01) | ends("total_leak", 0.99 * whole, 0.01)


def hierarchies():
    planned = {
        "block": [(4096, b) for b in (1, 2, 3, 4)] + [(64, 1), (64, 2), (64, 3), (16, 1), (16, 2)],
        "nested": [(4096, 2), (4096, 3), (4096, 4)],
        "trained": [(16, 1), (16, 2), (64, 1), (64, 2), (64, 3)],
    }
    return [hierarchy_row(name, *pair) for name, pairs in planned.items() for pair in pairs]


# What is on the axes


def shown(axes: Axes, across: int = 1) -> np.ndarray:
    """Value, lower and upper end of every bar, sorted; of horizontal ones with across = 0."""
    found = []
    for container in axes.containers:
        line, _, (segments,) = container.lines
        ends = np.array(segments.get_segments())[:, :, across]
        value = np.asarray(line.get_data()[across], dtype=float)
        found += [(v, *np.sort(e)) for v, e in zip(value, ends, strict=True)]
    return np.array(sorted(found))


def triples(*columns) -> np.ndarray:
    return np.array(sorted(zip(*columns, strict=True)))


def column(rows, name) -> np.ndarray:
    return np.array([row[name] for row in rows], dtype=float)


def of(rows, *families):
    return [row for row in rows if row["family"] in families]


def has_line(axes: Axes, x, y) -> bool:
    want = np.array([x, y], dtype=float)
    lines = [np.array(line.get_data(), dtype=float) for line in axes.lines]
    return any(line.shape == want.shape and np.allclose(line, want) for line in lines)


def save(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        assert figure.get_size_inches()[0] == 3.5
        figure.savefig("/dev/null", format="svg")


# inverse_stiffness


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


# stiffness_phase


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


# depth_hierarchy


@pytest.fixture(scope="module")
def hierarchy():
    return depth_hierarchy.draw(hierarchies())


def test_tradeoff_has_a_panel_an_m_with_peak_and_price(hierarchy):
    assert list(hierarchy) == ["tradeoff", "leaks"]
    save(hierarchy)
    panels = hierarchy["tradeoff"].axes
    assert [axes.get_title() for axes in panels] == ["$M = 4096$", "$M = 64$", "$M = 16$"]
    for axes, modes in zip(panels, (4096, 64, 16), strict=True):
        rows = [row for row in hierarchies() if row["modes"] == modes]
        once = column(rows, "once_exact")
        step, careful = (
            [column(rows, f"{name}_stiffness{end}") for end in ("", "_lower", "_upper")]
            for name in ("step", "careful")
        )
        peak = triples(once / step[0], once / step[2], once / step[1])
        both = np.vstack([peak, triples(*(part / once for part in careful))])
        np.testing.assert_allclose(shown(axes), both[np.lexsort(both.T[::-1])])
        exact = {row["depth"]: row for row in rows}
        for name in ("peak_ratio_exact", "price_exact", "peak_ratio_limit", "price_limit"):
            height = [exact[b][name] if b > 1 else 1 for b in sorted(exact)]
            assert has_line(axes, sorted(exact), height)


def test_leaks_hold_the_interval_of_the_stiffness(hierarchy):
    (axes,) = hierarchy["leaks"].axes
    rows, both = hierarchies(), []
    low, high = (column(rows, f"step_stiffness_{end}") for end in ("lower", "upper"))
    for name in ("step_leak", "total_leak"):
        value, lower, upper = (column(rows, f"{name}_{end}") for end in ("value", "lower", "upper"))
        scale = column(rows, "step_stiffness")
        both.append(triples(value, lower * low / scale, upper * high / scale))
    want = np.vstack(both)
    np.testing.assert_allclose(shown(axes), want[np.lexsort(want.T[::-1])])
    curve = next(line for line in axes.lines if line.get_color() == "#000000")
    x, y = curve.get_data()
    np.testing.assert_allclose(y, 1 - 0.9**x)


# Few rows


@pytest.mark.parametrize(
    ("module", "table"),
    [(inverse_stiffness, maps()), (stiffness_phase, phases()), (depth_hierarchy, hierarchies())],
    ids=["inverse_stiffness", "stiffness_phase", "depth_hierarchy"],
)
def test_small_tables_draw(module, table):
    assert module.draw([]) == {}
    for name in dict.fromkeys(row["family"] for row in table):
        rows = of(table, name)
        assert module.draw(rows[:1])
        save(module.draw(rows[:1]))
        save(module.draw(rows[-4:]))


def test_without_trained_maps_there_is_no_shortfall():
    assert list(stiffness_phase.draw(of(phases(), "line"))) == ["phase"]
    assert list(stiffness_phase.draw(of(phases(), "trained"))) == ["phase"]


def test_without_partitions_there_are_no_sharp_maps():
    assert list(inverse_stiffness.draw(of(maps(), "trained"))) == ["leak", "ratio"]
    assert list(inverse_stiffness.draw(of(maps(), "orthants"))) == ["sharp_maps"]


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
    trained = [(row, {"losses": np.array([1.0, 0.3])}) for row in of(maps(), "trained")]
    figures = inverse_stiffness.draw_arrays(trained)
    save(figures)
    assert [len(axes.lines) for axes in figures["losses"].axes] == [15, 15, 15]


def test_a_training_of_one_chunk_has_no_curve():
    short = [(row, {"losses": np.array([1.0])}) for row in of(maps(), "trained")]
    assert inverse_stiffness.draw_arrays(short) == {}
    assert inverse_stiffness.draw_arrays([]) == stiffness_phase.draw_arrays([]) == {}


# Marks


def test_labels_are_moved_apart_in_their_order():
    axes = Figure(figsize=(3.5, 3)).subplots()
    axes.set(yscale="log", ylim=(1, 100))
    marks.label_ends(axes, [(10.1, "b", "black"), (10.0, "a", "black"), (50.0, "c", "black")])
    height = {text.get_text(): text.get_position()[1] for text in axes.texts}
    inches = axes.bbox.height / 100
    assert (height["b"] - height["a"]) * inches * 72 == pytest.approx(1.2 * 6.5)
    assert (height["a"] + height["b"]) / 2 == pytest.approx(0.5, abs=2e-3)
    assert height["c"] == pytest.approx(math.log10(50) / 2)


def test_points_at_the_same_place_are_set_about_it():
    found = marks.dodged(np.array([1.0, 2.0, 1.0]), 0.4)
    np.testing.assert_allclose(found, [0.9, 2.0, 1.1])
