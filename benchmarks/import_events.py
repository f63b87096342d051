"""How fast events are imported, and in how much memory: fails below 1 million events/s or above 4 GB.

python benchmarks/import_events.py [--millions 20] [--folder FOLDER]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

LEAST_RATE = 1e6  # events a second
MOST_MEMORY = 4e9  # bytes
EVENTS_A_USER = 100

IMPORT = """
import resource, sys
from pathlib import Path
from peter.data.events import import_events
from peter.progress import Silent
made = import_events([Path(sys.argv[1])], work_dir=Path(sys.argv[2]), progress=Silent())
print(made.events_count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=float, default=20)
    parser.add_argument("--folder", type=Path, help="where the files may be, for a while")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        events = Path(folder, "events.csv")
        with ProcessPoolExecutor(1) as pool:  # a child's peak memory begins with its parent's: stay small
            pool.submit(write_events, events, int(options.millions * 1e6)).result()
        count, seconds, memory = import_in_new_process(events, Path(folder))
        size = events.stat().st_size
    print(f"{count:,} events, {size / 1e6:,.0f} MB of CSV, in {seconds:.1f} s")
    print(f"{count / seconds:,.0f} events/s, peak memory {memory / 1e9:.2f} GB")
    return int(count / seconds < LEAST_RATE or memory > MOST_MEMORY)


def write_events(path: Path, count: int) -> None:
    """Events of all users mixed, in order of time, as a log has them: the hardest order to import."""
    from peter.data.synthetic import Population, World

    users = count // EVENTS_A_USER
    world = World(items=100_000)
    Population.draw(world, users, length=(EVENTS_A_USER, EVENTS_A_USER)).write_events(path)


def import_in_new_process(events: Path, folder: Path) -> tuple[int, float, int]:
    """Events, seconds with the start of Python, bytes of memory at the peak."""
    start = time.perf_counter()
    command: list[str | Path] = [sys.executable, "-c", IMPORT, events, folder]
    count, memory = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(count), time.perf_counter() - start, int(memory)


if __name__ == "__main__":
    sys.exit(main())
