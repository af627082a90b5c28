"""A client in Python, through the gateway, as anybody would write it."""

import hashlib
import json
import queue
import random

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status

from conftest import REQUESTS, SECONDS, until

PIECE = 1 << 20


def reason(call) -> str:
    """`ErrorInfo.reason` of the error that `call` ends with."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    status = rpc_status.from_call(raised.value)
    infos = []
    for detail in status.details if status else []:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            infos.append(info)
    assert [info.domain for info in infos] == ["caravan"], raised.value
    return infos[0].reason


def test_reflection_and_health_name_the_services(channel):
    # The messages of v1 are those of v1alpha, for which Python has classes.
    reflect = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    (answer,) = reflect(asked, timeout=SECONDS)
    services = {service.name for service in answer.list_services_response.service}
    public = {"caravan.v1.AccessService", "caravan.v1.BatchService", "caravan.v1.FileService", "caravan.v1.FleetService"}
    assert public <= services
    assert "caravan.v1.WorkService" not in services, "how executors get work is not public"

    health = health_pb2_grpc.HealthStub(channel)
    for name in public:
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_an_upload_that_was_cut_is_resumed(v1, files, upload):
    data = random.Random(1).randbytes(10 * PIECE + 1)
    wire = queue.Queue()
    wire.put(v1.UploadFileRequest(start=v1.UploadStart(upload_id="cut", filename="noise")))
    for at in range(0, 9 * PIECE, PIECE):
        wire.put(v1.UploadFileRequest(chunk=v1.UploadChunk(offset=at, data=data[at : at + PIECE])))
    cut = files.UploadFile.future(iter(wire.get, None), timeout=SECONDS)

    def stored() -> int:
        try:
            query = v1.QueryUploadRequest(upload_id="cut")
            return files.QueryUpload(query, timeout=SECONDS).committed_bytes
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND
            return 0

    until(stored, "a part of the upload is stored")
    cut.cancel()
    wire.put(None)

    assert reason(lambda: upload("cut", data, 10 * PIECE)) == "OFFSET_MISMATCH"

    def resumed():
        """The file; nothing while the server still keeps what came of the stream that was cut."""
        offset = stored()
        assert 0 < offset <= 9 * PIECE
        try:
            return upload("cut", data, offset)
        except grpc.RpcError as error:
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OUT_OF_RANGE), error
            return None

    file = until(resumed, "the upload is resumed")
    assert file.state == v1.File.STATE_READY
    assert (file.size_bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert reason(lambda: upload("cut", data)) == "UPLOAD_COMPLETE"

    half = len(data) // 2
    pieces = files.DownloadFile(v1.DownloadFileRequest(name=file.name, offset=half), timeout=SECONDS)
    assert b"".join(piece.data for piece in pieces) == data[half:]


class Watcher:
    """Watches a batch, and holds it to its promises."""

    def __init__(self, v1, batches, name):
        self.v1, self.batches, self.name = v1, batches, name
        self.batch, self.token, self.ended = v1.Batch(), "", False

    def watch(self, enough) -> None:
        """Until `enough(batch)` or the final message; then the stream is dropped."""
        request = self.v1.WatchBatchRequest(name=self.name, resume_token=self.token)
        stream = self.batches.WatchBatch(request, timeout=SECONDS)
        for message in stream:
            before = self.counts()
            self.take(message)
            assert all(was <= now for was, now in zip(before, self.counts())), "a count went back"
            if self.ended or enough(self.batch):
                break
        stream.cancel()

    def take(self, message) -> None:
        self.token, self.ended = message.resume_token, message.final
        match message.WhichOneof("event"):
            case "snapshot":
                self.batch.CopyFrom(message.snapshot)
            case "delta":
                for field in message.delta.update_mask.paths:
                    self.batch.ClearField(field)
                self.batch.MergeFrom(message.delta.batch)

    def counts(self) -> tuple[int, ...]:
        batch = self.batch
        return batch.requests.succeeded, batch.requests.failed, batch.chunks.done, batch.revision


def test_a_watch_that_was_dropped_misses_nothing(v1, batches, batch):
    watcher = Watcher(v1, batches, batch.name)
    watcher.watch(lambda batch: batch.requests.succeeded > 0)
    assert 0 < watcher.batch.requests.succeeded < REQUESTS, "the watch was not dropped in the middle"
    seen = watcher.batch.requests.succeeded

    watcher.watch(lambda batch: batch.requests.succeeded > seen)
    watcher.watch(lambda batch: False)
    assert watcher.ended
    final = batches.GetBatch(v1.GetBatchRequest(name=batch.name), timeout=SECONDS)
    assert watcher.batch == final, "the deltas do not add up to the batch"
    assert final.state == v1.Batch.STATE_COMPLETED
    counts = final.requests
    assert (counts.total, counts.succeeded, counts.failed) == (REQUESTS, REQUESTS, 0)
    assert final.chunks.done == final.chunks.total >= REQUESTS / 25


def results(v1, batches, name, order, cursor="", most=REQUESTS):
    """Results from a cursor on until there are `most` or no more; the next cursor; whether it was the end."""
    request = v1.StreamResultsRequest(name=name, order=order, cursor=cursor, follow=True)
    stream = batches.StreamResults(request, timeout=SECONDS)
    found = []
    for message in stream:
        found += message.results
        cursor = message.cursor
        if message.final:
            return found, cursor, True
        if len(found) >= most:
            break
    stream.cancel()
    return found, cursor, False


def test_results_stream_while_the_batch_runs_each_once(v1, batches, batch):
    order = v1.StreamResultsRequest.ORDER_COMMITTED
    first, cursor, ended = results(v1, batches, batch.name, order, most=1)
    assert first and not ended, "nothing came before the end"
    state = batches.GetBatch(v1.GetBatchRequest(name=batch.name), timeout=SECONDS).state
    assert state == v1.Batch.STATE_RUNNING
    second, cursor, _ = results(v1, batches, batch.name, order, cursor, most=1)
    rest, cursor, ended = results(v1, batches, batch.name, order, cursor, most=REQUESTS + 1)
    assert ended
    every = first + second + rest
    assert sorted(result.line for result in every) == list(range(1, REQUESTS + 1))
    assert all(result.succeeded and result.custom_id == f"r-{result.line}" for result in every)
    assert results(v1, batches, batch.name, order, cursor) == ([], cursor, True)


def test_results_come_in_input_order_as_in_the_output_file(v1, batches, files, batch):
    order = v1.StreamResultsRequest.ORDER_INPUT
    first, cursor, ended = results(v1, batches, batch.name, order, most=1)
    rest = []
    if not ended:
        rest, cursor, ended = results(v1, batches, batch.name, order, cursor, most=REQUESTS + 1)
    assert ended
    lines = [result.json for result in first + rest]
    assert [result.line for result in first + rest] == list(range(1, REQUESTS + 1))

    final = batches.GetBatch(v1.GetBatchRequest(name=batch.name), timeout=SECONDS)
    pieces = files.DownloadFile(v1.DownloadFileRequest(name=final.output_file), timeout=SECONDS)
    output = b"".join(piece.data for piece in pieces).decode()
    assert output.splitlines() == lines
    assert all(json.loads(line)["response"]["status_code"] == 200 for line in lines)
    assert final.error_file == ""


def test_a_batch_is_paused_cancelled_and_retried(v1, batches, batch):
    def state() -> int:
        return batches.GetBatch(v1.GetBatchRequest(name=batch.name), timeout=SECONDS).state

    batches.PauseBatch(v1.PauseBatchRequest(name=batch.name), timeout=SECONDS)
    until(lambda: state() == v1.Batch.STATE_PAUSED, "the batch is paused")
    batches.ResumeBatch(v1.ResumeBatchRequest(name=batch.name), timeout=SECONDS)
    assert state() != v1.Batch.STATE_PAUSED
    batches.CancelBatch(v1.CancelBatchRequest(name=batch.name), timeout=SECONDS)
    until(lambda: state() == v1.Batch.STATE_CANCELLED, "the batch is cancelled")
    old = batches.GetBatch(v1.GetBatchRequest(name=batch.name), timeout=SECONDS)
    again = v1.RetryBatchRequest(name=old.name, kinds=[v1.RetryBatchRequest.KIND_CANCELLED], request_id=old.name)
    new = batches.RetryBatch(again, timeout=SECONDS)
    assert batches.RetryBatch(again, timeout=SECONDS).name == new.name
    assert new.retried_from == old.name
    watcher = Watcher(v1, batches, new.name)
    watcher.watch(lambda batch: False)
    ended = watcher.batch
    assert ended.state == v1.Batch.STATE_COMPLETED
    assert ended.requests.total == REQUESTS - old.requests.succeeded
    pause = v1.PauseBatchRequest(name=ended.name)
    assert reason(lambda: batches.PauseBatch(pause, timeout=SECONDS)) == "BATCH_ENDED"


def test_errors_say_their_reason(v1, batches, files, batch):
    nobody = "batches/batch_" + "0" * 32
    nothing = "files/file_" + "0" * 32
    calls = {
        "BATCH_NOT_FOUND": lambda: batches.GetBatch(v1.GetBatchRequest(name=nobody), timeout=SECONDS),
        "FILE_NOT_FOUND": lambda: batches.CreateBatch(
            v1.CreateBatchRequest(batch=v1.Batch(input_file=nothing)), timeout=SECONDS
        ),
        "UPLOAD_NOT_FOUND": lambda: files.QueryUpload(
            v1.QueryUploadRequest(upload_id="never"), timeout=SECONDS
        ),
        "INVALID_ARGUMENT": lambda: batches.ListBatches(
            v1.ListBatchesRequest(page_size=-1), timeout=SECONDS
        ),
        "INVALID_RESUME_TOKEN": lambda: list(
            batches.WatchBatch(v1.WatchBatchRequest(name=batch.name, resume_token="?"), timeout=SECONDS)
        ),
        "INVALID_CURSOR": lambda: list(
            batches.StreamResults(v1.StreamResultsRequest(name=batch.name, cursor="?"), timeout=SECONDS)
        ),
    }
    assert {name: reason(call) for name, call in calls.items()} == {name: name for name in calls}
