"""The mutation run: what it changes, which tests it runs, and that it tells dead from alive."""

import ast
import functools
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.mutants import __main__ as command
from tests.mutants.drawn import COUNT, draw, edits, mutants_of
from tests.mutants.excluded import EQUIVALENT, PERFORMANCE
from tests.mutants.mutation import Edit, Mutant, Replacement
from tests.mutants.named import NAMED
from tests.mutants.runner import Outcome, Runner, shared_cache
from tests.mutants.selection import Imports

ROOT = Path(__file__).resolve().parents[2]
SOURCE = '''"""A docstring of 1 + 2."""

CHUNK = 8
LIMIT: "int | 3" = 5


def f(x: int = 1, *, whole: bool = True) -> "int | 4":
    """Another, of 3 < 4."""
    if x < LIMIT and not whole:
        raise ValueError(f"more than {x + 7}")
    x += 2
    return max(-x, x**LIMIT) / 2.5
'''
CHANGED = {
    "CHUNK = 8 => CHUNK = 9",
    "CHUNK = 8 => CHUNK = (7)",
    'LIMIT: "int | 3" = 5 => LIMIT: "int | 3" = 6',
    'LIMIT: "int | 3" = 5 => LIMIT: "int | 3" = (4)',
    "x: int = 2,",
    "x: int = (0),",
    "whole: bool = False",
    "if x > LIMIT",
    "x < LIMIT or not",
    "x < LIMIT and whole",
    "x += 3",
    "x += (1)",
    "x -= 2",
    "min(-x, x**LIMIT)",
    "max(x, x**LIMIT)",
    "x**(1 + LIMIT)",
    "/ 2.75",
    "* 2.5",
}


def said(source: str, untouched: tuple[str, ...] = ()) -> list[str]:
    return [edit.said(source.encode()) for edit in edits(source.encode(), untouched)]


def test_each_operator_constant_and_name_is_changed_and_nothing_else():
    found = said(SOURCE)
    assert len(found) == len(CHANGED)
    assert all(sum(change in one for one in found) == 1 for change in CHANGED)


def test_constants_of_speed_are_left_alone():
    assert set(said(SOURCE)) - set(said(SOURCE, ("CHUNK",))) == {
        "CHUNK = 8 => CHUNK = 9",
        "CHUNK = 8 => CHUNK = (7)",
    }


def test_places_are_those_of_bytes_where_letters_take_two():
    assert said("α = 'β' * 3 + γ") == ["α = 'β' * 3 + γ => " + one for one in GREEK]


GREEK = ["α = 'β' / 3 + γ", "α = 'β' * (2) + γ", "α = 'β' * 4 + γ", "α = 'β' * 3 - γ"]


def test_equal_faults_of_one_file_have_names_of_their_own():
    names = [one.name for one in mutants_of("a.py", b"x = 1\nx = 1\n")]
    assert names == [
        "a.py: x = 1 => x = (0)",
        "a.py: x = 1 => x = 2",
        "a.py: x = 1 => x = (0) #2",
        "a.py: x = 1 => x = 2 #2",
    ]


@functools.cache
def drawn() -> list[Mutant]:
    return draw(ROOT)


def test_the_draw_is_of_all_of_theory_and_always_the_same(tmp_path: Path):
    found = drawn()
    assert len({one.name for one in found}) == COUNT == 60
    assert len({one.file for one in found}) > 20
    assert any(one.file.startswith("theory/bridge/") for one in found)
    for one in found:
        ast.parse(one.text)
        assert one.text != (ROOT / one.file).read_text("utf-8")
    shutil.copytree(ROOT / "theory", tmp_path / "theory")
    bound = tmp_path / "theory/bound.py"
    bound.write_text('"""Elsewhere."""\n\n' + bound.read_text("utf-8"), "utf-8")
    assert [one.name for one in draw(tmp_path)] == [one.name for one in found]


def test_another_seed_draws_others(tmp_path: Path):
    (tmp_path / "theory").mkdir()
    (tmp_path / "theory/a.py").write_text(SOURCE)
    first, second = ([m.name for m in draw(tmp_path, 5, seed)] for seed in (0, 1))
    assert len(first) == len(second) == 5
    assert first != second


