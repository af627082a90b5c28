"""OpenAI's own client, unmodified, against the HTTP port."""

import hashlib
import json
import random
import socket
import urllib.parse
import urllib.request

import httpx
import openai
import pytest

from conftest import REQUESTS, SECONDS, until


@pytest.fixture(scope="module")
def client(up):
    return openai.OpenAI(base_url=f"{up['http']}/v1", api_key="none", timeout=SECONDS, max_retries=0)


@pytest.fixture
def file(client, data):
    return client.files.create(file=("input.jsonl", data), purpose="batch")


def create(client, file, **own):
    return client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"team": "search"},
        extra_body={"x_caravan": {"chunk_limits": {"max_requests": 25}, **own}},
    )


def ended(client, batch):
    def look():
        now = client.batches.retrieve(batch.id)
        return now if now.status in ("completed", "failed", "cancelled", "expired") else None

    return until(look, "the batch ends")


def test_a_batch_goes_all_the_way(client, file, data):
    assert (file.object, file.purpose, file.status) == ("file", "batch", "processed")
    assert (file.filename, file.bytes) == ("input.jsonl", len(data))
    batch = create(client, file, priority=5)
    assert (batch.object, batch.status, batch.input_file_id) == ("batch", "validating", file.id)
    assert (batch.completion_window, batch.metadata) == ("24h", {"team": "search"})
    assert batch.expires_at == batch.created_at + 86_400

    def running():
        now = client.batches.retrieve(batch.id)
        return now if now.status != "validating" else None

    own = until(running, "the batch runs").x_caravan
    assert own["priority"] == 5 and own["progress"]["chunks"] >= REQUESTS / 25
    assert own["plan"]["requests"] == REQUESTS and own["plan"]["chunks"] == own["progress"]["chunks"]

    batch = ended(client, batch)
    assert batch.status == "completed", batch
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (REQUESTS, REQUESTS, 0)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    assert batch.error_file_id is None and batch.errors is None
    assert batch.usage.total_tokens == batch.usage.input_tokens + batch.usage.output_tokens > 0
    assert 0 < batch.x_caravan["cache_share"] < 1

    output = client.files.content(batch.output_file_id).text
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["custom_id"] for line in lines] == [f"r-{number}" for number in range(1, REQUESTS + 1)]
    assert all(line["response"]["body"]["choices"] for line in lines)
    assert client.files.retrieve(batch.output_file_id).purpose == "batch_output"
    assert batch.id in {batch.id for batch in client.batches.list()}


def test_lists_go_on_by_themselves(client, data):
    files = [client.files.create(file=(f"{n}.jsonl", data[:n]), purpose="batch") for n in range(1, 6)]
    ids = [file.id for file in files]
    listed = [file.id for file in client.files.list(limit=2, order="asc") if file.id in ids]
    assert listed == ids, "every page of them"
    listed = [file.id for file in client.files.list(limit=2, purpose="batch") if file.id in ids]
    assert listed == ids[::-1], "newest first"
    page = client.files.list(limit=2, order="asc", after=ids[1])
    assert [file.id for file in page.data] == ids[2:4] and page.has_more
    page = client.files.list(limit=2, order="asc", after=ids[3])
    assert [file.id for file in page.data][:1] == ids[4:]
    assert list(client.files.list(after=ids[0], limit=1, order="asc", purpose="batch_output").data) == []

    batches = [create(client, files[0]).id for _ in range(3)]
    listed = [batch.id for batch in client.batches.list(limit=1) if batch.id in batches]
    assert listed == batches[::-1]
    page = client.batches.list(limit=2, after=batches[2])
    assert [batch.id for batch in page.data] == batches[1::-1]
    for batch in batches:
        ended(client, client.batches.retrieve(batch))


def test_cancelled_is_cancelled_and_keeps_what_is_done(client, file):
    batch = create(client, file)
    assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    batch = ended(client, batch)
    assert batch.status == "cancelled" and batch.cancelled_at
    assert client.batches.cancel(batch.id).status == "cancelled", "an ended one is returned as it is"


