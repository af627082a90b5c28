"""Requests that nobody should send, each with the error that it is answered with: `tests/bad-input`, a file each group,
a JSON object each request. No error says anything of the inside."""

import json
import re
import socket
import urllib.parse

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from conftest import ROOT, SECONDS, until

CORPUS = ROOT / "tests/bad-input"
# Paths of this machine, SQL, Rust's own words.
INSIDE = re.compile(r"/(home|root|tmp|var|usr|work)/|\bSELECT\b|sqlx|panicked|\.rs\b|backtrace|RUST_", re.IGNORECASE)
STREAMS = {"WatchBatch", "StreamResults", "DownloadFile", "EnsureModel"}


def group(name: str) -> list:
    rows = [json.loads(line) for line in (CORPUS / f"{name}.jsonl").read_text().splitlines()]
    return [pytest.param(row, id=f"{name}-{number}") for number, row in enumerate(rows, 1)]


@pytest.fixture(scope="module")
def known(v1, batches, files, upload, data):
    """Names that rows may use as `${name}`: of a file, of batches that have ended, tokens and cursors of theirs."""
    file = upload("bad-input", data[: data.index(b"\n") + 1]).name

    def ended() -> str:
        name = batches.CreateBatch(v1.CreateBatchRequest(batch=v1.Batch(input_file=file)), timeout=SECONDS).name
        state = lambda: batches.GetBatch(v1.GetBatchRequest(name=name), timeout=SECONDS).state
        until(lambda: state() == v1.Batch.STATE_COMPLETED, "the batch ends")
        return name

    batch, other = ended(), ended()
    cursor = lambda name: list(batches.StreamResults(v1.StreamResultsRequest(name=name), timeout=SECONDS))[-1].cursor
    (watched,) = batches.WatchBatch(v1.WatchBatchRequest(name=other), timeout=SECONDS)
    return {
        "file": file.split("/")[1],
        "batch": batch.split("/")[1],
        "cursor": cursor(batch),
        "other_cursor": cursor(other),
        "other_token": watched.resume_token,
    }


def filled(text: str, known: dict) -> str:
    for name, value in known.items():
        text = text.replace(f"${{{name}}}", value)
    return text


@pytest.mark.parametrize("row", [row for name in ("ids", "routes", "batches", "files", "ranges")
                                 for row in group(f"http-{name}")])
def test_over_http(up, known, row):
    address = urllib.parse.urlsplit(up["http"])
    body = bytes.fromhex(row["hex"]) if "hex" in row else filled(row.get("body", ""), known).encode()
    if "repeat" in row:
        body = row["repeat"][0].encode() * row["repeat"][1]
    headers = {"Host": address.netloc, "Connection": "close", "Content-Length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in (headers | row.get("headers", {})).items()]
    path = filled(row["path"], known)
    head = "\r\n".join([f"{row['method']} {path} HTTP/1.1", *lines, "", ""])
    with socket.create_connection((address.hostname, address.port), timeout=SECONDS) as connection:
        try:
            connection.sendall(head.encode() + body)
        except ConnectionError:
            pass  # Answered before all of it was read.
        answer = connection.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    told = (int(head.split()[1]), error["code"], error["param"])
    assert told == (row["status"], row["code"], row.get("param")), error
    assert error["type"] == "invalid_request_error"
    assert not INSIDE.search(error["message"].replace(path, "")), error


@pytest.mark.parametrize("row", group("grpc"))
def test_over_grpc(channel, v1, known, row):
    service, rpc = row["rpc"].split("/")
    kind = getattr(v1, f"{rpc}Request")
    if "hex" in row:
        messages, encode = [bytes.fromhex(row["hex"])], bytes
    else:
        messages = [json_format.ParseDict(json.loads(filled(json.dumps(m), known)), kind()) for m in row["messages"]]
        encode = kind.SerializeToString
    path = f"/caravan.v1.{service}/{rpc}"
    with pytest.raises(grpc.RpcError) as raised:
        if rpc == "UploadFile":
            channel.stream_unary(path, request_serializer=encode)(iter(messages), timeout=SECONDS)
        elif rpc in STREAMS:
            list(channel.unary_stream(path, request_serializer=encode)(messages[0], timeout=SECONDS))
        else:
            channel.unary_unary(path, request_serializer=encode)(messages[0], timeout=SECONDS)
    reason, fields = "", []
    for detail in rpc_status.from_call(raised.value).details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad):
            fields = [violation.field for violation in bad.field_violations]
    assert (raised.value.code().name, reason) == (row["code"], row["reason"]), raised.value
    assert fields == [row["field"]] if "field" in row else True, fields
    assert not INSIDE.search(raised.value.details()), raised.value


def test_there_are_enough_of_them():
    assert sum(len(path.read_text().splitlines()) for path in CORPUS.glob("*.jsonl")) >= 200
