"""`python -m benchmarks [NAME…]`: kernels against their peers, in one run; `make bench`.

Writes OUT/bench/NAME.csv with its manifest, and draws OUT/figures/bench-*.svg. A peer that is not
installed is skipped by name.
"""

import argparse
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import harness
from experiments import cli, registry, runtime, store
from experiments.store import Row


def main() -> None:
    """Measure the benchmarks named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(harness.BENCHMARKS)}; all if none")
    parser.add_argument("--out", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--size", choices=harness.SIZES, default="full")
    parser.add_argument("--own", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.own:
        name, size, number = args.own
        print(json.dumps(harness.measure(name, size, int(number)), allow_nan=False))
        return
    try:
        for name in args.name:
            registry.choose("benchmark", name, harness.BENCHMARKS)
        run(args.name or list(harness.BENCHMARKS), args.size, args.out / "bench")
        draw(args.out)
    except (ValueError, OSError) as error:
        sys.exit(f"benchmarks: {error}")


def run(names: list[str], size: str, out: Path) -> None:
    """Every table named, after the product rate that it is held against."""
    store.check_writable(out)
    rates: dict[str, float] = {}
    for name in dict.fromkeys(["product_rate", *names]):
        benchmark = harness.module(name)
        if hasattr(benchmark, "prepare"):
            benchmark.prepare(size)
        rows, skipped = harness.table(name, size, rates)
        if name == "product_rate":
            rates = fastest(rows)
        facts = manifest(name, size, rows, skipped, rates)
        if name == "product_rate" and name not in names:
            continue  # measured for the others' sake: their manifests name it
        print(harness.write(out, name, rows, facts))
        if hasattr(benchmark, "summary"):
            print(harness.write(out, f"{name}_summary", benchmark.summary(rows), facts))


def draw(out: Path) -> None:
    """Figures of all tables of benchmarks in `out`, as SVG and PNG; same tables, same bytes."""
    import matplotlib

    from figures import benchmarks

    matplotlib.use("Agg")
    store.check_writable(out / "figures")
    tables = {path.stem: store.read_table(path) for path in sorted((out / "bench").glob("*.csv"))}
    cli.save(benchmarks.draw(tables), "bench", out / "figures")


def fastest(rows: list[Row]) -> dict[str, float]:
    """Gflop/s of the fastest product in each dtype."""
    rates: dict[str, float] = {}
    for row in rows:
        dtype, rate = str(row["dtype"]), float(row["gflop_per_second"] or 0)
        rates[dtype] = max(rate, rates.get(dtype, 0.0))
    return rates


def manifest(
    name: str, size: str, rows: list[Row], skipped: list[Row], rates: dict[str, float]
) -> dict[str, Any]:
    """What the numbers were measured with."""
    libraries = sorted({str(row["library"]) for row in rows} - {harness.OURS})
    runtime.compile_quickly()  # so that the environment shows the flags of our contenders
    facts = runtime.environment()
    versions = facts["versions"]
    assert isinstance(versions, dict)
    versions |= {library: importlib.metadata.version(library) for library in libraries}
    return facts | {
        "benchmark": name,
        "summary": harness.BENCHMARKS[name],
        "size": size,
        "command": f"python -m benchmarks {name} --size {size}",
        "threads": len(runtime.usable_cores()),
        "processor": processor(),
        "blas": blas(),
        "gflop_per_second_of_a_product": rates,
        "skipped": skipped,
    }


def blas() -> list[dict[str, Any]]:
    """The kernels that NumPy's products run on, where threadpoolctl is there to ask."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    known = ("internal_api", "version", "architecture")
    return [{name: pool.get(name) for name in known} for pool in threadpool_info()]


def processor() -> str:
    """The processor's own name, where the operating system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ""
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "")


if __name__ == "__main__":
    main()
