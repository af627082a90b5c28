"""A planner and a gateway that ask who calls, what one tenant has, and how another one knows of it."""

import base64
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from google.protobuf import timestamp_pb2

from conftest import PROGRAMS, SECONDS, until
from issuer import Issuer

# Roles by the name of a key that has them; all are of the tenant `other`, who reaches for what `acme` has.
GOOD = ["SUBMIT", "READ"]
ROLES = {"good": GOOD, "reads": ["READ"], "submits": ["SUBMIT"], "admin": ["ADMIN"], "executor": ["EXECUTOR"]}


class Guarded:
    def __init__(self, start, directory: Path, v1, issuer: Issuer):
        self.v1 = v1
        identity = "[telemetry]\nfilter = 'debug'\n[identity]\nmode = 'required'\nkey_cache_seconds = 1\n"
        planner = directory / "guarded-planner.toml"
        planner.write_text(f"listen = '127.0.0.1:0'\ndata_dir = '{directory / 'guarded'}'\n{identity}")
        self.keys = {role: first_key(planner, role) for role in ("admin", "gateway")}
        self.planner = start("caravan-planner", "--config", str(planner))["grpc"]
        shown, gateway = directory / "guarded-gateway.key", directory / "guarded-gateway.toml"
        shown.write_text(self.keys["gateway"])
        ports = f"listen = '127.0.0.1:0'\nhttp_listen = '127.0.0.1:0'\nplanner = ['{self.planner}']\n"
        gateway.write_text(f"{ports}[client]\ntoken_file = '{shown}'\n{identity}{issuer.config()}")
        self.gateway = start("caravan-gateway", "--config", str(gateway))
        self.channels = {
            "gateway": grpc.insecure_channel(self.gateway["grpc"].removeprefix("http://")),
            "planner": grpc.insecure_channel(self.planner.removeprefix("http://")),
        }

    def end(self):
        for channel in self.channels.values():
            channel.close()

    def client(self, key: str) -> SimpleNamespace:
        """The gateway's services for the holder of a key: each method takes a request, or several."""
        channel, metadata = self.channels["gateway"], [("authorization", f"Bearer {key}")]
        stubs = [getattr(self.v1, f"{name}ServiceStub")(channel) for name in ("File", "Batch", "Access")]
        methods = {name: method for stub in stubs for name, method in vars(stub).items()}
        bound = lambda method: lambda request: method(request, metadata=metadata, timeout=SECONDS)
        return SimpleNamespace(**{name: bound(method) for name, method in methods.items()})

    def key(self, tenant: str, roles: list[str], **more):
        """A new key, as the admin is answered."""
        roles = [f"ROLE_{role}" for role in roles]
        key = self.v1.Key(tenant=tenant, roles=roles, display_name="test", **more)
        return self.client(self.keys["admin"]).CreateKey(self.v1.CreateKeyRequest(key=key))

    def credentials(self) -> dict[str, str]:
        """Keys by name, good ones and those that are of no use any more."""
        keys = {name: self.key("other", roles).secret for name, roles in ROLES.items()}
        revoked = self.key("other", GOOD)
        self.client(self.keys["admin"]).RevokeKey(self.v1.RevokeKeyRequest(name=revoked.key.name))
        soon = timestamp_pb2.Timestamp(seconds=int(time.time()) + 2)
        keys |= {"revoked": revoked.secret, "expired": self.key("other", GOOD, expire_time=soon).secret}
        until(lambda: self.refuses(keys["expired"]), "the key has expired")
        good = keys["good"]
        return keys | {
            "gateway": self.keys["gateway"],
            "other_secret": good[:-1] + ("1" if good.endswith("0") else "0"),
            "no_secret": good[: len("cvn_00000000_")],
            "prefix": good[: len("cvn_00000000")],
            "in_capitals": good.upper(),
            "cut": good[:-1],
            "longer": f"{good}0",
            "huge": f"{good}{'0' * 20_000}",
        }

    def refuses(self, key: str) -> bool:
        try:
            self.client(key).ListFiles(self.v1.ListFilesRequest())
            return False
        except grpc.RpcError as error:
            return error.code() == grpc.StatusCode.UNAUTHENTICATED

    def has(self, tenant: str) -> dict[str, str]:
        """What a tenant has, by the names that rows use: made with a key of its own."""
        v1, client = self.v1, self.client(self.key(tenant, GOOD).secret)
        start = lambda upload: v1.UploadFileRequest(start=v1.UploadStart(upload_id=upload, filename="input.jsonl"))
        chunk = v1.UploadFileRequest(chunk=v1.UploadChunk(data=b"{}\n"))
        finish = v1.UploadFileRequest(finish=v1.UploadFinish())
        file = client.UploadFile(iter([start(f"whole-{tenant}"), chunk, finish])).name
        with pytest.raises(grpc.RpcError, match="without finish"):
            client.UploadFile(iter([start(f"part-{tenant}"), chunk]))
        request = v1.CreateBatchRequest(batch=v1.Batch(input_file=file), request_id=f"request-{tenant}")
        batch = client.CreateBatch(request).name
        ended = lambda: client.GetBatch(v1.GetBatchRequest(name=batch)).state == v1.Batch.STATE_FAILED
        until(ended, "the batch, which has a bad line, ends")
        (watched,) = client.WatchBatch(v1.WatchBatchRequest(name=batch))
        (results,) = client.StreamResults(v1.StreamResultsRequest(name=batch))
        return {
            "file": file.split("/")[1],
            "batch": batch.split("/")[1],
            "whole": f"whole-{tenant}",
            "part": f"part-{tenant}",
            "request": f"request-{tenant}",
            "tenant": tenant,
            "token": watched.resume_token,
            "cursor": results.cursor,
        }


def nobodys(theirs: dict[str, str]) -> dict[str, str]:
    """The same of things that do not exist."""
    changed = lambda name: name[:-12] + "000000000001"
    hexes = lambda name: name.split("_")[1]
    file, batch = changed(theirs["file"]), changed(theirs["batch"])
    inside = base64.urlsafe_b64decode(theirs["cursor"] + "==").decode()
    cursor = base64.urlsafe_b64encode(inside.replace(hexes(theirs["batch"]), hexes(batch)).encode())
    return {
        "file": file,
        "batch": batch,
        "whole": "whole-nemo",
        "part": "part-nemo",
        "request": "request-nemo",
        "tenant": "nemo",
        "token": theirs["token"].replace(hexes(theirs["batch"]), hexes(batch)),
        "cursor": cursor.rstrip(b"=").decode(),
    }


def first_key(config: Path, role: str) -> str:
    """A key that is made on the database itself, while nobody serves it."""
    made = [PROGRAMS / "caravan-planner", "--config", config, "keys", "create", "--role", role, "--name", role]
    return subprocess.run(made, check=True, capture_output=True, text=True).stdout.strip()
