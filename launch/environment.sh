# Sourced by demo.sh and test.sh: a Python environment with the pinned packages, made once and reused.
# Set EXTRAS (such as "[test]") before sourcing. What the machine lacks is said in one line with its remedy.

stop() { printf 'error: %s\n' "$1" >&2; exit 2; }

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
python=${PYTHON:-}
if [ -z "$python" ]; then
  if [ -n "${VIRTUAL_ENV:-}" ]; then candidates="python python3"; else candidates="python3.11 python3.12 python3.13 python3 python"; fi
  for candidate in $candidates; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$candidate; break; fi
  done
fi
[ -n "$python" ] || stop "Python 3.11 or newer is needed, found $(python3 --version 2>&1 || echo none); install it, or name one: PYTHON=/path/to/python3.11 bash launch/$(basename "$0")"

if [ -z "${VIRTUAL_ENV:-}" ]; then
  if [ ! -x .venv/bin/python ]; then
    free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024) }')
    [ "$free" -ge 3000 ] || stop "3 GB of free disk are needed here, ${free} MB are free; free some, or clone to another disk"
    echo "making a virtual environment in .venv ($("$python" --version))"
    log=$(mktemp)
    if ! "$python" -m venv .venv >"$log" 2>&1; then
      detail=$(tail -n 1 "$log"); rm -rf .venv "$log"
      stop "no virtual environment could be made ($detail); install the venv module (Debian: apt install python3-venv) or activate an environment of your own"
    fi
    rm -f "$log"
  fi
  . .venv/bin/activate
  python=python
fi

stamp="$(cat setup.cfg constraints.txt pyproject.toml | cksum | tr ' ' -)$EXTRAS"
installed=$("$python" -c 'import sys; print(sys.prefix)')/.mammojax-installed
if ! grep -qxF "$stamp" "$installed" 2>/dev/null; then
  echo "installing the pinned packages (about a minute, 1.2 GB)"
  log=$(mktemp)
  if ! "$python" -m pip install --disable-pip-version-check -q -c constraints.txt -e ".$EXTRAS" >"$log" 2>&1; then
    reason=$(grep -E 'No space left|Could not find a version|Temporary failure|Connection|error:|ERROR' "$log" | tail -n 1)
    rm -f "$log"
    case "$reason" in
      *"No space left"*) stop "the disk is full; free 3 GB and start again" ;;
      *) stop "the packages could not be installed (${reason:-pip failed}); check the network and the package index, then start again" ;;
    esac
  fi
  rm -f "$log"
  echo "$stamp" >>"$installed"
fi
