"""Uploads a small batch, watches it over a connection that breaks, and reads each result once.

    python examples/python/batch.py MODEL
"""

import hashlib
import json
import sys
import time
import uuid
from collections import Counter

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from grpc_status import rpc_status

import server

REQUESTS = 40
# Calls without progress before it gives up.
TRIES = 10

v1 = server.messages()


def line(number: int, model: str) -> str:
    messages = [{"role": "system", "content": "You answer in one word."}, {"role": "user", "content": f"Text {number}"}]
    body = {"model": model, "messages": messages, "max_tokens": 8}
    return json.dumps({"custom_id": f"r-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body})


def details(error: grpc.RpcError, kind):
    """The details of this kind that an error has."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        found = kind()
        if detail.Unpack(found):
            yield found


def wait_after(error: grpc.RpcError):
    """Waits for as long as the server asks; raises what no waiting helps against."""
    if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
        raise error
    asked = [info.retry_delay.ToTimedelta().total_seconds() for info in details(error, RetryInfo)]
    time.sleep(asked[0] if asked else 1)


def patiently(call):
    """What `call` gives, which may need several tries."""
    for _ in range(TRIES):
        try:
            return call()
        except grpc.RpcError as error:
            wait_after(error)
    sys.exit("the server cannot be reached")


def upload(files, data: bytes):
    """Uploads `data`; goes on where an interrupted try stood."""
    upload_id = uuid.uuid4().hex

    def parts(offset):
        yield v1.UploadFileRequest(start=v1.UploadStart(upload_id=upload_id, filename="example.jsonl"))
        for at in range(offset, len(data), 1 << 20):
            yield v1.UploadFileRequest(chunk=v1.UploadChunk(offset=at, data=data[at : at + (1 << 20)]))
        yield v1.UploadFileRequest(finish=v1.UploadFinish(sha256=hashlib.sha256(data).hexdigest()))

    def stored():
        try:
            return files.QueryUpload(v1.QueryUploadRequest(upload_id=upload_id))
        except grpc.RpcError as error:
            if "UPLOAD_NOT_FOUND" not in [info.reason for info in details(error, ErrorInfo)]:
                raise
            return v1.QueryUploadResponse()

    def rest():
        so_far = stored()
        if so_far.HasField("file"):
            return so_far.file
        return files.UploadFile(parts(so_far.committed_bytes))

    return patiently(rest)


def resumed(what: str, open_stream):
    """Messages up to the final one. `open_stream` opens the rest of the stream, as often as it breaks; this
    example breaks it itself after the first message."""
    failures, whole = 0, True
    while failures < TRIES:
        call = open_stream()
        try:
            for message in call:
                failures = 0
                yield message
                if message.final:
                    return
                if whole:
                    whole = False
                    print(f"{what}: broken off, resumed")
                    call.cancel()
                    break
        except grpc.RpcError as error:
            failures += 1
            wait_after(error)
    sys.exit("the server cannot be reached")


def watch(batches, name: str):
    """Prints how a batch gets on, to its end."""
    request = v1.WatchBatchRequest(name=name)
    for message in resumed("watch", lambda: batches.WatchBatch(request)):
        request.resume_token = message.resume_token
        event = message.WhichOneof("event")
        batch = message.snapshot if event == "snapshot" else message.delta.batch
        if batch.HasField("requests"):
            print(f"watch: {batch.requests.succeeded + batch.requests.failed} of {batch.requests.total} are final")


def results(batches, name: str):
    """Every result of a batch, once."""
    request = v1.StreamResultsRequest(name=name, follow=True)
    for page in resumed("results", lambda: batches.StreamResults(request)):
        yield from page.results
        request.cursor = page.cursor


def main(model: str):
    with server.channel() as channel:
        files, batches = v1.FileServiceStub(channel), v1.BatchServiceStub(channel)
        data = "".join(line(number, model) + "\n" for number in range(REQUESTS)).encode()
        file = upload(files, data)
        # The same request_id again gives the same batch: a lost answer costs nothing.
        wanted = v1.CreateBatchRequest(batch=v1.Batch(input_file=file.name), request_id=uuid.uuid4().hex)
        batch = patiently(lambda: batches.CreateBatch(wanted))
        watch(batches, batch.name)
        seen = Counter(result.custom_id for result in results(batches, batch.name) if result.succeeded)
        if seen != Counter(f"r-{number}" for number in range(REQUESTS)):
            sys.exit(f"not every request was answered once: {seen}")
        print(f"{batch.name}: {len(seen)} answers, each once")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
