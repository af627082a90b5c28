#!/usr/bin/env bash
# Records how llama.cpp tokenizes into target/tokenize-oracle: `bash planner/tokenize/tests/oracle.sh`.
# What is recorded already costs nothing; else 77 MB are fetched, besides what the demo needs.
set -euo pipefail
cd "$(dirname "$0")/../../.."

out=target/tokenize-oracle
here=planner/tokenize/tests
recorded=$out/recorded-$(cat "$here"/oracle.sh "$here"/*.py deploy/requirements.txt | sha256sum | cut -c1-16)
[ -e "$recorded" ] && exit
bash deploy/venv.sh deploy/requirements.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$out"

# Its source package holds llama.cpp's vocabularies; it is unpacked, never built.
.venv/bin/pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python \
    --dest "$work" llama-cpp-python==0.3.36
tar --extract --gzip --file "$work"/llama_cpp_python-*.tar.gz --directory "$work" --strip-components=1 \
    --wildcards '*/vendor/llama.cpp/models/ggml-vocab-*.gguf'
PYTHONDONTWRITEBYTECODE=1 .venv/bin/python "$here/oracle.py" "$work/vendor/llama.cpp/models" "$out"
touch "$recorded"
