"""The client examples do what they say, against a kind server and one that fails and breaks streams."""

import os
import shutil
import subprocess
import sys

import pytest

from conftest import ADDRESSES, PROGRAMS, ROOT, SECONDS
from unkind import unkind

EXAMPLES = ROOT / "examples"


def python() -> list:
    return [sys.executable, EXAMPLES / "python/batch.py"]


def node() -> list:
    folder = EXAMPLES / "node"
    # No script of a package is needed.
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    subprocess.run(["npm", "ci", *quiet, "--prefix", folder], check=True)
    return ["node", folder / "batch.js"]


def rust() -> list:
    return [PROGRAMS / "caravan-example"]


def go() -> list:
    # `tool` lines in go.mod came with 1.24; nothing is to fetch a newer toolchain.
    asked = ["go", "env", "GOVERSION"]
    version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout if shutil.which("go") else ""
    if not version or tuple(map(int, version.strip().removeprefix("go").split(".")[:2])) < (1, 24):
        pytest.skip(f"NO GO 1.24 ({version.strip() or 'none'}): the example in Go is not run")
    subprocess.run(["bash", EXAMPLES / "go/build.sh"], check=True, env=os.environ | {"PYTHON": sys.executable, "GOTOOLCHAIN": "local"})
    return [EXAMPLES / "go/batch"]


@pytest.fixture(scope="module", params=[python, node, rust, go], ids=lambda language: language.__name__)
def example(request):
    return request.param()


@pytest.fixture(scope="module")
def guarded(start, directory, engine) -> tuple[str, dict]:
    """The URL of a server that shows a certificate and asks for a key, and what an example is to know of both."""
    folder = directory / "guarded"
    subprocess.run(["bash", ROOT / "deploy/certificates.sh", folder, "localhost"], check=True, capture_output=True)
    planner, config = folder / "planner.toml", folder / "up.toml"
    planner.write_text(f"data_dir = '{folder / 'data'}'\n")
    roles = ["--role", "submit", "--role", "read"]
    made = [PROGRAMS / "caravan-planner", "--config", planner, "keys", "create", "--name", "example", *roles]
    key = subprocess.run(made, check=True, capture_output=True, text=True).stdout.strip()
    shown = f"certificate = '{folder}/localhost.crt'\nkey = '{folder}/localhost.key'\n"
    config.write_text(f"[roles.gateway.identity]\nmode = 'required'\n[roles.gateway.tls]\n{shown}")
    data = ["--config", str(config), "--data-dir", str(folder / "data")]
    served = start("caravan", "up", *data, *engine, *ADDRESSES, name="guarded")
    url = f"https://localhost:{served['grpc'].rsplit(':', 1)[1]}"
    return url, {"CARAVAN_API_KEY": key, "CARAVAN_TLS_CA": str(folder / "ca.crt")}


def run(command: list, server: str, **environment: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"CARAVAN_SERVER": server, "PYTHONDONTWRITEBYTECODE": "1"} | environment
    return subprocess.run(
        [*command, "simulated"], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


@pytest.mark.parametrize("kind", [True, False], ids=["kind", "unkind"])
def test_each_request_is_answered_once_over_broken_connections(example, server, kind):
    if kind:
        done = run(example, server)
    else:
        with unkind(server) as (between, handler):
            done = run(example, between)
        # The first call of each failed, the example broke the second one of a stream, and the server the third.
        unary = {"QueryUpload", "UploadFile", "CreateBatch"}
        calls = {method.rsplit("/", 1)[1]: count for method, count in handler.calls.items()}
        assert all(calls[method] >= 2 for method in unary), calls
        assert calls["WatchBatch"] >= 4 and calls["StreamResults"] >= 4, calls
    assert done.returncode == 0, done.stdout + done.stderr
    assert "watch: broken off, resumed" in done.stdout
    assert "results: broken off, resumed" in done.stdout
    assert "watch: 40 of 40 are final" in done.stdout
    assert done.stdout.rstrip().endswith(": 40 answers, each once"), done.stdout


def test_a_key_is_not_sent_in_the_clear(example, server):
    done = run(example, server, CARAVAN_API_KEY="secret-of-the-test")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "https only" in said and "secret-of-the-test" not in said, said


def test_a_key_is_shown_to_a_server_that_shows_its_certificate(example, guarded):
    server, shown = guarded
    done = run(example, server, **shown)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith(": 40 answers, each once"), done.stdout
    refused = run(example, server, CARAVAN_TLS_CA=shown["CARAVAN_TLS_CA"])
    assert refused.returncode != 0 and "does not say who makes it" in refused.stdout + refused.stderr, refused
