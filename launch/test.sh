#!/usr/bin/env bash
# Runs the linter and the tests, from a fresh clone too. Arguments are passed on to pytest.
set -u
EXTRAS="[test]"
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
"$python" -m ruff check . && "$python" -m ruff format --check . || stop "the linter found something; python -m ruff check --fix . && python -m ruff format ."
# a file of tests a worker: what a file has set up is made once
exec "$python" -m pytest -n auto --dist loadfile --durations=10 "$@"
