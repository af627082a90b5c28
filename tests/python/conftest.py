"""Caravan as processes, and clients made from the committed protos."""

import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from grpc_tools import protoc

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
REQUESTS = 400
SECONDS = 60
ADDRESSES = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]


def until(holds, what: str):
    """Polls until `holds()` gives something; gives that."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {SECONDS} s")


@pytest.fixture(scope="session")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("caravan")


@pytest.fixture(scope="session")
def v1(directory):
    """Messages and stubs of `caravan.v1`, generated from proto/."""
    out = directory / "generated"
    out.mkdir()
    protos = sorted((ROOT / "proto/caravan/v1").glob("*.proto"))
    wellknown = Path(protoc.__file__).parent / "_proto"
    command = [f"-I{ROOT / 'proto'}", f"-I{wellknown}", f"--python_out={out}", f"--grpc_python_out={out}"]
    assert protoc.main(["protoc", *command, *map(str, protos)]) == 0
    sys.path.insert(0, str(out))
    parts = [f"{proto.stem}_pb2{kind}" for proto in protos for kind in ("", "_grpc")]
    modules = [importlib.import_module(f"caravan.v1.{part}") for part in parts]
    return SimpleNamespace(**{name: value for module in modules for name, value in vars(module).items()})


@pytest.fixture(scope="session")
def start(directory):
    """Starts a program and gives what its ready file says; all end with the tests. Of one program there may be
    several, by other names."""
    running = []

    def start(program: str, *arguments: str, name: str = "") -> dict:
        name = name or program
        ready, log = directory / f"{name}.json", directory / f"{name}.log"
        with log.open("w") as out:
            command = [PROGRAMS / program, *arguments, "--ready-file", ready]
            process = subprocess.Popen(command, stdout=out, stderr=out)
        running.append(process)

        def is_ready() -> bool:
            assert process.poll() is None, f"{name} ended: {log.read_text()}"
            return ready.exists()

        until(is_ready, f"{name} is ready")
        return json.loads(ready.read_text())

    yield start
    for process in reversed(running):
        process.terminate()
        process.wait(timeout=SECONDS)


@pytest.fixture(scope="session")
def engine(start) -> list[str]:
    """How `caravan up` is told of an engine of 4 slots that takes 50 ms an answer."""
    engine = start("simulated-engine", "--slots", "4", "--answer-ms", "50")
    return ["--engine", f"ollama={engine['http']}", "--slots", "4"]


@pytest.fixture(scope="session")
def up(start, directory, engine) -> dict:
    """Where a Caravan serves."""
    return start("caravan", "up", "--data-dir", str(directory / "data"), *engine, *ADDRESSES)


@pytest.fixture(scope="session")
def server(up) -> str:
    """The URL of its gRPC services."""
    return up["grpc"]


@pytest.fixture(scope="session")
def channel(server):
    with grpc.insecure_channel(server.removeprefix("http://")) as channel:
        yield channel


@pytest.fixture(scope="session")
def files(v1, channel):
    return v1.FileServiceStub(channel)


@pytest.fixture(scope="session")
def batches(v1, channel):
    return v1.BatchServiceStub(channel)


@pytest.fixture(scope="session")
def data():
    """The input: every request with the same system prompt and a text of its own."""
    system = "You answer in one word. " + "The guide goes on at some length. " * 60

    def line(number: int) -> str:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": f"Text {number}."}]
        body = {"model": "simulated", "messages": messages, "max_tokens": 8}
        request = {"custom_id": f"r-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(request)

    return "".join(line(number) + "\n" for number in range(1, REQUESTS + 1)).encode()


@pytest.fixture(scope="session")
def upload(v1, files):
    """Uploads bytes from an offset on, and finishes."""

    def messages(upload_id, data, offset=0):
        yield v1.UploadFileRequest(start=v1.UploadStart(upload_id=upload_id, filename="input.jsonl"))
        for at in range(offset, len(data), 1 << 16):
            yield v1.UploadFileRequest(chunk=v1.UploadChunk(offset=at, data=data[at : at + (1 << 16)]))
        yield v1.UploadFileRequest(finish=v1.UploadFinish(sha256=hashlib.sha256(data).hexdigest()))

    return lambda *what: files.UploadFile(messages(*what), timeout=SECONDS)


@pytest.fixture
def batch(v1, batches, upload, data, request):
    """A batch that has just been created."""
    file = upload(f"{request.node.name}", data)
    wanted = v1.Batch(input_file=file.name, chunk_limits=v1.ChunkLimits(max_requests=25))
    return batches.CreateBatch(v1.CreateBatchRequest(batch=wanted), timeout=SECONDS)
