"""One page with everything a run found: a pure function of the results folder and the verdicts."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import registry, store
from experiments.commands.verify import cells

TEMPLATE = "report.html.j2"


def figures(out: Path, experiment: str) -> list[Path]:
    """The pictures drawn from an experiment's table."""
    return sorted((out / "figures").glob(f"{experiment}-*.svg"))


def write(out: Path, tables: Sequence[Path], verdicts: Sequence[Any]) -> Path:
    """Write OUT/report.html, which needs no other file."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    sections = [_section(out, table) for table in tables]
    claims = [(cells(verdict), verdict.statement) for verdict in verdicts]
    page = environment.get_template(TEMPLATE).render(claims=claims, sections=sections)
    path = out / "report.html"
    store.write_atomic(path, page.encode())
    return path


def _section(out: Path, table: Path) -> dict[str, Any]:
    """What the template shows of one experiment."""
    manifest = table.with_suffix(".manifest.json")
    facts = json.loads(manifest.read_text("utf-8")) if manifest.is_file() else {}
    versions = facts.get("versions", {})
    shown = {
        "preset": facts.get("preset"),
        "seed": facts.get("seed"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "commit": facts.get("commit"),
        "seconds in cells": facts.get("cell_seconds"),
        "command": facts.get("command"),
    }
    return {
        "name": table.stem,
        "summary": registry.EXPERIMENTS[table.stem],
        "figures": [(path.stem, _inline(path)) for path in figures(out, table.stem)],
        "facts": {name: value for name, value in shown.items() if value not in (None, "")},
        "skipped": facts.get("skipped", []),
        "failed": facts.get("failed", []),
        "rows": len(store.read_table(table)),
    }


def _inline(path: Path) -> str:
    """As an image, not as markup: ids of two pictures cannot collide and no script runs."""
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode()}"
