"""``python -m tests.bench [SECTION …]``: all figures, or some of them; see docs/capacity.md."""

import argparse
import sys
from typing import Final

from tests.bench import importing, ordering, reading
from tests.bench.report import Report
from tests.bench.world import running

SECTIONS: Final = {"import": importing.measure, "orders": ordering.measure, "reads": reading.measure}


def main(arguments: list[str]) -> int:
    """Measure the named sections on one throw-away stack; JSON lines as they come, a table at the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all")
    chosen = parser.parse_args(arguments).sections or list(SECTIONS)
    report = Report()
    with running() as bench:
        for name in chosen:
            SECTIONS[name](bench, report)
    report.table()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
