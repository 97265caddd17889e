"""Labels and nearest facets against brute force by direct differences, over dtypes and blocks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theory import nearest, pruning, screening
from theory.partition import PowerDiagram

RNG = np.random.default_rng(20)
ROWS = (500, 6)  # with 60 classes the one large shape: it compiles once a dtype


def brute(diagram: PowerDiagram, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label, distance to every hyperplane (∞ for equal sites), the least of them; float64."""
    sites, offsets, x = (np.asarray(a, np.float64) for a in (diagram.sites, diagram.offsets, x))
    label = np.argmax(x @ sites.T + offsets, axis=-1)
    apart = sites[label][..., None, :] - sites
    gap = np.einsum("...n,...kn->...k", x, apart) + (offsets[label][..., None] - offsets)
    length = np.linalg.norm(apart, axis=-1)
    planes = np.where(length > 0, np.maximum(gap, 0) / np.where(length > 0, length, 1), np.inf)
    return label, planes, planes.min(axis=-1)


def check(diagram: PowerDiagram, x: np.ndarray, rtol: float = 1e-9) -> np.ndarray:
    """The facet equals brute force; returns whether the runner-up is the neighbour."""
    label, planes, distance = brute(diagram, x)
    got = diagram.nearest_facet(x)
    np.testing.assert_array_equal(got.label, label)
    np.testing.assert_allclose(got.distance, distance, rtol=rtol, atol=1e-300)
    at = np.take_along_axis(planes, np.asarray(got.neighbour)[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(at, distance, rtol=rtol, atol=1e-300)
    second = np.argsort(x @ np.asarray(diagram.sites).T + diagram.offsets, axis=-1)[..., -2]
    return np.asarray(second == got.neighbour)


def random_sites() -> np.ndarray:
    return RNG.normal(size=(60, 6))


def clustered() -> np.ndarray:
    return np.repeat(5 * RNG.normal(size=(6, 6)), 10, axis=0) + 0.01 * RNG.normal(size=(60, 6))


def near_duplicates() -> np.ndarray:
    """Clusters of ten rows that differ by one rounding of float32: a screen cannot part them."""
    rows = np.repeat(RNG.normal(size=(6, 6)), 10, axis=0).astype(np.float32)
    return rows * (1 + np.float32(1.2e-7) * RNG.integers(-1, 2, rows.shape))


def far_from_the_origin() -> np.ndarray:
    return 1000 + RNG.normal(size=(60, 6))


def shared_offsets() -> np.ndarray:
    """Equal within a cluster, so that near-duplicate rows compete for the nearest facet."""
    return 0.1 * np.repeat(RNG.normal(size=6), 10)


LAYOUTS = [random_sites, clustered, near_duplicates, far_from_the_origin]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("of_sites", "of_points"),
    [
        (np.float32, np.float32),
        (np.float64, np.float64),
        pytest.param(np.float32, np.float64, marks=pytest.mark.slow),
        pytest.param(np.float64, np.float32, marks=pytest.mark.slow),
    ],
)
def test_every_layout_and_dtype_equals_brute_force(layout, of_points, of_sites):
    diagram = PowerDiagram(layout().astype(of_sites), shared_offsets())
    x = RNG.normal(size=ROWS).astype(of_points)
    check(diagram, x)
    np.testing.assert_array_equal(diagram.label(x), brute(diagram, x)[0])


@pytest.mark.parametrize("size", [1e-25, 1e-20, 1e-10, 1e10, 1e25])
def test_sites_of_any_size_in_float32(size: float):
    diagram = PowerDiagram((size * RNG.normal(size=(60, 6))).astype(np.float32))
    check(diagram, RNG.normal(size=ROWS).astype(np.float32))


@pytest.mark.parametrize("size", [1e-25, 1e-10, 1e10])
def test_points_of_any_size_in_float32(size: float):
    diagram = PowerDiagram(random_sites().astype(np.float32))
    check(diagram, (size * RNG.normal(size=ROWS)).astype(np.float32))


def test_the_runner_up_is_often_not_the_nearest_facet():
    sites = RNG.normal(size=(60, 6)) * RNG.uniform(0.2, 3, (60, 1))
    same = check(PowerDiagram(sites), RNG.normal(size=ROWS))
    assert 0.05 < np.mean(~same) < 0.95


def embedded(sites: list, offsets: list) -> PowerDiagram:
    """A small planar diagram as 60 classes in R^6; the others never come near."""
    rows, values = np.zeros((60, 6)), np.full(60, -1e6)
    rows[:, 2] = np.arange(60)
    rows[: len(sites)] = np.pad(np.array(sites), ((0, 0), (0, 4)))
    values[: len(sites)] = offsets
    return PowerDiagram(rows, values)


def at(diagram: PowerDiagram, *x: float) -> tuple[int, int, float]:
    got = diagram.nearest_facet(np.array([*x, 0.0, 0.0, 0.0, 0.0]))
    return int(got.label), int(got.neighbour), float(got.distance)


def test_a_point_whose_runner_up_is_not_its_nearest_facet():
    diagram = embedded([[0.0, 0.0], [-4.0, 0.0], [0.0, 0.5]], [0.0, 0.0, -0.9])
    x = np.array([0.2, 1.0, 0.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(diagram.scores(x)[:3], [0.0, -0.8, -0.4], atol=1e-15)
    assert at(diagram, 0.2, 1.0) == (0, 1, pytest.approx(0.2))  # 2 is the runner-up, at 0.8


def test_ties_go_to_the_smaller_index_and_lie_on_a_facet():
    cross = embedded([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [0.0] * 4)
    assert at(cross, 0.0, 0.0) == (0, 1, 0.0)
    assert at(cross, 2.0, 0.0) == (0, 2, pytest.approx(2**0.5))  # the facets of 2 and 3


def test_exact_duplicates_are_no_facet():
    sites, offsets = RNG.normal(size=(30, 6)), RNG.normal(size=30)
    x = RNG.normal(size=ROWS)
    twice = PowerDiagram(np.tile(sites, (2, 1)), np.concatenate([offsets, offsets - 0.5]))
    far = np.concatenate([offsets, np.full(30, -1e9)])
    once = PowerDiagram(np.concatenate([sites, RNG.normal(size=(30, 6))]), far)
    got, wanted = twice.nearest_facet(x), once.nearest_facet(x)
    np.testing.assert_array_equal(got.label, wanted.label)
    np.testing.assert_array_equal(got.neighbour, wanted.neighbour)
    np.testing.assert_allclose(got.distance, wanted.distance, rtol=1e-12)
    check(twice, x)


def test_minus_zero_is_zero():
    diagram = embedded([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]], [0.0] * 3)
    np.testing.assert_array_equal(diagram.groups()[:3], [0, 0, 2])
    assert at(diagram, 0.0, 1.0) == (0, 2, pytest.approx(0.5**0.5))


def test_a_single_distinct_site_has_no_neighbour():
    got = PowerDiagram(np.ones((60, 6)), np.arange(60.0)).nearest_facet(RNG.normal(size=ROWS))
    np.testing.assert_array_equal(got.label, 59)
    np.testing.assert_array_equal(got.neighbour, -1)
    np.testing.assert_array_equal(got.distance, np.inf)


@pytest.mark.parametrize(
    "shape",
    [(), *(pytest.param(s, marks=pytest.mark.slow) for s in ((1,), (3,), (2, 3))), (2, 1, 3)],
)
def test_any_batch_shape(shape: tuple[int, ...]):
    diagram, x = PowerDiagram(random_sites()), RNG.normal(size=(*shape, 6))
    got = diagram.nearest_facet(x)
    assert got.label.shape == got.neighbour.shape == got.distance.shape == shape
    check(diagram, x)


@pytest.mark.parametrize("modes", [3, 16, 17, 50])
def test_the_exhaustive_minimum_over_any_number_of_classes(modes: int):
    table = RNG.integers(0, 6, (20, modes)).astype(float)  # many ties
    exact = lambda j: jnp.take_along_axis(jnp.asarray(table), j, axis=1)  # noqa: E731
    best, value = screening._exhaustive(exact, 20, modes)
    np.testing.assert_array_equal(best, table.argmin(axis=1))
    np.testing.assert_array_equal(value, table.min(axis=1))


@pytest.mark.parametrize("layout", [random_sites, clustered])
def test_without_x64_the_answer_is_right_to_float32(layout):
    with jax.enable_x64(False):
        diagram = PowerDiagram(layout(), shared_offsets())
        x = RNG.normal(size=ROWS).astype(np.float32)
        got = diagram.nearest_facet(x)
        assert got.distance.dtype == diagram.sites.dtype == np.float32
        label, _, distance = brute(diagram, x)
        scores = x.astype(float) @ np.asarray(diagram.sites, float).T + diagram.offsets
        size = np.abs(scores).max()
        lost = (
            scores.max(axis=1) - np.take_along_axis(scores, np.asarray(got.label)[:, None], 1)[:, 0]
        )
        assert lost.max() < 1e-5 * size
        same = np.asarray(got.label) == label
        assert same.mean() > 0.98
        near = np.abs(np.asarray(got.distance) - distance)[same]
        apart = np.linalg.norm(np.asarray(diagram.sites)[:, None] - diagram.sites, axis=-1)
        assert near.max() < 1e-5 * size / apart[apart > 0].min()


@pytest.fixture
def tiny_blocks(monkeypatch: pytest.MonkeyPatch):
    """Many blocks of classes and many chunks of rows at small sizes."""
    monkeypatch.setattr(screening, "BLOCK", 7)
    monkeypatch.setattr(nearest, "CELLS", 160)
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.usefixtures("tiny_blocks")
def test_many_blocks_and_chunks_and_the_fallback_equal_brute_force(monkeypatch):
    taken, real = [], screening._exhaustive

    def counted(exact, rows, modes):
        jax.debug.callback(lambda: taken.append(rows))
        return real(exact, rows, modes)

    monkeypatch.setattr(screening, "_exhaustive", counted)
    x = RNG.normal(size=(50, 6)).astype(np.float32)
    for layout in LAYOUTS:
        check(PowerDiagram(layout().astype(np.float32), shared_offsets()), x)
    jax.effects_barrier()
    assert taken
    assert set(taken) == {160 // 7}


def test_more_classes_than_a_block():
    diagram = PowerDiagram(RNG.normal(size=(screening.BLOCK + 5, 3)).astype(np.float32))
    check(diagram, RNG.normal(size=(40, 3)).astype(np.float32))


def crowd(layout: str, modes: int = 1280, dimension: int = 24) -> np.ndarray:
    """More groups of classes than pruning opens at once."""
    sites = RNG.normal(size=(modes, dimension))
    if layout == "far from the origin":
        return 1000 + sites
    if layout == "duplicates":
        return np.repeat(sites[::2], 2, axis=0)
    if layout == "clustered":
        return np.repeat(5 * sites[::10], 10, axis=0) + 0.01 * sites
    if layout == "of many lengths":
        return sites * RNG.uniform(0.01, 3, (modes, 1))
    return sites


@pytest.mark.parametrize(
    "layout", ["random", "far from the origin", "duplicates", "clustered", "of many lengths"]
)
@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
def test_pruning_equals_brute_force_sure_or_not(layout, dtype, monkeypatch):
    monkeypatch.setattr(nearest, "MANY", 1)
    diagram = PowerDiagram(crowd(layout).astype(dtype), np.repeat(RNG.normal(size=128), 10) / 10)
    x = RNG.normal(size=(100, 24)).astype(dtype)
    check(diagram, x)
    np.testing.assert_array_equal(diagram.label(x), brute(diagram, x)[0])


def pruned(diagram: PowerDiagram, x: np.ndarray) -> pruning.Pruned:
    screened = pruning.screen(diagram.sites, diagram.offsets, jnp.asarray(diagram.groups()))
    return pruning.facets(diagram.sites, diagram.offsets, screened, jnp.asarray(x), "float64")


def test_what_pruning_is_sure_of_is_right_without_the_screen():
    """And it is sure of most points of a random head: else it would save nothing."""
    diagram = PowerDiagram(crowd("random").astype(np.float32))
    x = RNG.normal(size=(100, 24)).astype(np.float32)
    found, (label, _, distance) = pruned(diagram, x), brute(diagram, x)
    sure = np.asarray(found.sure)
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(np.asarray(found.label)[sure], label[sure])
    np.testing.assert_allclose(np.asarray(found.distance)[sure], distance[sure], rtol=1e-9)


@pytest.mark.parametrize("looks", [1, *(pytest.param(k, marks=pytest.mark.slow) for k in (2, 3))])
def test_a_point_whose_nearest_facet_was_pruned_away_is_not_sure(looks, monkeypatch):
    """With too few classes opened the bounds must say so: a wrong neighbour is never sure."""
    for name in ("FIRST", "SECOND", "THIRD")[:looks]:
        monkeypatch.setattr(pruning, name, pruning.Effort(1, 1))
    monkeypatch.setattr(pruning, "FEW", 7)
    jax.clear_caches()
    diagram = PowerDiagram(crowd("of many lengths").astype(np.float32))
    x = RNG.normal(size=(100, 24)).astype(np.float32)
    found = pruned(diagram, x)
    jax.clear_caches()
    wrong = np.abs(np.asarray(found.distance) - brute(diagram, x)[2]) > 1e-9
    assert not np.any(wrong & np.asarray(found.sure))
    assert looks == 3 or (np.asarray(found.sure).mean() > 0.9 and not wrong.any())


@pytest.mark.parametrize("points", [17, 100, 300])
def test_pruning_block_by_block_equals_brute_force(points, monkeypatch):
    """Some blocks of a chunk are padding alone, and one in part."""
    monkeypatch.setattr(nearest, "MANY", 1)
    monkeypatch.setattr(nearest, "PRUNED", 16 * 1280)
    diagram, x = PowerDiagram(crowd("random")), RNG.normal(size=(points, 24))
    check(diagram, x)
    np.testing.assert_array_equal(diagram.label(x), brute(diagram, x)[0])


def test_blocks_of_padding_are_left_out():
    real = jnp.arange(100) < 33
    doubled = nearest._by_blocks(lambda rows: (2 * rows[:, 0],), 16, jnp.ones((100, 3)), real)[0]
    np.testing.assert_array_equal(doubled, np.where(np.arange(100) < 48, 2, 0))


def test_classes_are_put_in_order_once_and_anew_for_other_classes(monkeypatch):
    """What a diagram keeps between searches is its own: no search of other offsets meets it."""
    monkeypatch.setattr(nearest, "MANY", 1)
    screens, screen = [], pruning.screen
    monkeypatch.setattr(pruning, "screen", lambda *given: screens.append(1) or screen(*given))
    diagram, x = PowerDiagram(crowd("random")), RNG.normal(size=(100, 24))
    check(diagram, x)
    check(diagram, x)
    assert len(screens) == 1
    check(eqx.tree_at(lambda d: d.offsets, diagram, 3 * jnp.arange(1280.0) / 1280), x)
    assert len(screens) == 2


def test_classes_switched_off_and_padding_are_never_chosen(monkeypatch):
    monkeypatch.setattr(nearest, "MANY", 1)
    offsets = np.full(70, -np.inf)
    offsets[[3, 40, 69]] = 0.0
    diagram = PowerDiagram(RNG.normal(size=(70, 6)), np.zeros(70))
    diagram = eqx.tree_at(lambda d: d.offsets, diagram, jnp.asarray(offsets))
    got = diagram.nearest_facet(RNG.normal(size=(50, 6)))
    assert set(np.asarray(got.label)) | set(np.asarray(got.neighbour)) <= {3, 40, 69}
    assert np.isfinite(got.distance).all()


def test_where_fewer_classes_are_on_than_are_decided_pruning_is_sure():
    """It would be hidden by the screen, which is run on what is not sure."""
    sites, x = RNG.normal(size=(70, 6)), RNG.normal(size=(50, 6))
    offsets = np.full(70, -np.inf)
    offsets[[3, 40, 69]] = 0.0
    tables = jnp.asarray(sites), jnp.asarray(offsets)
    screened = pruning.screen(*tables, jnp.arange(70))
    label, sure = pruning.labels(*tables, screened, jnp.asarray(x), "float64")
    assert sure.all()
    np.testing.assert_array_equal(label, np.argmax(x @ sites.T + offsets, axis=1))
