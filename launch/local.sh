#!/usr/bin/env bash
# N processes on this machine with one command and one run directory: they share files, shards and cells of the table.
#   bash launch/local.sh 8 crossval --config=configs/mias.py --config.data.source=FOLDER
# Each gets 1/N of the cores and, where there are GPUs (GPUS=8, or as nvidia-smi counts them), one GPU in turn. The first
# one speaks, the others write local.K.log into the folder LOGS. SIGTERM is passed on to all. Ends with 0, or 75 if one was
# asked to stop, or the code of one that failed.
set -u
number=${1:?how many processes, a launcher and its flags}
launcher=${2:?a launcher and its flags, such as: crossval --config=configs/mias.py}
shift 2
case "$number" in '' | *[!0-9]* | 0) echo "error: $number processes; expected a number from 1" >&2; exit 2 ;; esac
gpus=${GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | wc -l)}
cores=$(nproc)
share=$(((cores + number - 1) / number))
logs=${LOGS:-.}

children=()
trap 'kill -TERM "${children[@]}" 2>/dev/null' TERM INT
for ((k = 0; k < number; k++)); do
  (
    if [ "$gpus" -gt 0 ]; then export CUDA_VISIBLE_DEVICES=$((k % gpus)); fi
    # a process with the whole machine's threads would fight the others for its cores
    if command -v taskset >/dev/null; then
      first=$((k * cores / number))
      last=$((first + share - 1 < cores ? first + share - 1 : cores - 1))
      set -- taskset -c "$first-$last" "${PYTHON:-python}" -m "launch.$launcher" "$@"
    else
      set -- "${PYTHON:-python}" -m "launch.$launcher" "$@"
    fi
    if [ "$k" -eq 0 ]; then exec "$@"; fi
    exec "$@" >"$logs/local.$k.log" 2>&1
  ) &
  children+=("$!")
done

worst=0
for ((k = 0; k < number; k++)); do
  wait "${children[k]}"
  code=$?
  while kill -0 "${children[k]}" 2>/dev/null; do # a signal to this script ends `wait` before its child has ended
    wait "${children[k]}"
    code=$?
  done
  if [ "$code" -ne 0 ]; then
    echo "process $k ended with code $code$([ "$k" -gt 0 ] && echo "; see $logs/local.$k.log")" >&2
    if [ "$worst" -ne 75 ]; then worst=$code; fi
  fi
done
exit "$worst"
