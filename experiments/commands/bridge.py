"""`noncommit bridge`: nearest facets and token flips of a real decoder head."""

import argparse
from pathlib import Path
from typing import Any

from experiments import store
from experiments.commands.run import positive, real, seed

PURPOSE = "measure how near a real decoder's latents are to their token boundaries"
EXAMPLES = """Either name a decoder that noncommit knows, or give the head of your own: the rows of
--weight are the tokens, those of --latents the latents. F:T is tensor T of file F; T may be
left out when the file has one tensor.

examples:
  noncommit bridge g2p-en
  noncommit bridge --weight model.safetensors:lm_head.weight --latents hidden.npy --out here

Writes DIR/bridge.json (areas, flip rates, sandwich) and DIR/distances.csv
(row, label, neighbour, distance)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bridge`."""
    parser.add_argument("decoder", nargs="?", metavar="DECODER", help="a known decoder: g2p-en")
    parser.add_argument("--weight", metavar="F[:T]", help="readout matrix, (tokens, width)")
    parser.add_argument("--bias", metavar="F[:T]", help="readout bias, (tokens,) (default: none)")
    parser.add_argument("--latents", metavar="F[:A]", help="latents, (count, width)")
    text = "the matrix is stored as (width, tokens)"
    parser.add_argument("--transpose", action="store_true", help=text)
    text = "where the files go (default: results/bridge/DECODER; needed with --weight)"
    parser.add_argument("--out", type=Path, metavar="DIR", help=text)
    text = "words to decode with a known decoder (default: 500)"
    parser.add_argument("--words", type=positive, metavar="N", help=text)
    text = "noise s, in units of the latents (default: 0.02 to 5 times the median distance)"
    parser.add_argument("--scales", type=real, nargs="+", metavar="X", help=text)
    text = "noise draws for each latent and scale (default: 16)"
    parser.add_argument("--draws", type=positive, metavar="N", help=text)
    text = "root of all randomness (default: 0)"
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help=text)


def act(args: argparse.Namespace) -> int:
    """Check what was asked for, measure, print the summary and the files."""
    _check(args)
    out = args.out or Path("results", "bridge", args.decoder)
    store.check_writable(out)
    from experiments import bridge, runtime

    runtime.configure()
    options: dict[str, Any] = {"seed": args.seed}
    if args.scales:
        options["scales"] = tuple(args.scales)
    if args.draws:
        options["draws"] = args.draws
    if args.words:
        options["words"] = args.words
    if args.decoder:
        paths, summary = bridge.run_decoder(args.decoder, out, **options)
    else:
        head = (args.weight, args.bias, args.latents, args.transpose)
        paths, summary = bridge.run_head(*head, out, **options)
    print(summary, *paths, sep="\n")
    return 0


def _check(args: argparse.Namespace) -> None:
    """ValueError unless the arguments are one of the two forms."""
    head = {"--weight": args.weight, "--latents": args.latents, "--out": args.out}
    own = {name: value for name, value in head.items() if name != "--out"}
    if args.decoder and (any(own.values()) or args.bias or args.transpose):
        raise ValueError("bridge takes a DECODER or the head of your own (--weight …), not both")
    if not args.decoder:
        if not any(own.values()):
            raise ValueError("bridge needs a DECODER (g2p-en), or --weight, --latents and --out")
        if missing := [name for name, value in head.items() if value is None]:
            raise ValueError(f"bridge with a head of your own also needs {' and '.join(missing)}")
        if args.words:
            raise ValueError("--words goes with a DECODER: here the latents are given")
