"""An installed wheel works from another folder, references and templates included."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*command: object, **options: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, **options
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_runs_verifies_and_reports_elsewhere(tmp_path: Path):
    pip = ("-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, REPOSITORY)
    (wheel,) = tmp_path.glob("noncommit-*.whl")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    run(*pip, "install", "--no-deps", "--target", site, wheel)
    options = {"cwd": elsewhere, "env": {**os.environ, "PYTHONPATH": str(site)}}

    where = run("-c", "import experiments, theory, figures; print(experiments.__file__)", **options)
    assert Path(where.strip()).is_relative_to(site)
    cli = ("-m", "experiments.cli")
    grid = ["--intervals", "4", "--orthants", "4", "--unequal", "3", "--simplicial", "3"]
    run(*cli, "run", "interface_exact", *grid, "--effort", "0.001", **options)
    run(*cli, "report", **options)
    assert (elsewhere / "results" / "report.html").is_file()
    verdicts = json.loads(run(*cli, "verify", "--json", "--claim", "facet-areas", **options))
    assert verdicts[0]["verdict"] == "holds"
    recorded = "from experiments.store import reference_folder as f; print(*f().rglob('*.json'))"
    assert "verdicts.json" in run("-c", recorded, **options)
