"""Every theorem file states its theorem and has its parts in one order, none of them empty."""

import ast
import re
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[1] / "theorems").glob("test_*.py"))
PARTS = ("Equality", "Property", "Rate|Tightness", "Falsification")
FALSE = re.compile(r"\bcheck_rejects\b|\bassert not\b|check_at_(most|least)|assert .*[<>]|raises")
RIGHT = '''"""Theorem.

Hypotheses: h. Conclusion: c.
"""


# Equality


def test_a():
    assert 1 == 1


# Property: any x


@given(x=st.floats())
def test_b(x):
    pass


# More


def test_m():
    pass


# Rate


def test_c():
    pass


# Falsification


def test_d():
    check_rejects(check_mean, 1.0, 2.0)
'''


def faults(source: str) -> list[str]:
    """What a theorem file lacks; nothing for one in order."""
    tree = ast.parse(source)
    stated = ast.get_docstring(tree) or ""
    found = [
        f"no {word} in its docstring"
        for word in ("Hypotheses:", "Conclusion:")
        if word not in stated
    ]
    parts = sections(source)
    names = [next((p for p in PARTS if re.match(rf"({p})\b", title)), "") for title, _ in parts]
    if [name for name in names if name] != list(PARTS):
        return [*found, f"its parts are {[title for title, _ in parts]}, wanted {list(PARTS)}"]
    if names[-1] != "Falsification":
        found.append("something follows the falsification")
    for name, (_, tests) in zip(names, parts, strict=True):
        if name and not any(quick(test) for test in tests):
            found.append(f"{name} has no test in the default run")
        if name == "Property" and not any("@given" in decorators(test) for test in tests):
            found.append("Property has no drawn examples")
        if name == "Falsification" and not any(FALSE.search(ast.unparse(test)) for test in tests):
            found.append("Falsification refutes nothing")
    return found


def sections(source: str) -> list[tuple[str, list[ast.FunctionDef]]]:
    """Titles — comments between blank lines — and the tests below each."""
    lines = source.splitlines()
    starts = [
        k
        for k in range(2, len(lines) - 1)
        if lines[k].startswith("# ") and not any((lines[k - 2], lines[k - 1], lines[k + 1]))
    ]
    tests = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    ends = [*starts[1:], len(lines)]
    return [
        (lines[start][2:], [test for test in tests if start < test.lineno <= end])
        for start, end in zip(starts, ends, strict=True)
    ]


def decorators(test: ast.FunctionDef) -> str:
    return " ".join(f"@{ast.unparse(one)}" for one in test.decorator_list)


def quick(test: ast.FunctionDef) -> bool:
    """Whether some case of it runs by default: it is not marked slow, or only some parameters."""
    return not any(ast.unparse(one) == "pytest.mark.slow" for one in test.decorator_list)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_statement_equality_property_rate_falsification(file: Path):
    assert faults(file.read_text("utf-8")) == []


def test_a_file_in_order_has_no_faults():
    assert faults(RIGHT) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Hypotheses: h. ", "", "no Hypotheses"),
        ("# Rate\n", "# Speed\n", "its parts"),
        ("# Equality\n", "# Rate\n", "its parts"),
        (
            "# Falsification\n",
            "# Falsification\n\n\ndef test_x():\n    check_rejects()\n\n\n# End\n",
            "follows",
        ),
        ("@given(x=st.floats())\n", "", "no drawn examples"),
        ("def test_c", "@pytest.mark.slow\ndef test_c", "default run"),
        ("    check_rejects(check_mean, 1.0, 2.0)", "    pass", "refutes nothing"),
    ],
)
def test_a_file_out_of_order_is_found(old: str, new: str, said: str):
    assert RIGHT.count(old) == 1
    assert any(said in fault for fault in faults(RIGHT.replace(old, new)))
