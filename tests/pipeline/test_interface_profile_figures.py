"""The pictures of `interface_profile` show the numbers of its table, and planar partitions."""

import math

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from figures import interface_profile, planar_partition
from tests.pipeline.drawn import save
from theory import bound

NAMES = ["profile", "fixed_dimension", "large_dimension", "phase_diagram", "collapse"]
SHARP = {1: 0.28209, 2: 0.49501, 3: 0.68858, 4: 0.85880}
BALLS = {2: 0.47140, 3: 0.62655, 4: 0.76109}
FLOORS = {2**k: bound.interface_floor(2**k) for k in range(1, 13)}


def over_floor(modes, dimension, family):
    """A plausible D: 1 from n = M − 1 on, the large-M law at small n, between them by the rate."""
    if family == "orthants":
        return dimension / math.sqrt(2 * math.pi) / FLOORS[modes]
    if dimension >= modes - 1:
        return 1.0
    if dimension in SHARP:
        per_cell = modes ** (1 / dimension)
        return max(1.0, SHARP[dimension] * (per_cell - 0.3) / FLOORS[modes])
    rate = math.log(modes) / dimension
    return (math.expm1(2 * rate) / (2 * rate)) ** 0.3


def row(modes, dimension, family="best"):
    """A row of the table, with half a percent of interval where there is one."""
    floor, penalty = FLOORS[modes], over_floor(modes, dimension, family)
    rate = math.log(modes) / dimension
    top = math.expm1(2 * rate) / (2 * rate)
    per_cell = modes ** (1 / dimension)
    half = 0.0 if dimension == 1 or family == "orthants" else 0.005
    found = {"family": family, "modes": modes, "dimension": dimension}
    for name, value in (("perimeter", penalty * floor), ("penalty", penalty)):
        ends = {"value": value, "lower": value * (1 - half), "upper": value * (1 + half)}
        found |= {f"{name}_{end}": number for end, number in ends.items()}
    return found | {
        "interface_floor": floor,
        "measured_floor": floor,
        "elementary_floor": bound.elementary_floor(modes),
        "fixed_n": SHARP[dimension] * per_cell if dimension in SHARP else None,
        "ball_floor": BALLS[dimension] * per_cell if dimension in BALLS else None,
        "rate": rate,
        "band_lower": max(1.0, math.sqrt(top / 2)),
        "band_upper": math.sqrt(top),
        "root_log_modes": math.sqrt(math.log(modes)),
    }


def table():
    """The grid of the paper preset."""
    planned = {1: 12, 2: 12, 3: 10, 4: 10, 256: 12}
    found = [row(2**k, n) for n, top in planned.items() for k in range(1, top + 1)]
    found += [row(4**k, n) for n in (6, 8, 12, 16, 24, 32, 48, 64) for k in range(1, 7)]
    return found + [row(2**n, n, "orthants") for n in range(2, 13)]


QUICK = [row(2, 1), row(4, 1), row(4, 2), row(16, 2), row(16, 8), row(4, 2, "orthants")]


@pytest.fixture(scope="module")
def drawn():
    return interface_profile.draw(table())


def bars(axes):
    """Label → values, lower and upper ends of every series with error bars."""
    found = {}
    for container in axes.containers:
        line, _, (segments,) = container.lines
        ends = np.array(segments.get_segments())
        value = np.asarray(line.get_ydata())
        found[container.get_label()] = (value, ends[:, 0, 1], ends[:, 1, 1])
    return found


def expected(rows, name, over=1.0, minus=0.0):
    rows = sorted(rows, key=lambda r: (r["dimension"], r["modes"]))
    ends = ("value", "lower", "upper")
    return [np.array([r[f"{name}_{end}"] for r in rows]) / over - minus for end in ends]


def best(dimension):
    rows = [r for r in table() if (r["family"], r["dimension"]) == ("best", dimension)]
    return sorted(rows, key=lambda r: r["modes"])


