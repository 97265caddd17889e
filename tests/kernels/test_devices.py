"""Eight devices give what one gives to 1e-12, hold an eighth each and exchange no samples."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import on_devices
from tests.on_devices import CASES, PROGRAMS, diagram, law, points
from tests.refusals import refusals
from theory import mixture, perimeter, pruning, rare, screening, tube
from theory.barrier_map import BarrierMap
from theory.devices import by_rows, mesh, spread
from theory.estimate import Estimate, from_samples, pool, proportion
from theory.partition import PowerDiagram, orthants
from theory.perimeter.coarea import _variations
from theory.perimeter.crofton import _lines
from theory.processes import shared
from theory.rare_proposal import propose
from theory.transport import ScoreMap

ROOT = Path(__file__).resolve().parents[2]
DEVICES, CLOSE = 8, 1e-12
SHOWN = ("split", "crofton", "lines", "envelope", "facet_rows")
# Sums wait for devices that share two cores with other work: not an error for ten minutes.
PATIENT = "--xla_cpu_collective_call_terminate_timeout_seconds=600"


def run(*command: object, devices: int, folder: Path) -> subprocess.Popen:
    flags = f"--xla_force_host_platform_device_count={devices} {PATIENT}"
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=folder, env=environment, **pipes
    )


def said(started: list[subprocess.Popen]) -> list[str]:
    """What processes printed that ran at once, all of which have ended well."""
    told = [process.communicate(timeout=1200) for process in started]
    assert [process.returncode for process in started] == [0] * len(started), told
    return [out for out, _ in told]


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Callable:
    """From the name of a case or program: with one device and with DEVICES, leaves and reports."""
    folder = tmp_path_factory.mktemp("devices")

    others = tuple(name for name in (*CASES, *PROGRAMS) if name not in SHOWN)
    found: dict[tuple[str, ...], list] = {}  # none if they failed, which is not tried again

    def compute(name: str) -> list[tuple[dict, dict]]:
        names = SHOWN if name in SHOWN else others
        if names not in found:
            found[names] = []
            files = {devices: folder / f"{devices} {len(names)}.npz" for devices in (1, DEVICES)}
            program = ("-m", "tests.on_devices")
            outs = said(
                [run(*program, f, *names, devices=n, folder=ROOT) for n, f in files.items()]
            )
            leaves = [dict(np.load(file)) for file in files.values()]
            found[names] = list(zip(leaves, map(json.loads, outs), strict=True))
        return found[names]

    return compute


def marked(names: object) -> list:
    slow = pytest.mark.slow
    return [name if name in SHOWN else pytest.param(name, marks=slow) for name in names]


def close(one: np.ndarray, other: np.ndarray) -> bool:
    """Integers are equal, and floats to CLOSE of the largest."""
    if one.dtype.kind != "f":
        return np.array_equal(one, other)
    finite = np.isfinite(one)
    if not np.array_equal(np.where(finite, 0, one), np.where(np.isfinite(other), 0, other)):
        return False
    size = np.abs(one[finite]).max(initial=0)
    return bool(np.abs(one - other)[finite].max(initial=0) <= CLOSE * size)


@pytest.mark.parametrize("name", marked(CASES))
def test_numbers_are_those_of_one_device(name: str, computed: Callable):
    one, eight = (leaves for leaves, _ in computed(name))
    own = [leaf for leaf in one if leaf.split()[0] == name]
    assert own
    assert one.keys() == eight.keys()
    for leaf in own:
        assert close(one[leaf], eight[leaf]), leaf


def test_other_draws_are_not_taken_for_the_same(computed: Callable):
    found = computed("crofton")[1][0]["crofton 0"]
    other = perimeter.crofton(jax.random.key(4), diagram(), lines=9000)
    assert not close(found, np.asarray(other.value))
    assert not close(np.asarray(1.0), np.asarray(1 + 1e-11))
    assert not close(np.asarray([1.0, np.inf]), np.asarray([1.0, 2.0]))
    assert not close(np.asarray([3]), np.asarray([4]))


@pytest.mark.parametrize("name", marked(PROGRAMS))
def test_a_device_holds_its_share_and_exchanges_no_samples(name: str, computed: Callable):
    """Single integers say whether all are done."""
    one, eight = (programs[name] for _, programs in computed(name))
    assert [count for _, count in one["places"]] == [1] * len(one["places"])
    assert {count for _, count in eight["places"]} == {DEVICES}
    assert "samples" in eight["places"][0][0]
    assert eight["bytes"] < one["bytes"] / 3
    assert set(eight["exchanged"]) <= {"s32[] all-reduce"}


def test_with_one_device_nothing_is_done():
    x = jnp.asarray(points())
    assert spread(x) is x
    assert by_rows(lambda rows: rows, x) is x
    assert str(jax.make_jaxpr(spread)(x)) == str(jax.make_jaxpr(lambda x: x)(x))
    assert mesh().size == jax.local_device_count() == 1


NARROW = PowerDiagram(*(np.asarray(x, np.float32) for x in (diagram().sites, diagram().offsets)))
PARTS, X = (NARROW.sites, NARROW.offsets), jnp.asarray(points(dtype="float32"))
CLASSES, KEY = jnp.arange(24), on_devices.key()
LAW = mixture.Mixture(np.asarray(law().means, np.float32), 0.3)
TRACED: dict[str, Callable[[], Any]] = {
    "label": lambda: jax.make_jaxpr(screening.label_rows)(*PARTS, X),
    "facet": lambda: jax.make_jaxpr(screening.facet_rows)(*PARTS, CLASSES, X),
    "pruned labels": lambda: _pruned(pruning.labels),
    "pruned facets": lambda: _pruned(pruning.facets),
    "scores": lambda: jax.make_jaxpr(NARROW.scores)(X),
    "sandwich": lambda: jax.make_jaxpr(tube._union_bound)(*PARTS, CLASSES, X, CLASSES[:1], 0.3),
    "crofton": lambda: jax.make_jaxpr(_lines, static_argnums=2)(KEY, NARROW, 64),
    "coarea": lambda: jax.make_jaxpr(_variations, static_argnums=3)(KEY, NARROW, 0.1, 64),
    "posterior": lambda: jax.make_jaxpr(partial(LAW.posterior_mean, scale=0.3))(X),
    "rare flips": lambda: jax.make_jaxpr(rare.weighted_flips, static_argnums=5)(
        KEY, propose(LAW, NARROW, 0.1), LAW, NARROW, 0.1, 64
    ),
    "scores map": lambda: jax.make_jaxpr(ScoreMap(NARROW, 2.0))(X[0]),
    "barrier map": lambda: jax.make_jaxpr(BarrierMap(NARROW, np.eye(24), 2.0))(X[0]),
}


def _pruned(kernel: Callable) -> Any:
    screened = pruning.screen(*PARTS, CLASSES)
    return jax.make_jaxpr(partial(kernel, wide="float32"))(*PARTS, screened, X)


def precisions(jaxpr: Any) -> Iterator[Any]:
    """Those of all products, whatever they are nested in."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation.params["precision"]
        for inner in jax.tree.leaves(list(equation.params.values())):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                yield from precisions(getattr(inner, "jaxpr", inner))


