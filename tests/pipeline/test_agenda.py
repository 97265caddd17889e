"""The agenda: every cell once, a worker stays with its program, long programs and cells first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.agenda import Agenda


def taken(agenda, lasts):
    """What one worker after another takes; a word in `lasts` is the program it was in."""
    return [agenda.take(last) for last in lasts]


def test_a_worker_stays_with_its_program_and_takes_its_longest_cell():
    agenda = Agenda([("a", 1.0, "short"), ("b", 9.0, "other"), ("a", 3.0, "long")])
    assert taken(agenda, ["a", "a"]) == [("a", "long"), ("a", "short")]
    assert agenda.take("a") == ("b", "other")


def test_a_free_worker_goes_where_nobody_is_then_where_most_is_left():
    cells = [("a", 5.0, k) for k in range(3)] + [("b", 4.0, k) for k in range(2)] + [("c", 1.0, 0)]
    agenda = Agenda(cells)
    assert [agenda.take()[0] for _ in range(6)] == ["a", "b", "c", "a", "a", "b"]


def test_with_one_program_the_longest_cells_go_first():
    agenda = Agenda([("a", cost, cost) for cost in (2.0, 4.0, 3.0)])
    assert [agenda.take(last)[1] for last in (None, None, "a")] == [4.0, 3.0, 2.0]


def test_an_empty_agenda_has_nothing_to_take():
    agenda: Agenda[int] = Agenda([])
    assert len(agenda) == 0
    with pytest.raises(ValueError, match="empty"):
        agenda.take()


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 10)), max_size=20),
    st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=20, max_size=20),
)
def test_every_cell_is_taken_once_whoever_asks(cells, lasts):
    agenda = Agenda((program, cost, index) for index, (program, cost) in enumerate(cells))
    found = taken(agenda, lasts[: len(cells)])
    assert sorted(index for _, index in found) == list(range(len(cells)))
    assert all(cells[index][0] == program for program, index in found)
    assert len(agenda) == 0