def test_five_figures_a_column_wide(drawn):
    assert list(drawn) == NAMES
    assert {figure.get_size_inches()[0] for figure in drawn.values()} == {3.5}


def test_profile_is_the_perimeter_over_root_log_modes(drawn):
    top, bottom = drawn["profile"].axes
    series = bars(top)
    assert len(series) == 13
    for n in (1, 6, 256):
        root = [r["root_log_modes"] for r in best(n)]
        np.testing.assert_allclose(series[f"n = {n}"], expected(best(n), "perimeter", root))
        np.testing.assert_array_equal(series[f"n = {n}"], bars(bottom)[f"n = {n}"])
    sharp = next(line for line in bottom.lines if line.get_label() == "sharp floor $P_S$")
    known = {r["modes"]: r["interface_floor"] / r["root_log_modes"] for r in table()}
    np.testing.assert_allclose(sharp.get_ydata(), [known[m] for m in sorted(known)])


def test_fixed_dimension_shows_perimeters_above_their_ratios_and_laws(drawn):
    top, bottom = drawn["fixed_dimension"].axes
    for n in (1, 2, 3, 4):
        over = np.array([r["modes"] ** (1 / n) for r in best(n)])
        np.testing.assert_allclose(bars(top)[f"n = {n}"], expected(best(n), "perimeter"))
        ratio = expected(best(n), "perimeter", over)
        np.testing.assert_allclose(bars(bottom)[f"n = {n}"], ratio)
    flat = [line.get_ydata() for line in bottom.lines if line.get_linestyle() in "-:"]
    levels = sorted({round(float(y[0]), 5) for y in flat if len(y) and np.ptp(y) < 1e-9})
    assert levels == sorted([*SHARP.values(), *BALLS.values()])


def test_large_dimension_is_256(drawn):
    top, bottom = drawn["large_dimension"].axes
    perimeter = bars(top)["best found, n = 256"]
    np.testing.assert_allclose(perimeter, expected(best(256), "perimeter"))
    (penalty,) = bars(bottom).values()
    np.testing.assert_allclose(penalty, expected(best(256), "penalty", minus=1.0), atol=1e-12)


def test_phase_diagram_has_a_tile_and_a_number_for_every_partition(drawn):
    axes = drawn["phase_diagram"].axes[0]
    rows = [r for r in table() if r["family"] == "best"]
    (tiles,) = [c for c in axes.collections if isinstance(c, PolyCollection)]
    values = [r["penalty_value"] for r in sorted(rows, key=lambda r: (r["dimension"], r["modes"]))]
    np.testing.assert_allclose(tiles.get_array(), values)
    numbers = {text.xy: text.get_text() for text in axes.texts}
    assert len(numbers) == len(rows)
    for r, path in zip(sorted(rows, key=lambda r: r["dimension"]), tiles.get_paths(), strict=True):
        assert path.contains_point((r["modes"], r["dimension"]))
        shown = float(numbers[r["modes"], r["dimension"]])
        assert shown == pytest.approx(r["penalty_value"], rel=0.006)


def test_collapse_sets_the_band_under_the_high_dimensions(drawn):
    (axes,) = drawn["collapse"].axes
    series = bars(axes)
    orthants = [r for r in table() if r["family"] == "orthants"]
    assert set(series) == {f"n = {n}" for n in (8, 12, 16, 24, 32, 48, 64, 256)} | {
        "$2^n$ orthants"
    }
    np.testing.assert_allclose(series["n = 24"], expected(best(24), "penalty"))
    np.testing.assert_allclose(series["$2^n$ orthants"], expected(orthants, "penalty"))
    bounds = [line for line in axes.lines if len(line.get_xdata()) > 100]
    for name, line in zip(("band_lower", "band_upper"), bounds, strict=True):
        for r in best(8):
            assert np.interp(r["rate"], *line.get_data()) == pytest.approx(r[name], rel=1e-4)


