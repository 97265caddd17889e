"""A dask cluster of real processes on this machine."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def wait_for(condition, seconds=300.0):
    """What the condition says once it is true."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.02)
    return found


class Cluster:
    """A scheduler, and workers as they are asked for; one process each, none restarted."""

    def __init__(self, folder, **environment):
        single = {"OMP_NUM_THREADS": "1", "DASK_LOGGING__DISTRIBUTED": "error"}
        self.environment = os.environ | single | environment
        self.folder = folder
        self.processes = []
        description = folder / "scheduler.json"
        self._start("scheduler", "--port", "0", "--scheduler-file", description)
        wait_for(description.exists)
        self.address = wait_for(lambda: json.loads(description.read_text() or "{}"))["address"]

    def _start(self, *words):
        command = [sys.executable, "-m", "dask", *map(str, words), "--host", "127.0.0.1"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        options = {"env": self.environment, "cwd": ROOT, **quiet}
        self.processes.append(subprocess.Popen([*command, "--no-dashboard"], **options))
        return self.processes[-1]

    def worker(self, threads=1):
        """Start one more; its id is that of the process that computes."""
        words = ["worker", self.address, "--no-nanny", "--nthreads", threads]
        return self._start(*words, "--local-directory", self.folder, "--memory-limit", 0)

    def end(self):
        """Of the scheduler; its workers end when they notice."""
        self.processes[0].kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
