#!/usr/bin/env bash
# Has a fuzzer look at each way in for bytes that break what must hold: `bash tests/fuzz/run.sh [SECONDS [TARGET…]]`, so
# long for each target. It begins with what is in `corpus` and what it found before, which `target/found` keeps; an input
# that breaks something goes to `corpus`, where the tests of every change see it, and the exit code is 1.
# `bash tests/fuzz/run.sh merge [TARGET…]` keeps of all that in `corpus` what reaches anything that nothing smaller does.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-60}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(jsonl tokens multipart proto)
# Longer inputs than these are made of the same parts.
declare -A longest=([jsonl]=4096 [tokens]=256 [multipart]=20000 [proto]=4096)

# What libFuzzer needs to see where an input leads, as cargo-fuzz sets it; that needs a nightly Rust for sanitizers alone.
coverage=(-Cpasses=sancov-module)
for part in level=4 inline-8bit-counters pc-table trace-compares; do
    coverage+=("-Cllvm-args=-sanitizer-coverage-$part")
done
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=$PWD/target
# The flags must not be those of build scripts: hence the target.
RUSTFLAGS="--cfg fuzzing ${coverage[*]}" ${CARGO:-cargo} build --locked --release --target "$host" --manifest-path targets/Cargo.toml

failed=0
for target in "${targets[@]}"; do
    found=target/found/$target log=target/$target.log
    mkdir -p "$found"
    fuzzer=(nice "target/$host/release/$target" -max_len="${longest[$target]}" -rss_limit_mb=2048)
    if [ "$seconds" = merge ]; then
        merged=$(mktemp -d)
        # By lines that are reached, not by how often: a tenth of the inputs. Those that broke something stay.
        "${fuzzer[@]}" -set_cover_merge=1 -use_counters=0 "$merged" "corpus/$target" "$found" 2>"$log"
        find "corpus/$target" -name '*-*' -exec cp {} "$merged" \;
        rm -rf "corpus/$target" && mv "$merged" "corpus/$target" && chmod 755 "corpus/$target"
        echo "$target: $(ls "corpus/$target" | wc -l) inputs, $(du -bs "corpus/$target" | cut -f1) bytes"
        continue
    fi
    "${fuzzer[@]}" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 -artifact_prefix="corpus/$target/" \
        "$found" "corpus/$target" 2>"$log" || { failed=1 && grep -A30 -E 'panicked|ERROR|SUMMARY' "$log" >&2 || true; }
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "$target: ${runs:-no} executions, $(grep -o 'cov: [0-9]* ft: [0-9]*' "$log" | tail -1)"
done
exit $failed
