"""What the documents say of verdicts is what the committed tables say."""

from pathlib import Path

import pytest

from experiments import claims, store
from experiments.commands.verify import markdown

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def printed():
    return markdown(claims.evaluate(store.reference_folder() / "paper"))


def test_every_verdict_at_paper_is_in_the_document(printed):
    assert (ROOT / "docs" / "verdicts.md").read_text("utf-8").endswith(printed + "\n")
    for claim in claims.CLAIMS:
        assert printed.count(f"| {claim.id} |") == 1


def test_the_readme_counts_them(printed):
    counts = printed[: printed.index("\n\n## ")]
    readme = (ROOT / "README.md").read_text("utf-8")
    assert counts in readme
    assert f"{len(claims.CLAIMS)} claims" in readme
