#!/usr/bin/env bash
# Makes .venv with everything that demo, test, lint and docs need, and the Debian packages for a window.
# A second run finds its stamp and ends at once.
#
#   PYTHON=python3.12 scripts/setup.sh     another interpreter (3.11 or newer)
#   PIP_ARGS='--extra-index-url https://download.pytorch.org/whl/cpu' scripts/setup.sh
#                                          further words for each pip install, here for a torch without CUDA
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python3}
PIP_ARGS=${PIP_ARGS:-}
window_packages=(
    xvfb xauth libegl1 libgl1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1
    libxcb-image0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libdbus-1-3
    libglib2.0-0 libfontconfig1 fonts-dejavu-core
)

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

is_debian() { command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

may_install() { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }

# Prints those of the named Debian packages that are not installed, under this name or another that
# provides it (libglib2.0-0t64, for one).
missing_packages() {
    local package
    local -A installed=()
    while read -r package _; do
        [ -z "$package" ] || installed[$package]=1
    done < <(dpkg-query -W -f '${db:Status-Status} ${Package}, ${Provides}\n' |
        sed -n 's/^installed //p' | tr ',' '\n')
    for package in "$@"; do
        [ -n "${installed[$package]:-}" ] || printf '%s ' "$package"
    done
}

apt_install() {
    say "installing Debian packages: $*"
    as_root apt-get update -qq >/dev/null || true # an old list may do
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

install_window_packages() {
    local missing
    is_debian || return 0
    missing=$(missing_packages "${window_packages[@]}")
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086  # one word a package
    if may_install && apt_install $missing; then
        return 0
    fi
    say "a window needs these Debian packages, please install them: $missing"
}

make_venv() {
    command -v "$PYTHON" >/dev/null ||
        fail "Python 3.11 or newer is needed and '$PYTHON' was not found; name one with PYTHON=."
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or newer is needed and '$PYTHON' is $("$PYTHON" -V 2>&1); name a newer one with PYTHON=."
    if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
        local package
        package=$("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        if ! { is_debian && may_install && apt_install "$package"; }; then
            fail "'$PYTHON' cannot make virtual environments; please install $package."
        fi
    fi
    "$PYTHON" -m venv --clear .venv
}

pip_install() {
    local quiet=--quiet
    [ ! -t 1 ] || quiet=
    # shellcheck disable=SC2086  # PIP_ARGS is a list of words
    .venv/bin/python -m pip install --disable-pip-version-check $quiet $PIP_ARGS "$@"
}

install_python_packages() {
    # The path is part of the stamp: an environment does not survive a move.
    local stamp=.venv/.setup-stamp now
    now=$PWD$'\n'$(cat pyproject.toml constraints.txt | cksum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$now" ]; then
        return 0
    fi
    if { [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" != "$PWD" ]; } ||
        ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        make_venv
    fi
    is_debian || say "not a Debian system: libraries that a window needs are taken as present."
    say "installing Python packages into .venv; the first time this takes some minutes."
    if [ "$(uname -s)" = Linux ] &&
        .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
        # torch alone and first, so that the pinned build is there before anything asks for any torch.
        pip_install "$(grep '^torch==' constraints.txt)"
        pip_install --constraint constraints.txt --editable '.[all,test,lint]'
    else
        say "constraints.txt is for Python 3.11 on Linux: taking the newest versions that pyproject.toml allows."
        pip_install --editable '.[all,test,lint]'
    fi
    printf '%s\n' "$now" >"$stamp"
}

install_window_packages
install_python_packages
