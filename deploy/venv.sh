#!/usr/bin/env bash
# Installs a list of Python packages into .venv: `bash deploy/venv.sh REQUIREMENTS`.
# A list that is installed already costs nothing.
set -euo pipefail
requirements=$(realpath "$1")
cd "$(dirname "$0")/.."

installed=.venv/installed-$(sha256sum "$requirements" | cut -c1-16)
[ -e "$installed" ] && exit
python3 -m venv .venv || {
    echo "python3 cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2
    exit 1
}
.venv/bin/pip install --quiet --disable-pip-version-check --requirement "$requirements"
touch "$installed"
