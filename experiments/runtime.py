"""What a number is computed with: precision, key, threads, versions. Imports jax when asked."""

import hashlib
import importlib.metadata
import os
import platform
import signal
import subprocess
import threading
import tomllib
import warnings
from collections.abc import Mapping
from multiprocessing import parent_process
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

from experiments.store import canonical

SOURCE = Path(__file__).resolve().parent.parent
# A random draw takes LLVM 3 s at its highest level and 0.3 s at the next, for the same speed; the
# older emitters compile a kernel in half the time, and may leave jaxlib after this release.
QUICK = {"xla_backend_optimization_level": "2", "xla_llvm_disable_expensive_passes": "true"}
OLDER = {"0.10": {"xla_cpu_use_fusion_emitters": "false"}}


def configure() -> None:
    """Float64, full-precision products, quick compilation: what every experiment is run with."""
    compile_quickly()
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")


def compile_quickly() -> None:
    """Ask XLA for code that compiles fast; to be called before JAX computes anything.

    Most of a small run is compilation. A flag that the user's XLA_FLAGS already has stays.
    """
    release = ".".join(importlib.metadata.version("jaxlib").split(".")[:2])
    given = os.environ.get("XLA_FLAGS", "")
    wanted = QUICK | OLDER.get(release, {})
    ours = [f"--{name}={value}" for name, value in wanted.items() if name not in given]
    os.environ["XLA_FLAGS"] = " ".join([*ours, given]).strip()


def keep_compilations() -> None:
    """Share what is compiled with other processes and later runs, through files in the cache.

    XLA compiles for a processor and for a number of threads, on which the last bits of a sum
    depend: each has its own folder. JAX passes over a torn file and compiles again. Where the
    folder cannot be made, nothing is shared.
    """
    import jax
    from theory.bridge.catalog import cache_folder

    kind = canonical([platform.machine(), _processor(), os.environ.get("NPROC")])
    folder = cache_folder() / "compiled" / hashlib.sha256(kind.encode()).hexdigest()[:20]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    warnings.filterwarnings("ignore", "Error reading persistent compilation cache entry")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_compilation_cache_dir", str(folder))


def _processor() -> str:
    """What the processor can do, as far as the operating system says."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def dtype() -> str:
    """The floating type that JAX computes in now."""
    import jax.numpy as jnp

    return jnp.result_type(float).name


def cell_key(config: Mapping[str, Any], seed: int) -> Any:
    """The root key folded with 32 bits of the cell's own hash: no cell knows its neighbours."""
    import jax

    word = hashlib.sha256(canonical(config).encode()).digest()[:4]
    return jax.random.fold_in(jax.random.key(seed), int.from_bytes(word, "big"))


def usable_cores() -> list[int]:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(core: int) -> None:
    """Keep this process to one core and one thread; to be called before numpy or jax is imported.

    XLA splits a reduction over its threads, so the last bits of a sum depend on their number.
    NPROC is what XLA sizes its pool by; affinity also keeps the operating system's hands off.
    """
    for name in ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def start_worker(cores: "SimpleQueue[int]") -> None:
    """What a worker process does first: leave Ctrl-C to the parent, die with it, pin, configure."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    pin(cores.get())
    configure()
    keep_compilations()


def _die_with_parent() -> None:
    """A killed parent cannot stop its workers, and they would wait for tasks for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def peak_memory() -> int | None:
    """The most memory this process has held, in bytes; None where that is not known."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident_memory() -> int | None:
    """The memory this process holds now, in bytes, or the most it has held, as far as known."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_memory()
    return pages * os.sysconf("SC_PAGE_SIZE")


def forget_programs(room: int) -> None:
    """Let go of what JAX has traced and compiled if this process holds more than `room` bytes.

    Otherwise it stays to the end of the process; what is needed again is read from files.
    """
    import jax

    if (resident_memory() or 0) > room:
        jax.clear_caches()


def version() -> str:
    """Version of noncommit: the installed one, or that of the source checkout."""
    try:
        return importlib.metadata.version("noncommit")
    except importlib.metadata.PackageNotFoundError:
        project = tomllib.loads((SOURCE / "pyproject.toml").read_text("utf-8"))
        return str(project["project"]["version"])


def environment() -> dict[str, object]:
    """Versions, device and commit, for the manifest."""
    import jax

    device = jax.devices()[0]
    versions = {name: importlib.metadata.version(name) for name in ("jax", "numpy", "scipy")}
    return {
        "versions": {"noncommit": version(), "python": platform.python_version(), **versions},
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "machine": platform.machine(),
            "system": platform.system(),
            "cores": os.cpu_count(),
        },
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "commit": commit(),
    }


def commit() -> str | None:
    """The checkout's commit, '-dirty' if files differ; None outside a checkout or without git."""
    if not (SOURCE / ".git").exists():
        return None
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(describe, cwd=SOURCE, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
