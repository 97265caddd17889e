"""The state of an unfinished cell: whole or set aside, and a training goes on to the same bits."""

import jax
import numpy as np
import pytest

from experiments import planning, store, tasks
from experiments.training import Recipe, trained
from theory.transport import Schedule, Training

LEAVES = [np.asarray(3), np.asarray([0.5, 0.25]), np.eye(2, dtype=np.float32)]
RECIPE = Recipe(2, 2, 4.0, 0.0, Schedule(steps=60, batch=64), width=4, layers=2)


@pytest.fixture
def checkpoint(tmp_path) -> store.Checkpoint:
    return store.Checkpoint(tmp_path / "cell.json")


def test_leaves_come_back_as_they_were_saved(checkpoint: store.Checkpoint):
    assert checkpoint.load() is None
    checkpoint.save([np.zeros(1)])
    checkpoint.save(LEAVES)
    found = checkpoint.load()
    assert found is not None
    for got, wanted in zip(found, LEAVES, strict=True):
        np.testing.assert_array_equal(got, wanted, strict=True)


def test_parts_are_apart_and_cleared_together(checkpoint: store.Checkpoint, tmp_path):
    other = store.Checkpoint(tmp_path / "dell.json")
    states = [checkpoint, checkpoint.part("level-0"), checkpoint.part("level-1"), other]
    for number, state in enumerate(states):
        state.save([np.asarray(number)])
    assert [int(state.load()[0]) for state in states] == [0, 1, 2, 3]
    checkpoint.clear()
    assert [state.load() is None for state in states] == [True, True, True, False]


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    """One bit of the first array, which only its checksum can tell."""
    at = data.index(b"NUMPY") + 128
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("damage", [halved, flipped, lambda data: b"", lambda data: b"not a zip"])
def test_a_torn_state_is_set_aside_by_name(checkpoint: store.Checkpoint, capsys, damage):
    checkpoint.save(LEAVES)
    torn = damage(checkpoint.path.read_bytes())
    checkpoint.path.write_bytes(torn)
    assert checkpoint.load() is None
    said = capsys.readouterr().err
    assert str(checkpoint.path) in said
    assert said.count("\n") == 1
    aside = checkpoint.path.with_name(f"{checkpoint.path.name}.aside-1")
    assert aside.read_bytes() == torn
    assert not checkpoint.path.exists()


class Killed(Exception):
    """Stands for the end of the process."""


class Fragile(store.Checkpoint):
    """Dies right after it has saved for the second time."""

    saved = 0

    def save(self, leaves) -> None:
        super().save(leaves)
        self.saved += 1
        if self.saved == 2:
            raise Killed


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.training.fit", in_short_chunks)
    whole, losses = trained(jax.random.key(4), RECIPE)
    with pytest.raises(Killed):
        trained(jax.random.key(4), RECIPE, Fragile(tmp_path / "cell.json"))
    rest = store.Checkpoint(tmp_path / "cell.json")
    assert int(rest.load()[0]) == 40
    steps.clear()
    again, other = trained(jax.random.key(4), RECIPE, rest)
    assert steps == [40]  # it went on, and did not begin anew
    np.testing.assert_array_equal(losses, other)
    for one, two in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(one, two)


steps: list[int] = []


def in_short_chunks(key, start: Training, **options) -> Training:
    """`fit` that announces every 20 steps, noting where it started."""
    from theory.transport import fit

    steps.append(start.step)
    return fit(key, start, chunk=20, **options)


@pytest.mark.slow
def test_a_stored_cell_leaves_no_state_behind(tmp_path):
    overrides = {"block": (), "nested": (), "trained": ("4 2",), "steps": 20, "effort": 0.01}
    plan = planning.plan(planning.request("depth_hierarchy", "quick", overrides=overrides))
    path = store.cell_path(tmp_path, plan.identities[0])
    path.parent.mkdir()
    task = tasks.Task(plan.module, (tasks.Piece(plan.identities[0], plan.cells[0], path),))
    left = store.Checkpoint(path).part("of-an-earlier-try")
    left.save(LEAVES)
    (outcome,) = tasks.compute(task)
    assert outcome.error is None, outcome.traceback
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".json", ".npz"]
