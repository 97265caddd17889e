"""Files: whole or absent, trusted only when intact, and the same bytes from the same rows."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments import store
from theory.estimate import Estimate

IDENTITY = {"experiment": "toy", "config": {"modes": 2}, "seed": 0, "sources": "abc"}
ROW = {"mean": 0.1, "count": 3, "note": "é", "fine": True, "none": None}


@pytest.fixture
def cell(tmp_path):
    path = store.cell_path(tmp_path, IDENTITY)
    path.parent.mkdir()
    store.write_cell(path, IDENTITY, store.Record(ROW, None, 1.5, 10), {"x": np.arange(3)})
    return path


def test_a_cell_comes_back_as_it_was_written(cell):
    record = store.read_cell(cell, IDENTITY)
    assert (record.row, record.seconds, record.peak_memory) == (ROW, 1.5, 10)
    assert list(record.row) == list(ROW)
    np.testing.assert_array_equal(np.load(cell.with_suffix(".npz"))["x"], np.arange(3))


def test_the_hash_is_over_every_part_of_the_identity(tmp_path):
    changes = [{"experiment": "tov"}, {"config": {"modes": 3}}, {"seed": 1}, {"sources": "abd"}]
    paths = {store.cell_path(tmp_path, IDENTITY | change) for change in [{}, *changes]}
    assert len(paths) == 5


def _edited(text):
    body = json.loads(text)
    body["row"]["mean"] = 0.2
    return json.dumps(body)


def _reordered(text):
    body = json.loads(text)
    body["row"] = dict(reversed(body["row"].items()))
    return json.dumps(body)


DAMAGE = {
    "torn": (lambda text: text[: len(text) // 2], "torn"),
    "empty": (lambda text: "", "torn"),
    "a list": (lambda text: "[1]", "torn"),
    "no row": (lambda text: '{"identity": {}, "sha256": ""}', "torn"),
    "edited row": (_edited, "checksum"),
    "reordered columns": (_reordered, "checksum"),
    "foreign": (lambda text: text.replace('"abc"', '"abd"'), "another cell"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_named_and_set_aside(cell, capsys, name):
    damage, reason = DAMAGE[name]
    damaged = damage(cell.read_text("utf-8"))
    cell.write_text(damaged, "utf-8")
    assert store.read_cell(cell, IDENTITY) is None
    message = capsys.readouterr().err
    assert str(cell) in message
    assert reason in message
    assert not cell.exists()
    assert cell.with_name(f"{cell.name}.aside-1").read_text("utf-8") == damaged
    assert cell.with_name(f"{cell.stem}.npz.aside-1").exists()


@pytest.mark.parametrize("change", [lambda p: p.write_bytes(b"other"), lambda p: p.unlink()])
def test_a_cell_without_its_arrays_is_set_aside(cell, capsys, change):
    change(cell.with_suffix(".npz"))
    assert store.read_cell(cell, IDENTITY) is None
    assert "lost its arrays" in capsys.readouterr().err


def test_nothing_set_aside_is_overwritten(tmp_path):
    for text in ("first", "second", "third"):
        (tmp_path / "a.json").write_text(text)
        store.set_aside(tmp_path / "a.json")
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {f"a.json.aside-{n + 1}": t for n, t in enumerate(("first", "second", "third"))}
    assert store.set_aside(tmp_path / "a.json") is None
    assert len(list(tmp_path.iterdir())) == 3


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    store.write_json(path, {"old": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write_json(path, {"new": 1})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_rows_are_flat_scalars_without_nan():
    row = {
        "p": Estimate(jnp.float64(0.5), np.float64(0.25), 0.0, np.int64(7)),
        "worst": Estimate(float("nan"), math.inf),
        "n": np.int32(3),
        "ok": np.bool_(True),
        "inf": -jnp.inf,
        "word": "w",
    }
    flat = store.flatten(row)
    assert flat["p_value"] == 0.5
    assert [flat[f"p_{part}"] for part in ("sem", "bias", "count")] == [0.25, 0.0, 7]
    assert flat["worst_value"] is flat["worst_sem"] is flat["inf"] is None
    assert type(flat["n"]) is int
    assert flat["ok"] is True
    assert "NaN" not in store.canonical(flat)


@pytest.mark.parametrize("value", [np.zeros(2), 1j, object()])
def test_a_row_with_something_else_names_the_column(value):
    with pytest.raises(ValueError, match="area"):
        store.flatten({"area": value})


SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map("w{}".format),
)


@given(rows=st.lists(st.fixed_dictionaries({"a": SCALAR, "b, c": SCALAR}), max_size=4))
def test_a_table_reads_back_with_its_types(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "t.csv"
    store.collect(path, [{"cell": index} for index in range(len(rows))], rows)
    found = store.read_table(path)
    assert found == [{"cell": index} | row for index, row in enumerate(rows)]
    for name in ("a", "b, c"):
        assert [type(row[name]) for row in found] == [type(row[name]) for row in rows]


@pytest.mark.parametrize("word", ["", "12", "-1.5e3", "true"])
def test_text_that_would_read_back_as_something_else_is_refused(tmp_path, word):
    with pytest.raises(ValueError, match="would be read back as"):
        store.collect(tmp_path / "t.csv", [{"cell": 0}], [{"word": word}])


def test_columns_start_with_the_configuration_and_skips_leave_no_row(tmp_path):
    configs = [{"modes": 2}, {"modes": 3}, {"modes": 4}]
    store.collect(tmp_path / "t.csv", configs, [{"p": 0.5}, None, {"q": 0.1, "p": None}])
    assert (tmp_path / "t.csv").read_text() == "modes,p,q\n2,0.5,\n4,,0.1\n"


def test_a_measured_column_cannot_hide_a_cell_field(tmp_path):
    with pytest.raises(ValueError, match="modes"):
        store.collect(tmp_path / "t.csv", [{"modes": 2}], [{"modes": 3}])
    assert not (tmp_path / "t.csv").exists()
