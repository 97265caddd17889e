"""Archives of npm packages: packed by npm into a folder; no script is run, nothing installed."""

import shutil
import subprocess
import tempfile

NPM_SECONDS = 900  # a stuck download must not hang a run for ever
QUIET = ["--loglevel=error", "--no-progress", "--no-update-notifier"]
PATIENCE = ["--fetch-retries=2", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=2000"]
UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")
ABSENT = ("E404", "ETARGET", "ENOVERSIONS")


def pack(package: str, version: str, folder: str) -> str | None:
    """Let `npm pack` fetch one version of a package into the folder; what is wrong, or None.

    npm's own cache lies in a temporary folder, so that nothing else is left behind.
    """
    program = shutil.which("npm")
    if program is None:
        return "npm is not installed (it comes with Node.js)"
    with tempfile.TemporaryDirectory(prefix="noncommit-") as work:
        places = ["--ignore-scripts", f"--cache={work}", f"--pack-destination={folder}"]
        command = [program, "pack", f"{package}@{version}", *QUIET, *PATIENCE, *places]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=NPM_SECONDS,
                cwd=work,
            )
        except subprocess.TimeoutExpired:
            return f"npm did not finish within {NPM_SECONDS} s"
        except OSError as error:
            return f"npm could not be started ({error})"
    return _reason(done.stderr) if done.returncode else None


def _reason(stderr: str) -> str:
    """What npm complains of, as one clause: no network, package gone, or its first words."""
    if any(f"code {sign}" in stderr for sign in UNREACHABLE):
        return "no network"
    if any(f"code {sign}" in stderr for sign in ABSENT):
        return "the package registry does not offer this version"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[0] if lines else "npm failed without a message"
