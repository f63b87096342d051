"""How long the command line takes to answer: medians of whole processes, held against their bounds."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 5
PETER = str(Path(sys.executable).with_name("peter"))
BOUNDS = {("--help",): 0.3, ("task", "list"): 0.6}  # seconds
# with bytecode, as installed programs have it
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds(command: tuple[str, ...], folder: str) -> float:
    """One run, from the start of the process to its end."""
    start = time.perf_counter()
    subprocess.run([PETER, *command], cwd=folder, env=ENVIRONMENT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> int:
    """Print a line for each command; 1 when one is too slow."""
    slow = 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([PETER, "init"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        for command, bound in BOUNDS.items():
            seconds(command, folder)  # fills the caches of bytecode and files
            median = statistics.median(seconds(command, folder) for _ in range(RUNS))
            slow += median > bound
            print(f"peter {' '.join(command):<12} {median:.3f} s, median of {RUNS}; bound {bound} s")
    return int(slow > 0)


if __name__ == "__main__":
    sys.exit(main())
