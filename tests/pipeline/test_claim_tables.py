"""Claims against made tables: true rows hold, bent ones are refuted, vague ones decide nothing."""

import pytest

from experiments.claims import CLAIMS
from tests.pipeline.claim_tables import escape, leak, profile, separated

BY_ID = {claim.id: claim for claim in CLAIMS}
TABLES = (separated, leak, escape, profile)


def cases(kind: str) -> pytest.MarkDecorator:
    """The tables of a kind with the claims that judge them."""
    made = [case for table in TABLES for case in getattr(table, kind)]
    return pytest.mark.parametrize(("claim", "rows"), made, ids=[claim for claim, _ in made])


@pytest.mark.parametrize("table", TABLES)
def test_every_claim_has_true_and_bent_rows(table):
    names = {claim.id for claim in table.CLAIMS}
    assert {name for name, _ in table.TRUE} == {name for name, _ in table.BENT} == names


@cases("TRUE")
def test_true_rows_hold(claim, rows):
    verdict = BY_ID[claim].judge(rows())
    assert verdict.verdict == "holds", verdict
    assert verdict.interval[0] <= verdict.effect <= verdict.interval[1]


@cases("BENT")
def test_bent_rows_are_refuted(claim, rows):
    assert BY_ID[claim].judge(rows()).verdict == "refuted"


@cases("VAGUE")
def test_vague_rows_are_inconclusive(claim, rows):
    assert BY_ID[claim].judge(rows()).verdict == "inconclusive"


@cases("OTHER")
def test_rows_of_another_kind_are_inconclusive(claim, rows):
    verdict = BY_ID[claim].judge(rows())
    assert (verdict.verdict, verdict.effect) == ("inconclusive", None)


@pytest.mark.parametrize("claim", [claim.id for table in TABLES for claim in table.CLAIMS])
def test_no_row_is_missing(claim):
    assert BY_ID[claim].judge([]).verdict == "missing"
