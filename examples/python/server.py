"""The server's messages and the way to it, from the environment."""

import importlib
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import grpc
from grpc_tools import protoc

PROTO = Path(__file__).parents[2] / "proto"


def messages() -> SimpleNamespace:
    """Messages and stubs of `caravan.v1`, generated from the protos."""
    out = tempfile.mkdtemp()
    protos = sorted(map(str, (PROTO / "caravan/v1").glob("*.proto")))
    known = Path(protoc.__file__).parent / "_proto"
    command = [f"-I{PROTO}", f"-I{known}", f"--python_out={out}", f"--grpc_python_out={out}", *protos]
    if protoc.main(["protoc", *command]) != 0:
        sys.exit("the protos do not compile")
    sys.path.insert(0, out)
    names = ["batch_pb2", "batch_pb2_grpc", "file_pb2", "file_pb2_grpc"]
    modules = [importlib.import_module(f"caravan.v1.{name}") for name in names]
    return SimpleNamespace(**{name: value for module in modules for name, value in vars(module).items()})


def channel() -> grpc.Channel:
    """A channel to the server that the environment names."""
    url = urlsplit(os.environ.get("CARAVAN_SERVER", "http://127.0.0.1:4081"))
    key = os.environ.get("CARAVAN_API_KEY")
    if url.scheme == "http":
        if key:
            sys.exit("CARAVAN_API_KEY is sent over https only: set CARAVAN_SERVER to an https URL")
        return grpc.insecure_channel(url.netloc)
    ca = os.environ.get("CARAVAN_TLS_CA")
    credentials = grpc.ssl_channel_credentials(Path(ca).read_bytes() if ca else None)
    if key:
        # As `authorization: Bearer KEY` with every call.
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(key))
    return grpc.secure_channel(url.netloc, credentials)
