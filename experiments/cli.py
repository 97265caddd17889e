"""The command line program `noncommit`. Heavy imports wait until a command needs them."""

import argparse
import importlib
import importlib.util
import io
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from experiments import registry, runtime, store
from experiments.commands import bridge, run, verify, weights

DESCRIPTION = """Check the theorems on the geometry of few-step generation by experiment:
interfaces, leak, stiffness and token flips (arXiv 2606.30705)."""
EXAMPLES = """examples:
  noncommit list                         what can be run
  noncommit run all --preset quick       every experiment, in a minute or two
  noncommit run all                      every experiment, at greater length
  noncommit verify                       what the tables say of each theorem
  noncommit figures; noncommit report    pictures, and one page with everything

Each command has its own help: noncommit run --help"""


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one line and whose options are not abbreviated."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options |= {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(*args, **options)

    def error(self, message: str) -> NoReturn:
        """One line, exit status 2."""
        self.exit(2, f"noncommit: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    """Looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"noncommit {runtime.version()}")
        parser.exit(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; status 0, 1 (a check or cell failed), 2 (bad use or input) or 130."""
    argv = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return _act(argv)


def _act(argv: Sequence[str]) -> int:
    try:
        try:
            args = _parse(argv)
            status: int = args.act(args)
        except SystemExit as leaving:  # --help, --version, bad usage
            status = int(leaving.code or 0)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (ValueError, OSError) as error:
        print(f"noncommit: {_one_line(error)}", file=sys.stderr)
        return 2


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"noncommit: warning: {_one_line(message)}", file=sys.stderr)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    top = parser(argv)
    args, unknown = top.parse_known_args(argv)
    if unknown:
        grid = "; options of a grid need one experiment, named first" if argv[0] == "run" else ""
        top.error(f"unrecognized arguments: {' '.join(unknown)}{grid}")
    args.command_line = list(argv)
    return args


def _one_line(error: Warning | Exception | str) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def parser(argv: Sequence[str] = ()) -> Parser:
    """The whole command line; with `run NAME` in `argv`, also the options of NAME's grid."""
    top = Parser("noncommit", description=DESCRIPTION, epilog=EXAMPLES)
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and leave")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, purpose: str, act: Any, epilog: str = "") -> Parser:
        description = purpose[0].upper() + purpose[1:] + "."
        added = commands.add_parser(name, help=purpose, description=description, epilog=epilog)
        added.set_defaults(act=act)
        return added

    add("list", "name the experiments and what they measure", _list)
    run.add_arguments(add("run", run.PURPOSE, run.act, run.EXAMPLES), argv)
    verify.add_arguments(add("verify", verify.PURPOSE, verify.act, verify.EXAMPLES))
    add_out(add("figures", "draw the figures of every table in the results folder", _figures))
    add_out(add("report", "write one self-contained page: verdicts, figures, manifests", _report))
    weights.add_arguments(add("weights", weights.PURPOSE, weights.act, weights.EXAMPLES))
    bridge.add_arguments(add("bridge", bridge.PURPOSE, bridge.act, bridge.EXAMPLES))
    return top


def add_out(parser: argparse.ArgumentParser) -> None:
    """The option --out."""
    text = "the results folder (default: results)"
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help=text)


def _list(args: argparse.Namespace) -> int:
    width = max(map(len, registry.EXPERIMENTS))
    for name, summary in registry.EXPERIMENTS.items():
        print(f"{name:{width}}  {summary}")
    return 0


def _tables(out: Path) -> list[Path]:
    """The experiments' tables in `out`."""
    tables = [out / f"{name}.csv" for name in registry.EXPERIMENTS]
    if not any(table.is_file() for table in tables):
        raise ValueError(f"there is no table in {out}: start with `noncommit run all`")
    return [table for table in tables if table.is_file()]


def draw(table: Path) -> list[Path]:
    """Save the figures of one table, if it has some, as SVG and PNG; same table, same bytes."""
    if importlib.util.find_spec(f"figures.{table.stem}") is None:
        return []
    import matplotlib

    matplotlib.use("Agg")
    module = importlib.import_module(f"figures.{table.stem}")
    figures = module.draw(store.read_table(table))
    if hasattr(module, "draw_arrays"):
        figures |= module.draw_arrays(store.stored_arrays(table))
    return save(figures, table.stem, table.parent / "figures")


def save(figures: Mapping[str, Any], prefix: str, folder: Path) -> list[Path]:
    """Each figure as FOLDER/PREFIX-NAME.svg and .png, with nothing in them that changes."""
    import matplotlib

    paths = []
    for name, figure in figures.items():
        stem = f"{prefix}-{name}"
        for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            buffer = io.BytesIO()
            with matplotlib.rc_context({"svg.hashsalt": stem}):  # ids differ between figures
                figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
            paths.append(folder / f"{stem}.{kind}")
            store.write_atomic(paths[-1], buffer.getvalue())
    return paths


def _figures(args: argparse.Namespace) -> int:
    tables = _tables(args.out)
    store.check_writable(args.out / "figures")
    for table in tables:
        for path in draw(table):
            print(path)
    return 0


def _report(args: argparse.Namespace) -> int:
    """Figures that are missing or older than their table are drawn first."""
    from experiments import claims, report

    tables = _tables(args.out)
    store.check_writable(args.out / "figures")
    for table in tables:
        drawn = report.figures(args.out, table.stem)
        if not drawn or min(p.stat().st_mtime for p in drawn) < table.stat().st_mtime:
            draw(table)
    print(report.write(args.out, tables, claims.evaluate(args.out, None)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
