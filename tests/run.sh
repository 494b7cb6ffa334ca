#!/bin/sh
# The whole suite with branch coverage of services/, also of every process the tests start. Part of `make test`.
# COVERAGE_FLOOR: the percentage below which it fails. TEST_PROCESSES: how many pytest processes share the quick tests.
set -eu
cd "$(dirname "$0")/.."
COVERAGE_FLOOR="${COVERAGE_FLOOR:-0}"
TEST_PROCESSES="${TEST_PROCESSES:-2}"
STACK_PROCESSES="${STACK_PROCESSES:-1}"

failed=0
run() { # run PROCESSES FOLDER...: one pytest session over those folders that hold tests
    processes="$1"
    shift
    present=""
    for folder in "$@"; do
        [ -z "$(find "$folder" -name 'test_*.py' 2>/dev/null | head -n 1)" ] || present="$present $folder"
    done
    # shellcheck disable=SC2086 # a list of folders
    [ -z "$present" ] || .venv/bin/coverage run -m pytest -q -n "$processes" --dist loadgroup --durations=10 $present || failed=1
}

.venv/bin/coverage erase
run "$TEST_PROCESSES" tests/unit tests/contract
run "$STACK_PROCESSES" tests/journeys tests/faults
.venv/bin/coverage combine --quiet
.venv/bin/coverage report --fail-under="$COVERAGE_FLOOR" || failed=1
exit "$failed"
