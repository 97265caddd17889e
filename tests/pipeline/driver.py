"""The command line with the toy registered: `python -m tests.pipeline.driver run toy …`."""

import sys

from experiments import cli, registry

if __name__ == "__main__":
    registry.PACKAGE = "tests.pipeline"
    registry.EXPERIMENTS = {"toy": "means of normals"}
    sys.exit(cli.main())
