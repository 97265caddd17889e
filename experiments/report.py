"""One page with everything a run found: a pure function of the results folder and the verdicts."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments import paper, registry, store, timings
from experiments.album import Album, collect
from experiments.commands.verify import cells, number
from experiments.mathml import prose
from experiments.statements import SECTIONS, Section

TEMPLATE = "report.html.j2"
PICTURES = 4_300_000  # bytes; the page is to stay below 5 MB, and its text takes up to 0.6
VERDICTS = ("holds", "refuted", "inconclusive", "missing")
BENCHMARKS = "bench"  # what the names of their pictures begin with
OTHER = Section("other", "Other experiments", (), (), ())


@dataclass(frozen=True)
class Part:
    """What the template shows of one section: its verdicts and its experiments."""

    section: Section
    verdicts: Sequence[Any]
    experiments: Sequence[Mapping[str, Any]]


def figures(out: Path, experiment: str) -> list[Path]:
    """The pictures drawn from an experiment's table."""
    return sorted((out / "figures").glob(f"{experiment}-*.svg"))


def write(out: Path, tables: Sequence[Path], verdicts: Sequence[Any]) -> Path:
    """Write OUT/report.html, which needs no other file and no network, below 5 MB.

    Raises:
        ValueError: when a picture or a manifest is not as the program writes them.
    """
    pictures = [path for table in tables for path in figures(out, table.stem)]
    album = collect([*pictures, *figures(out, BENCHMARKS)], PICTURES)
    page = _template().render(
        counts=Counter(verdict.verdict for verdict in verdicts),
        order=VERDICTS,
        failure=sum(verdict.failure_probability or 0.0 for verdict in verdicts),
        parts=_parts(out, tables, verdicts, album),
        comparisons=paper.compare(out),
        timings=timings.read(out),
        races=[
            replace(album.figures[name], caption=timings.CAPTIONS.get(name, name))
            for name in (path.stem for path in figures(out, BENCHMARKS))
        ],
        shapes=album.shapes,
    )
    path = out / "report.html"
    store.write_atomic(path, page.encode())
    return path


def _template() -> Any:
    import jinja2
    from markupsafe import Markup

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["prose"] = lambda text: Markup(prose(text))
    environment.filters["cells"] = cells
    environment.filters["number"] = number
    return environment.get_template(TEMPLATE)


def _parts(out: Path, tables: Sequence[Path], verdicts: Sequence[Any], album: Album) -> list[Part]:
    """Every verdict and every table in the section of its experiment; what has none comes last."""
    parts = []
    for section in [*SECTIONS, OTHER]:
        judged = [verdict for verdict in verdicts if _home(verdict) is section]
        shown = [_shown(out, table, album) for table in tables if _of(table.stem) is section]
        if judged or shown or section is not OTHER:
            parts.append(Part(section, judged, shown))
    return parts


def _home(verdict: Any) -> Section:
    """The section that the verdict's theorem names, or that of the experiment it comes from."""
    named = (section for section in SECTIONS if verdict.theorem in section.sources)
    return next(named, _of(verdict.command.split()[2]))  # noncommit run EXPERIMENT && …


def _of(experiment: str) -> Section:
    return next((section for section in SECTIONS if experiment in section.experiments), OTHER)


def _shown(out: Path, table: Path, album: Album) -> dict[str, Any]:
    """What the template shows of one experiment."""
    facts = _facts(table.with_suffix(".manifest.json"))
    versions, summary = facts.get("versions", {}), registry.EXPERIMENTS[table.stem]
    shown = {
        "rows": len(store.read_table(table)),
        "preset": facts.get("preset"),
        "seed": facts.get("seed"),
        "command": facts.get("command"),
        "commit": facts.get("commit"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "seconds in cells": facts.get("cell_seconds"),
    }
    return {
        "name": table.stem,
        "summary": summary[0].upper() + summary[1:],
        "figures": [album.figures[path.stem] for path in figures(out, table.stem)],
        "facts": {name: value for name, value in shown.items() if value not in (None, "")},
        "skipped": facts.get("skipped", []),
        "failed": facts.get("failed", []),
    }


def _facts(manifest: Path) -> dict[str, Any]:
    """The manifest beside a table, if there is one."""
    if not manifest.is_file():
        return {}
    try:
        return dict(json.loads(manifest.read_text("utf-8")))
    except ValueError as error:
        again = f"run `noncommit run {manifest.name.partition('.')[0]}` again"
        raise ValueError(f"{manifest} is no JSON object ({error}): {again}") from None