def test_bad_lines_fail_the_batch(client):
    file = client.files.create(file=("bad.jsonl", b'{"custom_id": 1}\n'), purpose="batch")
    batch = ended(client, create(client, file))
    assert batch.status == "failed" and batch.failed_at
    assert [(error.line, error.code) for error in batch.errors.data][:1] == [(1, "invalid_type")]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_models_are_those_of_the_fleet(client):
    (model,) = [model for model in client.models.list() if model.id.startswith("simulated")]
    assert client.models.retrieve(model.id) == model
    assert (model.object, model.x_caravan["engines"], model.x_caravan["slots"]) == ("model", 1, 4)
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("nobody/has:this")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_errors_are_of_the_right_class_and_name_the_field(client, file):
    nobody = "0" * 32
    new = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    cases = [
        (openai.NotFoundError, "batch_not_found", None, lambda: client.batches.retrieve(f"batch_{nobody}")),
        (openai.NotFoundError, "batch_not_found", None, lambda: client.batches.cancel("nonsense")),
        (openai.NotFoundError, "file_not_found", None, lambda: client.files.retrieve(f"file_{nobody}")),
        (openai.NotFoundError, "file_not_found", None, lambda: client.files.content("../../etc/passwd")),
        (openai.NotFoundError, "file_not_found", "input_file_id",
         lambda: client.batches.create(**new | {"input_file_id": f"file_{nobody}"})),
        (openai.BadRequestError, "invalid_value", "completion_window",
         lambda: client.batches.create(**new | {"completion_window": "soon"})),
        (openai.BadRequestError, "invalid_value", "endpoint",
         lambda: client.batches.create(**new | {"endpoint": "/v1/images"})),
        (openai.BadRequestError, "invalid_value", "x_caravan.priority",
         lambda: client.batches.create(**new, extra_body={"x_caravan": {"priority": 101}})),
        (openai.BadRequestError, "unknown_parameter", "x_caravan.prioriti",
         lambda: client.batches.create(**new, extra_body={"x_caravan": {"prioriti": 1}})),
        (openai.BadRequestError, "invalid_value", "purpose",
         lambda: client.files.create(file=("a", b"{}"), purpose="fine-tune")),
        (openai.BadRequestError, "invalid_value", "limit", lambda: client.batches.list(limit=101)),
        (openai.BadRequestError, "invalid_value", "after", lambda: client.batches.list(after="nonsense")),
        (openai.NotFoundError, "unknown_url", None,
         lambda: client.chat.completions.create(model="simulated", messages=[])),
    ]
    for kind, code, param, call in cases:
        with pytest.raises(kind) as raised:
            call()
        error = raised.value
        assert (error.code, error.param, error.type) == (code, param, "invalid_request_error"), error


def test_the_same_key_is_the_same_batch(client, file):
    new = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    key = {"extra_headers": {"Idempotency-Key": file.id}}
    first = client.batches.create(**new, **key)
    assert client.batches.create(**new, **key).id == first.id
    with pytest.raises(openai.ConflictError) as raised:
        client.batches.create(**new, metadata={"other": "one"}, **key)
    assert raised.value.code == "request_id_reused"
    client.batches.cancel(first.id)


def test_content_comes_in_ranges(up, client):
    data = random.Random(2).randbytes(3 << 20)
    url = f"{up['http']}/v1/files/{client.files.create(file=data, purpose='batch').id}/content"
    tag = f'"{hashlib.sha256(data).hexdigest()}"'
    last = len(data) - 1
    with httpx.Client(timeout=SECONDS) as http:
        for headers, status, expected in [
            ({}, 200, data),
            ({"Range": "bytes=0-0"}, 206, data[:1]),
            ({"Range": f"bytes=1000-{2 << 20}"}, 206, data[1000 : (2 << 20) + 1]),
            ({"Range": "bytes=-10"}, 206, data[-10:]),
            ({"Range": f"bytes={last}-"}, 206, data[last:]),
            ({"Range": "bytes=5-9", "If-Range": tag}, 206, data[5:10]),
            ({"Range": "bytes=5-9", "If-Range": '"other"'}, 200, data),
            ({"If-None-Match": tag}, 304, b""),
        ]:
            answer = http.get(url, headers=headers)
            assert (answer.status_code, answer.content == expected) == (status, True), headers
            assert answer.headers["etag"] == tag
        part = http.get(url, headers={"Range": "bytes=-10"}).headers
        assert part["content-range"] == f"bytes {last - 9}-{last}/{len(data)}"
        beyond = http.get(url, headers={"Range": f"bytes={len(data)}-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(data)}")
        head = http.head(url)
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(data)), b"")


@pytest.mark.parametrize("form", [
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="cut"\r\n\r\n' + b"x" * (9 << 20),
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="cut"\r\n\r\nx\r\n--b--',
    b'--b\r\nContent-Disposition: form-data; name="fi',
])
def test_what_is_cut_off_leaves_nothing(up, v1, files, form):
    """The head promises more than comes: there is no file, and nothing waits for the rest of one."""
    address = urllib.parse.urlsplit(up["http"])
    head = f"POST /v1/files HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(form) + 10}\r\n"
    head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=SECONDS) as connection:
        connection.sendall(head.encode() + form)
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").readline().split()[1] in (b"400", b"408")
    wanted = v1.ListFilesRequest(page_size=1000)
    until(lambda: "cut" not in {file.filename for file in files.ListFiles(wanted).files}, "it is gone")


def test_the_document_and_curls_url(up, client, file):
    with urllib.request.urlopen(f"{up['http']}/openapi.json") as answer:
        document = json.load(answer)
    assert {"/v1/files", "/v1/batches/{id}/cancel"} <= document["paths"].keys()
    batch = create(client, file)
    with urllib.request.urlopen(f"{up['http']}/v1/batches/{batch.id}") as answer:
        assert json.load(answer)["id"] == batch.id
    client.batches.cancel(batch.id)
