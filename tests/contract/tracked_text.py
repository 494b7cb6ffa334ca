"""Refuse tracked files that name a path of one machine or a package index (a clone must work anywhere), or ignore a finding for no reason.

Run as a script (part of `make lint`); prints one line a finding and exits 1.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.}/-])/(?:work|root)(?:/|\b(?=['\"]))"),
    "an ignored finding without a reason": re.compile(r"# (?:noqa(?:: [A-Z0-9, ]+)?|type: ignore(?:\[[\w, -]+\])?)$"),
    "a package index": re.compile(
        r"(?:--|\b)(?:extra-)?index-url\b|\bfind-links\b|https?://[^\s'\"]*/simple\b", re.IGNORECASE
    ),
}
ITSELF = Path(__file__).resolve()


def tracked_files() -> list[Path]:
    """Every file git knows, or would take with the next `git add`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def findings(path: Path) -> list[str]:
    """What is wrong in one file, as `file:line: what: text`. Binary files hold no findings."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []
    return [
        f"{path.relative_to(ROOT)}:{number}: {what}: {line.strip()[:120]}"
        for number, line in enumerate(lines, 1)
        for what, pattern in FORBIDDEN.items()
        if pattern.search(line)
    ]


def main() -> int:
    """Print every finding; 1 when there is one."""
    found = [finding for path in tracked_files() if path != ITSELF for finding in findings(path)]
    print(
        "\n".join(found) if found else "tracked files: no machine paths, no package index, no ignore without a reason"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
