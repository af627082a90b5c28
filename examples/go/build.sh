#!/usr/bin/env bash
# Generates the messages from the protos and builds the example: `bash examples/go/build.sh`.
set -euo pipefail
cd "$(dirname "$0")"
proto=$(realpath ../../proto)

# The plugins' versions are in go.mod; `go tool -n` builds them and says where they are.
plugins=(--plugin=protoc-gen-go="$(go tool -n protoc-gen-go)"
    --plugin=protoc-gen-go-grpc="$(go tool -n protoc-gen-go-grpc)")
package=caravan.example/caravanv1
options=()
for file in "$proto"/caravan/v1/*.proto; do
    name=${file#"$proto"/}
    options+=(--go_opt="M$name=$package" --go-grpc_opt="M$name=$package")
done
behaviour=Mgoogle/api/field_behavior.proto=google.golang.org/genproto/googleapis/api/annotations
options+=(--go_opt="$behaviour" --go-grpc_opt="$behaviour")

rm -rf caravanv1
# shellcheck disable=SC2086 # PROTOC may hold arguments.
${PROTOC:-${PYTHON:-python3} -m grpc_tools.protoc} -I"$proto" "${plugins[@]}" \
    --go_out=. --go_opt=module=caravan.example --go-grpc_out=. --go-grpc_opt=module=caravan.example \
    "${options[@]}" "$proto"/caravan/v1/*.proto
go build -o batch .
