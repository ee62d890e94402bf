#!/usr/bin/env bash
# The same launcher on every host of a TPU VM or slice; the hosts share the work in one run directory.
#   ZONE=us-west4-a bash launch/tpu/run.sh NAME crossval --config=configs/mias.py --config.run=/mnt/shared/mias
# The checkout lies in ~/mammojax on every host with `pip install -e .[tpu]`; the run directory on a file system that all
# hosts mount and that has locks (Filestore, NFS 4; not a bucket). Each host takes its own chips and waits for no other; with
# TOGETHER=1 they are one program (scan, train, crossval), whose trainings are spread over all chips of the slice.
set -u
name=${1:?the name of the TPU, a launcher and its flags}
launcher=${2:?a launcher and its flags, such as: crossval --config=configs/mias.py}
shift 2

# a host by itself: without these the runtime waits for the hosts of the whole slice (v5e, v6e: 2 x 2 chips a host)
alone="TPU_PROCESS_BOUNDS=1,1,1 TPU_CHIPS_PER_PROCESS_BOUNDS=${CHIPS:-2,2,1} "
if [ -n "${TOGETHER:-}" ]; then
  alone=""
else
  case "$launcher" in scan | train | crossval) set -- --alone "$@" ;; esac
fi
flags=$(printf ' %q' "$@")
command="cd ~/mammojax && while :; do ${alone}python -m launch.$launcher$flags; code=\$?; [ \$code -eq 75 ] || exit \$code; done"
exec gcloud compute tpus tpu-vm ssh "$name" --zone="${ZONE:?the zone, such as ZONE=us-west4-a}" --worker=all --command="$command"
