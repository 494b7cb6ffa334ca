#!/bin/sh
# The whole suite. Part of `make test`. COVERAGE=1: with branch coverage of services/, also of every process the tests start.
# COVERAGE_FLOOR: the percentage below which that fails. TEST_PROCESSES: how many pytest processes share the quick tests.
set -eu
cd "$(dirname "$0")/.."
COVERAGE="${COVERAGE:-}"
COVERAGE_FLOOR="${COVERAGE_FLOOR:-0}"
TEST_PROCESSES="${TEST_PROCESSES:-2}"
STACK_PROCESSES="${STACK_PROCESSES:-1}"

failed=0
run() { # run PROCESSES FOLDER...: one pytest session over those folders that hold tests
    processes="$1"
    shift
    present=""
    for folder in "$@"; do
        case "$folder" in --*) present="$present $folder" && continue ;; esac
        [ -z "$(find "$folder" -name 'test_*.py' 2>/dev/null | head -n 1)" ] || present="$present $folder"
    done
    # shellcheck disable=SC2086 # a list of folders
    [ -z "$present" ] || $python -m pytest -q -n "$processes" --dist loadgroup --durations=10 $present || failed=1
}

python=".venv/bin/python"
if [ -n "$COVERAGE" ]; then
    python=".venv/bin/coverage run"
    .venv/bin/coverage erase
fi
# The bench has tests of its own (tests/contract/bench): they need a machine with nothing else to do, so `make bench` is beside them.
run "$TEST_PROCESSES" --ignore=tests/contract/bench tests/unit tests/contract
# Whole processes killed under load: `make faults` runs these too; they are not yet steady on a machine that is busy otherwise.
run "$STACK_PROCESSES" --ignore=tests/faults/test_processes_killed.py --ignore=tests/faults/test_rabbitmq_killed.py tests/journeys tests/faults
if [ -n "$COVERAGE" ]; then
    .venv/bin/coverage combine --quiet
    .venv/bin/coverage report --fail-under="$COVERAGE_FLOOR" || failed=1
fi
exit "$failed"
