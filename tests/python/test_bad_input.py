"""Requests that nobody should send, each with the error that it is answered with: `tests/bad-input`, a file each group,
a JSON object each request. No error says anything of the inside."""

import grpc
import pytest

from asking import CORPUS, INSIDE, error_of, filled, group, over_grpc, over_http
from conftest import SECONDS, until


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


@pytest.mark.parametrize("row", [row for name in ("ids", "routes", "batches", "files", "ranges")
                                 for row in group(f"http-{name}")])
def test_over_http(up, known, row):
    answer = over_http(up["http"], row, known)
    error = answer.body["error"]
    assert (answer.status, error["code"], error["param"]) == (row["status"], row["code"], row.get("param")), error
    assert error["type"] == "invalid_request_error"
    assert not INSIDE.search(error["message"].replace(filled(row["path"], known), "")), error


@pytest.mark.parametrize("row", group("grpc"))
def test_over_grpc(channel, v1, known, row):
    with pytest.raises(grpc.RpcError) as raised:
        over_grpc(channel, v1, row, known)
    error = error_of(raised.value)
    assert (error.code, error.reason) == (row["code"], row["reason"]), error
    assert error.fields == [row["field"]] if "field" in row else True, error
    assert not INSIDE.search(error.message), error


@pytest.mark.parametrize("service", ["FileService", "BatchService", "FleetService", "AccessService"])
def test_every_rpc_says_that_it_cannot_read(channel, v1, service):
    """What the comment on each service lists as errors of every RPC, as far as a request can bring them about."""
    gzip, long = {"compression": grpc.Compression.Gzip}, bytes(41 << 20)
    bad = [(b"\xff", {}, "INVALID_ARGUMENT"), (long, {}, "INVALID_ARGUMENT"), (b"\x0a" * 64, gzip, "UNIMPLEMENTED")]
    rpcs = list(vars(getattr(v1, f"{service}Stub")(channel)))
    asked = [(rpc, *how) for rpc in rpcs for how in bad] + [("NoSuchMethod", b"", {}, "UNIMPLEMENTED")]
    for rpc, request, how, expected in asked:
        call = channel.stream_stream(f"/caravan.v1.{service}/{rpc}", request_serializer=bytes)
        with pytest.raises(grpc.RpcError) as raised:
            list(call(iter([request]), timeout=SECONDS, **how))
        error = error_of(raised.value)
        assert (error.code, error.reason) == (expected, expected), (rpc, error)
        assert not INSIDE.search(error.message), error


def test_there_are_enough_of_them():
    assert sum(len(path.read_text().splitlines()) for path in CORPUS.glob("*.jsonl")) >= 200
