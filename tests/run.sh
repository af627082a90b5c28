#!/usr/bin/env bash
# Everything that must hold before a change lands: `bash tests/run.sh`.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

say "format"
cargo fmt --all --check

say "no source file over 500 lines (generated code excepted)"
long=$(git ls-files '*.rs' '*.py' '*.sh' '*.proto' '*.sql' '*.js' '*.go' | grep -v '/generated/' |
    xargs wc -l | awk '$1 > 500 && $2 != "total"')
if [ -n "$long" ]; then
    echo "$long" >&2
    exit 1
fi

say "lints"
cargo clippy --locked --workspace --all-targets -- --deny warnings

say "documentation"
RUSTDOCFLAGS="--deny warnings" cargo doc --locked --workspace --no-deps --quiet

say "what llama.cpp makes of texts, to compare with"
bash planner/tokenize/tests/oracle.sh

say "tests"
bash deploy/venv.sh tests/s3/requirements.txt
# The programs too: tests run them as processes.
cargo build --locked --workspace --all-targets
cargo test --locked --workspace

# Not what is held to a floor or a prediction, and not what says itself where it keeps its state.
say "end-to-end tests with PostgreSQL and S3"
CARAVAN_TEST_STORE_URL=postgres CARAVAN_TEST_OBJECT_URL=s3 cargo test --locked --workspace --test suite -- \
    --skip prefixes:: --skip profiles:: --skip planned:: --skip chaos:: --skip outage:: --skip replicas::

say "clients in Python, Node, Rust and Go, configuration examples"
bash deploy/venv.sh tests/python/requirements.txt
PYTHONDONTWRITEBYTECODE=1 .venv/bin/python -m pytest -p no:cacheprovider -rs tests/python

say "OpenAI's client for Node"
npm ci --prefix tests/node --no-audit --no-fund --silent
node --test tests/node/*.test.mjs
