#!/bin/sh
# The whole suite. Part of `make test`. Two pytest sessions, each shared by several processes that wait more than they work:
# unit tests and journeys, then contract tests and faults. COVERAGE=on, the default where CI is set: the first session with branch
# coverage of services/ (also in every process it starts), which must reach COVERAGE_FLOOR; it costs about a third more time.
# TEST_PROCESSES: how many processes share a session.
set -eu
cd "$(dirname "$0")/.."
COVERAGE="${COVERAGE:-${CI:+on}}"
COVERAGE_FLOOR="${COVERAGE_FLOOR:-85}"
TEST_PROCESSES="${TEST_PROCESSES:-4}"
export EVENTLET_NO_GREENDNS=yes

failed=0
run() { # run COMMAND FOLDER...: one pytest session
    command="$1"
    shift
    # shellcheck disable=SC2086 # a command and its words
    $command -m pytest -q -n "$TEST_PROCESSES" --dist loadscope --durations=10 "$@" || failed=1
}

measured=".venv/bin/python"
if [ "$COVERAGE" = on ]; then
    .venv/bin/coverage erase
    measured=".venv/bin/coverage run"
fi
run "$measured" tests/unit tests/journeys
run .venv/bin/python tests/contract tests/faults
if [ "$COVERAGE" = on ]; then
    .venv/bin/coverage combine --quiet
    .venv/bin/coverage report --fail-under="$COVERAGE_FLOOR" || failed=1
fi
exit "$failed"