def test_thirty_named_faults_fit_the_sources_and_name_tests_that_exist():
    assert len({one.why for one in NAMED}) == len(NAMED) == 30
    for one in NAMED:
        ast.parse(one.mutant(ROOT).text)
        assert one.tests
        assert all((ROOT / test).is_file() for test in one.tests)


@pytest.mark.parametrize("old", ["absent", "x"])
def test_a_named_fault_has_one_place(tmp_path: Path, old: str):
    (tmp_path / "a.py").write_text("x = x\n")
    with pytest.raises(ValueError, match=r"a\.py has '(absent|x)' (0|2) times"):
        Replacement("a.py", old, "y", "why", ()).mutant(tmp_path)


def test_what_is_left_alone_exists_and_has_a_reason():
    for file, names in PERFORMANCE.items():
        tree = ast.parse((ROOT / file).read_bytes())
        assigned = {
            ast.unparse(target)
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
        }
        assert names.keys() <= assigned, file
        assert all(names.values())
    known = {one.name for one in drawn()}
    assert EQUIVALENT.keys() <= known
    assert all(len(why) > 20 for why in EQUIVALENT.values())


def test_nearest_tests_come_first():
    imports = Imports(ROOT)
    assert imports.tests("theory/latent_law.py")[0] == "tests/kernels/test_near_faults.py"
    assert imports.tests("theory/tube.py")[0] == "tests/kernels/test_tube.py"
    assert imports.tests("theory/bridge/tfjs_file.py")[0] == "tests/kernels/test_bridge_tfjs.py"
    assert "tests/harness/test_mutants.py" not in imports.tests("theory/bridge/catalog.py")
    first = ("tests/theorems/test_tube_law.py",)
    assert imports.tests("theory/tube.py", first)[:2] == [*first, "tests/kernels/test_tube.py"]
    perimeter = imports.tests("theory/perimeter/crofton.py")
    assert "tests/kernels/test_perimeter_estimators.py" in perimeter  # by the package's own list


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A package of one function and its test."""
    root = tmp_path / "root"
    for folder in ("theory", "tests"):
        (root / folder).mkdir(parents=True)
        (root / folder / "__init__.py").write_text("")
    (root / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\npythonpath = ["."]\naddopts = "--import-mode=importlib"\n'
        'markers = ["slow: never"]\n'
    )
    (root / "theory/double.py").write_text("def double(x):\n    return 2 * x\n")
    (root / "tests/test_double.py").write_text(
        "import pytest\n\nfrom theory.double import double\n\n\n"
        "def test_zero():\n    assert double(0) == 0\n\n\n"
        "@pytest.mark.parametrize('x', ['κ ≤ [a::b/c]'])\n"
        "def test_three(x):\n    assert double(3) == 6\n"
    )
    return root


def mutant(body: str) -> Mutant:
    return Mutant(body, "theory/double.py", f"def double(x):\n    {body}\n", "why")


TEST = "tests/test_double.py"
THREE = TEST + "::test_three[\\u03ba \\u2264 [a::b/c]]"


@pytest.mark.slow
def test_the_first_failing_test_kills_and_the_outcome_is_kept(checkout: Path, tmp_path: Path):
    runner = Runner(checkout, tmp_path / "cache")
    found = runner.of(mutant("return 3 * x"), [TEST])
    assert found[:2] == ("killed", THREE)
    assert runner.of(mutant("return 2 * x + 0"), [TEST])[:2] == ("survived", "")
    assert runner.of(mutant("return 3 * x"), [TEST]) == found  # to the tenth of a second: kept
    assert (checkout / "theory/double.py").read_text() == "def double(x):\n    return 2 * x\n"


@pytest.mark.slow
def test_a_mutant_that_does_not_import_is_dead(checkout: Path, tmp_path: Path):
    runner = Runner(checkout, tmp_path / "cache")
    assert runner.of(mutant("return\nx = 1 / 0"), [TEST])[:2] == ("killed", TEST)


def test_what_computes_for_too_long_is_ended(checkout: Path, tmp_path: Path):
    (checkout / TEST).write_text("def test():\n    while True:\n        pass\n")
    found = Runner(checkout, tmp_path / "cache", seconds=2.0)._run(mutant("return 0"), [TEST])
    assert found.verdict == "timeout"


@pytest.mark.slow
def test_what_hangs_is_ended_with_what_it_started(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tests.mutants.runner.LOADED", 1)
    runner = Runner(checkout, tmp_path / "cache", seconds=2.0)
    hanging = checkout / TEST
    started = "import subprocess\n\nchild = subprocess.Popen(['sleep', '98765.4'])\n"
    hanging.write_text(f"{started}\n\ndef test():\n    child.wait()\n")
    assert runner.of(mutant("return 0"), [TEST]).verdict == "survived"  # without a fault too
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "98765.4" not in running.stdout


@pytest.mark.parametrize(("unharmed", "verdict"), [(0, "timeout"), (None, "survived")])
def test_a_time_limit_kills_only_where_the_tests_end_without_the_fault(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unharmed, verdict: str
):
    def run(self, copy: Path, *rest: object) -> int | None:
        return None if "while" in (copy / "theory/double.py").read_text() else unharmed

    monkeypatch.setattr(Runner, "_pytest", run)
    runner = Runner(checkout, tmp_path / "cache")
    assert runner.of(mutant("while True: pass"), [TEST]).verdict == verdict


def test_tests_that_fail_without_the_fault_are_found(checkout: Path, tmp_path: Path):
    broken = "tests/test_broken.py"
    (checkout / broken).write_text("import theory.absent\n")
    (checkout / "tests/test_false.py").write_text("def test():\n    assert 0\n")
    runner = Runner(checkout, tmp_path / "cache")
    killers = [THREE, TEST, broken, "tests/test_false.py::test"]
    assert runner.failing(killers) == set(killers[2:])


def test_what_kills_without_the_fault_too_has_killed_nothing(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
):
    killers = {"3 * x": THREE, "4 * x": "tests/test_false.py::test"}
    monkeypatch.setattr(Runner, "of", lambda _, m, tests: Outcome("killed", killers[m.name], 1.0))
    monkeypatch.setattr(Runner, "failing", lambda _, given: {killers["4 * x"]} & set(given))
    found = command.outcomes(checkout, [mutant(body) for body in killers], 1)
    assert found["3 * x"][:2] == ("killed", THREE)
    assert found["4 * x"][:2] == ("survived", "tests/test_false.py::test fails anyhow")


def test_what_killed_is_kept_while_its_file_is_the_same(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    runs = []

    def run(self, mutant: Mutant, tests: list[str]) -> Outcome:
        runs.append(tests)
        return Outcome("killed", THREE, 1.0)

    monkeypatch.setattr(Runner, "_run", run)
    runner = Runner(checkout, tmp_path / "cache")
    other = "tests/test_other.py"
    (checkout / other).write_text("")
    # At first all its tests; none when another is edited; what killed it when that is.
    for edited, ran in ((other, [[other, TEST]]), (TEST, []), (other, [[THREE]])):
        assert runner.of(mutant("return 3 * x"), [other, TEST]).killer == THREE
        assert runs == ran
        runs.clear()
        (checkout / edited).write_text((checkout / edited).read_text() + "\n")


def test_weights_are_out_of_reach_of_a_mutant_and_compilations_are_shared(tmp_path: Path):
    for folder in ("compiled", "weights"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_text("first")
    own = shared_cache(tmp_path)
    (own / "compiled/b").write_text("new")
    assert (tmp_path / "compiled/b").read_text() == "new"
    (own / "weights/c").write_text("spoilt")
    (own / "weights/c").replace(own / "weights/a")
    assert (tmp_path / "weights/a").read_text() == "first"


@pytest.mark.parametrize(
    ("title", "dead", "status"), [("named", 20, 0), ("named", 19, 1), ("x", 19, 0), ("x", 18, 1)]
)
def test_every_named_and_95_percent_of_the_drawn_must_die(
    capsys: pytest.CaptureFixture[str], title: str, dead: int, status: int
):
    mutants = [Mutant(f"m{k}", "a.py", "", f"why {k}") for k in range(20)]
    verdicts = ["killed"] * dead + ["survived"] * (20 - dead)
    found = {m.name: Outcome(v, "t", 1.0) for m, v in zip(mutants, verdicts, strict=True)}
    assert command.report(title, mutants, found) == status
    said = capsys.readouterr().out
    assert f"{dead} of 20 killed" in said
    assert ("SURVIVED m19" in said) == (dead < 20)


def test_an_edit_says_the_line_before_and_after():
    assert Edit(6, 7, b"2").said(b"a = 0\nb1 = 1\nc = 0\n") == "b1 = 1 => 21 = 1"
