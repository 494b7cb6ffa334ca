#!/bin/sh
# Build .venv with the newest fitting CPython on PATH and install everything pinned in requirements/.
# A Python counts only if it really runs (version managers leave shims that do not) and can make a venv.
set -eu
cd "$(dirname "$0")/.."

find_python() {
    unable=""
    for version in 3.13 3.12 3.11; do
        IFS=:
        for folder in $PATH; do
            candidate="$folder/python$version"
            [ -x "$candidate" ] || continue
            "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null || continue
            if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
                unset IFS
                echo "$candidate"
                return
            fi
            unable="$candidate"
        done
        unset IFS
    done
    if [ -n "$unable" ]; then
        echo "setup: $unable has no venv module (on Debian: apt-get install python3-venv)" >&2
    else
        echo "setup: no CPython 3.11, 3.12 or 3.13 on PATH that runs" >&2
    fi
    return 1
}

if ! .venv/bin/python -c 'import sys, pip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
    python="$(find_python)"
    echo "setup: .venv from $python"
    rm -rf .venv
    "$python" -m venv .venv
fi

echo "setup: installing requirements"
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    -r requirements/runtime.txt -r requirements/embedded.txt -r requirements/build.txt -r requirements/test.txt
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .

# The generated package `jishi` lives in gen/; one .pth line makes it importable from anywhere, as the editable
# install does for services/.
.venv/bin/python - <<'PY'
import pathlib, sysconfig
site = pathlib.Path(sysconfig.get_path("purelib"))
(site / "jishi_generated.pth").write_text(f"{pathlib.Path('gen').resolve()}\n", encoding="utf-8")
PY
touch .venv/.installed
