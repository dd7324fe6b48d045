"""Whether SLURM takes a job's script, where its client and a controller are there."""

from __future__ import annotations

import re
import subprocess
from shutil import which

from tools.launch.files import Check

_DIRECTIVE = re.compile(r"#SBATCH --[a-z][a-z-]*=\S+")


def check_sbatch(text: str) -> Check:
    """Whether ``sbatch --test-only`` takes a script: every option is known, and some machines could run the job.

    Nothing is submitted.
    """
    name = "sbatch"
    wrong = [line for line in directives(text) if not _DIRECTIVE.fullmatch(line)]
    if wrong:
        return Check(name, False, "; ".join(wrong[:5]))
    if which("sbatch") is None:
        return Check(name, None, "validator not there: run where SLURM's sbatch is")
    command = ["sbatch", "--test-only"]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return Check(name, None, "validator not there: SLURM's controller does not answer")
    said = done.stderr.strip() or done.stdout.strip()
    if done.returncode == 0:
        return Check(name, True, said)
    if _NO_CONTROLLER.search(said):
        return Check(name, None, f"validator not there: {said.splitlines()[-1]}")
    return Check(name, False, said)


_NO_CONTROLLER = re.compile(r"configuration source|contact slurm controller|connection refused|resolve", re.IGNORECASE)


def directives(text: str) -> list[str]:
    """Return the lines that SLURM reads: those before the first command."""
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith("#SBATCH"):
            found.append(line)
        elif line and not line.startswith("#"):
            break
    return found
