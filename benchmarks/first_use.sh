#!/usr/bin/env bash
# The path of someone new, timed: from an empty virtual environment to the integrated sample and a written report.
#
#   benchmarks/first_use.sh                    PYTHON=python3.12 for another interpreter
#   PIP_ARGS='--index-url …' benchmarks/first_use.sh      where torch for CPUs is not taken by itself
#
# Wheels are downloaded first and not counted. Clicks are those of the mouse: each menu that is opened, too.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" # not in the clone: what runs is what was installed
python=${PYTHON:-python3}
seconds() { printf '%-46s %6.1f s\n' "$1" "$(bc <<<"$(date +%s.%N) - $2")"; }

"$python" -m venv fetching
# Wheels, not sources: what has none is built here, and not counted either.
# shellcheck disable=SC2086  # PIP_ARGS is a list of words
fetching/bin/pip wheel --quiet ${PIP_ARGS:-} --wheel-dir wheels --constraint "$root/constraints.txt" \
    torch "$root[all]" hatchling 2>/dev/null
rm -f wheels/napari_staligner-*

all=$(date +%s.%N)
"$python" -m venv new
new/bin/pip install --quiet --no-index --find-links wheels "$root[all]"
seconds "pip install, without the download" "$all"
start=$(date +%s.%N)
new/bin/napari-staligner --help >/dev/null
seconds "first --help" "$start"
"$root/scripts/with_display.sh" --hidden env XDG_DATA_HOME="$work/data" XDG_CONFIG_HOME="$work/config" \
    XDG_CACHE_HOME="$work/cache" new/bin/python -W ignore "$root/benchmarks/first_use.py"
seconds "all of it" "$all"
