#!/usr/bin/env bash
# From a fresh machine to the table: the phantom screening set, made, prepared, scanned and cross-validated.
# Arguments are passed on, such as --config.training.epochs=40. A second start reuses what is there.
set -u
EXTRAS=""
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
exec "$python" -m launch.crossval --config=configs/phantom.py "$@"
