"""`noncommit run`: experiments to tables."""

import argparse
import contextlib
import math
import shlex
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments import registry, runtime

PURPOSE = "compute the tables of experiments; only cells that are missing are computed"
EXAMPLES = """Each cell is stored as soon as it is done, so a run that was stopped goes on where it
was. The table is DIR/NAME.csv, and DIR/NAME.manifest.json says how it was made.

examples:
  noncommit run all --preset quick
  noncommit run few_step churn_sweep         several, on the same workers
  noncommit run interface_exact --seed 1 --out /tmp/results
  noncommit run interface_exact --help       the options of its grid
  noncommit run all --scheduler tcp://head:8786    on a dask cluster (docs/cluster.md)

The exit status is 1 if a cell failed; one that is not available here is only skipped."""
PRESETS = ("quick", "default", "paper")
_GRID = "grid:"


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """The names and the options; those of a grid too if `argv` is about one experiment."""
    text = "experiments (see noncommit list), or all"
    parser.add_argument("names", nargs="+", metavar="NAME", help=text)
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default="default",
        help="size of the grid: quick is a minute or two for all experiments, default far more, "
        "paper up to two hours for each (default: default)",
    )
    text = "where results go; cells already there are kept (default: results)"
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR", help=text)
    text = "root of all randomness, 0 to 2³² − 1 (default: 0)"
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help=text)
    where = parser.add_mutually_exclusive_group()
    text = "processes, one core each; the numbers do not depend on it (default: all cores)"
    where.add_argument("--workers", type=positive, metavar="N", help=text)
    text = "address of a dask scheduler, whose workers compute instead of processes here"
    where.add_argument("--scheduler", metavar="tcp://HOST:PORT", help=text)
    name = argv[1] if len(argv) > 2 and argv[0] == "run" and argv[2].startswith("-") else ""
    known = {option for action in parser._actions for option in action.option_strings}
    known -= {"-h", "--help"}
    asked = {word.partition("=")[0] for word in argv[2:] if word.startswith("-")} - known
    if asked and name in registry.EXPERIMENTS:  # an import of seconds, for these options only
        runtime.configure()
        _add_grid(parser, name, registry.load(name))


def act(args: argparse.Namespace) -> int:
    """Run and print one line an experiment."""
    from experiments import cluster, planning, sweep

    for name in args.names:
        registry.choose("experiment", name, [*registry.EXPERIMENTS, "all"])
    names = list(registry.EXPERIMENTS) if "all" in args.names else list(dict.fromkeys(args.names))
    given = {k.removeprefix(_GRID): v for k, v in vars(args).items() if k.startswith(_GRID)}
    overrides = {name: value for name, value in given.items() if value is not None}
    requests = [planning.request(name, args.preset, args.seed, overrides) for name in names]
    with contextlib.ExitStack() as stack:
        executor, workers = None, args.workers
        if args.scheduler:
            executor, workers = stack.enter_context(cluster.cluster(args.scheduler, args.out))
        results = sweep.start(
            requests,
            args.out,
            executor,
            workers=workers,
            command=shlex.join(["noncommit", *args.command_line]),
            announce=lambda result: print(result.summary(), flush=True),
        )
    return int(any(result.count("error") for result in results))


def _add_grid(parser: argparse.ArgumentParser, name: str, module: ModuleType) -> None:
    """One option a field of the grid."""
    parser.usage = f"noncommit run {name} [options]"
    parser.description = f"{name}: {registry.EXPERIMENTS[name]}."
    title = "the grid (each option replaces what the preset has)"
    group = parser.add_argument_group(title)
    hints = typing.get_type_hints(module.Grid)
    for field in fields(module.Grid):
        kind, many = _element(hints[field.name])
        group.add_argument(
            "--" + field.name.replace("_", "-"),
            dest=_GRID + field.name,
            type=_READERS[kind],
            nargs="+" if many else None,
            action=_Many if many else "store",
            metavar={int: "N", float: "X", bool: "true|false"}.get(kind, "NAME"),
            help=_default(field.metadata.get("help", ""), field.name, module.PRESETS["default"]),
        )


class _Many(argparse.Action):
    """Several values, kept as the tuple that a grid holds."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        setattr(namespace, self.dest, tuple(values))


def _default(text: str, name: str, grid: Any) -> str:
    value = getattr(grid, name)
    values = value if isinstance(value, tuple) else (value,)
    shown = " ".join(str(x).lower() if isinstance(x, bool) else str(x) for x in values)
    return f"{text} (default preset: {shown})".strip().replace("%", "%%")


def _element(hint: Any) -> tuple[type, bool]:
    """The scalar type of a field, and whether it holds several: tuple[int, ...] → int, True."""
    if typing.get_origin(hint) is tuple:
        return _element(typing.get_args(hint)[0])[0], True
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _element(next(kind for kind in typing.get_args(hint) if kind is not type(None)))
    return hint, False


def whole(text: str) -> int:
    """A whole number as typed on a command line."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def positive(text: str) -> int:
    """A whole number, at least 1."""
    if (number := whole(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not at least 1")
    return number


def seed(text: str) -> int:
    """A whole number that fits 32 bits."""
    if not 0 <= (number := whole(text)) < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and {2**32 - 1}")
    return number


def real(text: str) -> float:
    """A finite number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a finite number")
    return number


def truth(text: str) -> bool:
    """`true` or `false`."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"


_READERS: dict[type, Callable[[str], Any]] = {int: whole, float: real, bool: truth, str: str}
