#!/usr/bin/env bash
# N processes on this machine with one command and one run directory: they share files, shards and cells of the table.
#   bash launch/local.sh 8 crossval --config=configs/mias.py --config.data.source=FOLDER
# Each gets 1/N of the cores that this shell may use and, where there are GPUs (those of CUDA_VISIBLE_DEVICES; otherwise
# GPUS=8 of them, or as nvidia-smi counts them), one GPU in turn. The first one speaks, the others write local.K.log into the
# folder LOGS. SIGTERM is passed on to all. Ends with 0, or 75 if one was asked to stop, or the code of one that failed.
set -u
number=${1:?how many processes, a launcher and its flags}
launcher=${2:?a launcher and its flags, such as: crossval --config=configs/mias.py}
shift 2
case "$number" in '' | *[!0-9]* | 0) echo "error: $number processes; expected a number from 1" >&2; exit 2 ;; esac
list=${CUDA_VISIBLE_DEVICES-}
if [ -z "${CUDA_VISIBLE_DEVICES+set}" ]; then
  count=${GPUS:-$(nvidia-smi --list-gpus 2>/dev/null | grep -c '^GPU')}
  for ((k = 0; k < count; k++)); do list+=",$k"; done
fi
IFS=, read -r -a gpus <<<"${list#,}"
sharing=$((${#gpus[@]} > 0 ? (number + ${#gpus[@]} - 1) / ${#gpus[@]} : 0)) # processes of one GPU
# JAX takes three quarters of a GPU's memory at its start: another process would find too little
if [ "$sharing" -gt 1 ] && [ -z "${XLA_CLIENT_MEM_FRACTION:-${XLA_PYTHON_CLIENT_MEM_FRACTION:-}}" ]; then
  export XLA_CLIENT_MEM_FRACTION
  XLA_CLIENT_MEM_FRACTION=$(printf '0.%03d' $((900 / sharing)))
fi
# of 0-3,8 the cores 0 1 2 3 8: a job of a scheduler has some of a machine's, and any of them
IFS=, read -r -a ranges <<<"$(taskset -cp $$ 2>/dev/null | sed 's/.*: //')"
cores=()
for range in ${ranges[@]+"${ranges[@]}"}; do
  for ((k = ${range%-*}; k <= ${range#*-}; k++)); do cores+=("$k"); done
done
share=$(((${#cores[@]} + number - 1) / number))
logs=${LOGS:-.}

children=()
asked=""
trap 'asked=1; kill -TERM "${children[@]}" 2>/dev/null' TERM INT
for ((k = 0; k < number; k++)); do
  (
    if [ "$sharing" -gt 0 ]; then export CUDA_VISIBLE_DEVICES=${gpus[k % ${#gpus[@]}]}; fi
    set -- "${PYTHON:-python}" -m "launch.$launcher" "$@"
    # a process with the whole machine's threads would fight the others for its cores
    if [ "$share" -gt 0 ]; then
      own=("${cores[@]:$((k * ${#cores[@]} / number)):share}")
      set -- taskset -c "$(IFS=,; echo "${own[*]}")" "$@"
    fi
    if [ "$k" -eq 0 ]; then exec "$@"; fi
    exec "$@" >"$logs/local.$k.log" 2>&1
  ) &
  children+=("$!")
  if [ -n "$asked" ]; then kill -TERM "${children[@]}" 2>/dev/null; break; fi # before all were there
done

worst=0
for k in "${!children[@]}"; do
  wait "${children[k]}"
  code=$?
  while kill -0 "${children[k]}" 2>/dev/null; do # a signal to this script ends `wait` before its child has ended
    wait "${children[k]}"
    code=$?
  done
  if [ -n "$asked" ] && [ "$code" -eq 143 ]; then code=75; fi # before it could listen
  if [ "$code" -ne 0 ]; then
    echo "process $k ended with code $code$([ "$k" -gt 0 ] && echo "; see $logs/local.$k.log")" >&2
    if [ "$worst" -ne 75 ]; then worst=$code; fi
  fi
done
exit "$worst"
