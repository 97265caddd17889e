"""Pictures of `depth_hierarchy` show their tables."""

import numpy as np
import pytest

from figures import depth_hierarchy
from tests.pipeline.drawn import area, column, ends, has_line, of, save, shown, triples


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


@pytest.mark.slow
def test_small_tables_draw():
    assert depth_hierarchy.draw([]) == {}
    for name in dict.fromkeys(row["family"] for row in hierarchies()):
        rows = of(hierarchies(), name)
        assert depth_hierarchy.draw(rows[:1])
        save(depth_hierarchy.draw(rows[:1]))
        save(depth_hierarchy.draw(rows[-4:]))