@pytest.mark.parametrize("name", TRACED)
def test_products_are_exact_in_float32_whatever_the_default(name: str):
    with jax.default_matmul_precision("bfloat16"):
        found = list(precisions(TRACED[name]().jaxpr))
        (other,) = precisions(jax.make_jaxpr(jnp.dot)(X, X.T).jaxpr)
    highest = (jax.lax.Precision.HIGHEST,) * 2
    assert found
    assert set(found) == {highest}
    assert other != highest


def test_pooled_estimates_are_those_of_all_samples():
    samples = np.random.default_rng(5).normal([1.0, 50.0], size=(90, 2))
    whole = from_samples(samples, bias=0.5)
    pooled = pool([from_samples(part, bias=0.5) for part in np.split(samples, [10, 40])])
    for field in ("value", "sem", "bias", "count"):
        np.testing.assert_allclose(getattr(pooled, field), getattr(whole, field), rtol=1e-12)
    one = proportion(3, 7)
    assert pool([one]) is one
    both = pool([one, proportion(5, 9)])
    assert (round(float(both.value) * 16), both.count) == (8, 16)
    assert both.sem > proportion(8, 16).sem / 1.1


def test_shares_have_keys_of_their_own():
    seen = []

    def measure(share: jax.Array) -> Estimate:
        seen.append(tuple(np.asarray(jax.random.key_data(share))))
        return Estimate(float(len(seen)), 0.0, 0.0, 2)

    assert shared(KEY, measure, shares=3).value == 2.0
    assert len(set(seen)) == 3


test_bad_shares_are_refused = refusals(
    {
        "shares must be an integer ≥ 1, got 0": lambda: shared(KEY, _never, shares=0),
        "one shape, got []": lambda: pool([]),
        "one shape, got [(), (2,)]": lambda: pool([Estimate(1.0), Estimate(np.ones(2))]),
    }
)


def _never(key: jax.Array) -> Estimate:
    raise AssertionError(key)


@pytest.mark.slow
def test_two_processes_of_the_documented_script_pool_what_one_does(tmp_path: Path):
    text = (ROOT / "docs" / "devices.md").read_text("utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "study.py").write_text(script, "utf-8")
    with socket.create_server(("localhost", 0)) as free:
        address = f"localhost:{free.getsockname()[1]}"
    said([run("study.py", address, 2, k, devices=4, folder=tmp_path) for k in range(2)])
    measure = partial(perimeter.crofton, diagram=orthants(4), lines=1000)
    one = shared(jax.random.key(0), measure, shares=4)
    *found, count = (tmp_path / "found.txt").read_text("utf-8").split()
    np.testing.assert_allclose([float(x) for x in found], [one.value, one.sem], rtol=CLOSE)
    assert int(count) == one.count == 4000
