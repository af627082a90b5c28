"""Requests as rows of `tests/bad-input` have them, sent over HTTP and gRPC, and the errors that come back."""

import json
import re
import socket
import urllib.parse
from types import SimpleNamespace

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from conftest import ROOT, SECONDS

CORPUS = ROOT / "tests/bad-input"
# Paths of this machine, SQL, Rust's own words.
INSIDE = re.compile(r"/(home|root|tmp|var|usr|work)/|\bSELECT\b|sqlx|panicked|\.rs\b|backtrace|RUST_", re.IGNORECASE)
STREAMS = {"WatchBatch", "StreamResults", "DownloadFile", "EnsureModel", "WatchFleet", "FetchModel"}


def group(name: str) -> list:
    rows = [json.loads(line) for line in (CORPUS / f"{name}.jsonl").read_text().splitlines()]
    return [pytest.param(row, id=f"{name}-{number}") for number, row in enumerate(rows, 1)]


def filled(text: str, known: dict) -> str:
    for name, value in known.items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text, text
    return text


def over_http(url: str, row: dict, known: dict, headers: list = ()) -> SimpleNamespace:
    """The answer to a row, with these headers too: `status`, `head`, and `body` as JSON."""
    address = urllib.parse.urlsplit(url)
    body = bytes.fromhex(row["hex"]) if "hex" in row else filled(row.get("body", ""), known).encode()
    if "repeat" in row:
        body = row["repeat"][0].encode() * row["repeat"][1]
    own = {"Host": address.netloc, "Connection": "close", "Content-Length": str(len(body))} | row.get("headers", {})
    lines = [f"{name}: {filled(value, known)}" for name, value in [*own.items(), *headers]]
    head = "\r\n".join([f"{row['method']} {filled(row['path'], known)} HTTP/1.1", *lines, "", ""])
    with socket.create_connection((address.hostname, address.port), timeout=SECONDS) as connection:
        try:
            connection.sendall(head.encode() + body)
        except ConnectionError:
            pass  # Answered before all of it was read.
        answer = connection.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    return SimpleNamespace(status=int(head.split()[1]), head=head.decode(), body=json.loads(body))


def over_grpc(channel, v1, row: dict, known: dict, metadata: list = ()) -> list:
    """The answers to a row; raises its error."""
    service, rpc = row["rpc"].split("/")
    kind = getattr(v1, f"{rpc}Request")
    if "hex" in row:
        messages, encode = [bytes.fromhex(row["hex"])], bytes
    else:
        messages = [json_format.ParseDict(json.loads(filled(json.dumps(m), known)), kind()) for m in row["messages"]]
        encode = kind.SerializeToString
    path, options = f"/caravan.v1.{service}/{rpc}", {"timeout": SECONDS, "metadata": metadata}
    if rpc == "UploadFile":
        return [channel.stream_unary(path, request_serializer=encode)(iter(messages), **options)]
    if rpc in STREAMS:
        return list(channel.unary_stream(path, request_serializer=encode)(messages[0], **options))
    return [channel.unary_unary(path, request_serializer=encode)(messages[0], **options)]


def error_of(raised: grpc.RpcError) -> SimpleNamespace:
    """An error with its `code`, `message`, `reason`, the `facts` that come with it, and the `fields` that are wrong."""
    error = SimpleNamespace(code=raised.code().name, message=raised.details(), reason="", facts={}, fields=[])
    status = rpc_status.from_call(raised)
    for detail in status.details if status else []:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            error.reason, error.facts = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            error.fields = [violation.field for violation in bad.field_violations]
    return error
