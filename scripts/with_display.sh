#!/usr/bin/env bash
# Runs a command that opens windows.
#
#   scripts/with_display.sh CMD...            on the person's display; without one, or in CI, under Xvfb
#   scripts/with_display.sh --hidden CMD...   under Xvfb wherever there is one: no window pops up, and
#                                             the same screen everywhere
#   scripts/with_display.sh --seen            runs nothing; succeeds if a person would see the windows
set -euo pipefail

is_linux() { [ "$(uname -s)" = Linux ]; }

is_seen() {
    [ -z "${CI:-}" ] && { ! is_linux || [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; }
}

hidden=
case "${1:-}" in
    --seen)
        is_seen
        exit
        ;;
    --hidden)
        hidden=1
        shift
        ;;
esac

export QT_API=${QT_API:-pyqt6}
if is_linux && [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    # Qt warns without one.
    export XDG_RUNTIME_DIR="${TMPDIR:-/tmp}/runtime-$(id -u)"
    mkdir -p -m 700 "$XDG_RUNTIME_DIR"
fi

if is_linux && { [ -n "$hidden" ] || ! is_seen; }; then
    if command -v xvfb-run >/dev/null; then
        unset WAYLAND_DISPLAY
        export QT_QPA_PLATFORM=xcb LIBGL_ALWAYS_SOFTWARE=1
        exec xvfb-run -a -s "-screen 0 1600x1200x24" "$@"
    elif [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
        echo "with_display: there is no display; please install the package xvfb." >&2
        exit 1
    fi
fi
exec "$@"
