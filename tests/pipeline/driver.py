"""The command line with the toy registered: `python -m tests.pipeline.driver run toy …`."""

import signal
import sys

from experiments import cli, registry

if __name__ == "__main__":
    # As in a terminal: a shell has SIGINT ignored for what it starts in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    registry.PACKAGE = "tests.pipeline"
    registry.EXPERIMENTS = {"toy": "means of normals"}
    sys.exit(cli.main())