@pytest.mark.parametrize(
    "rows",
    [QUICK[:1], *(pytest.param(r, marks=pytest.mark.slow) for r in ([], QUICK, QUICK[-1:]))],
)
def test_small_tables_draw(rows):
    figures = interface_profile.draw(rows)
    assert set(figures) == {
        *("profile", "fixed_dimension", "large_dimension", "phase_diagram", "collapse")
    }
    save(figures)


QUADRANTS = np.array([[1.0, 1.0], [-1, 1], [-1, -1], [1, -1]]), np.zeros(4)


def cloud(modes, seed=0):
    """Gaussian sites with offsets that leave most of the cells on the plane."""
    rng = np.random.default_rng(seed)
    sites = rng.normal(size=(modes, 2))
    return sites, -(sites**2).sum(axis=1) / 2 + 0.1 * rng.normal(size=modes) / modes


def test_quadrants_meet_on_the_half_axes():
    pairs, ends = planar_partition.facets(*QUADRANTS)
    found = {
        tuple(p): {tuple(end) for end in e.round(6) + 0.0} for p, e in zip(pairs, ends, strict=True)
    }
    half_axes = {(0, 1): (0, 3), (1, 2): (-3, 0), (2, 3): (0, -3), (0, 3): (3, 0)}
    assert found == {pair: {(0.0, 0.0), end} for pair, end in half_axes.items()}


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_two_cells_meet_on_a_chord(shift):
    pairs, ends = planar_partition.facets(
        np.array([[1.0, 0.0], [-1, 0]]), np.array([0, -2 * shift])
    )
    assert pairs.tolist() == [[0, 1]]
    height = math.sqrt(9 - shift**2)
    np.testing.assert_allclose(np.sort(ends[0], axis=0), [[-shift, -height], [-shift, height]])


def test_parallel_cells_and_repeated_sites():
    sites = np.array([[-1.0, 0.5], [0, 0], [1, -0.5], [1, -0.5]])
    pairs, _ = planar_partition.facets(sites, np.array([0.0, 0.4, 0.0, -1.0]))
    assert pairs.tolist() == [[0, 1], [1, 2]]


def test_facets_are_where_two_scores_are_equal_and_largest():
    sites, offsets = cloud(60)
    pairs, ends = planar_partition.facets(sites, offsets)
    scores = ends.mean(axis=1) @ sites.T + offsets
    two = np.take_along_axis(scores, pairs, axis=1)
    np.testing.assert_allclose(two, np.repeat(scores.max(axis=1), 2).reshape(-1, 2), atol=1e-9)
    # All of them: wherever the label changes along a fine circle, the pair is in the list.
    angle = np.linspace(0, 2 * np.pi, 20_000)
    ring = 1.3 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    label = (ring @ sites.T + offsets).argmax(axis=1)
    changes = np.sort(np.stack([label[:-1], label[1:]], axis=1)[label[:-1] != label[1:]], axis=1)
    crossed = {tuple(pair) for pair in changes.tolist()}
    assert crossed <= {tuple(p) for p in pairs.tolist()}


@pytest.mark.parametrize("diagram", [QUADRANTS, cloud(64), cloud(1024, 1)], ids=["4", "64", "1024"])
def test_neighbours_differ_in_colour(diagram):
    pairs, _ = planar_partition.facets(*diagram)
    colour = planar_partition.colours(pairs, len(diagram[0]))
    assert len(pairs) >= len(colour)
    assert (colour[pairs[:, 0]] != colour[pairs[:, 1]]).all()
    assert set(colour) <= set(range(len(planar_partition.PALETTE)))


def test_a_panel_for_every_partition():
    figure = planar_partition.draw_planar({16: cloud(16), 4: QUADRANTS, 64: cloud(64)})
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == ["$M = 4$", "$M = 16$", "$M = 64$"]
    (lines,) = shown[0].collections
    assert len(lines.get_segments()) == 4
    figure.savefig("/dev/null", format="png")
    planar_partition.draw_planar({}).savefig("/dev/null", format="png")
