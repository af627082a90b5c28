"""A client that has no protos: what a server tells of itself is enough to call it."""

import hashlib
import json
from base64 import b64encode

import grpc
import pytest
from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha import reflection_pb2

from conftest import SECONDS


class Reflected:
    """Services by name, whose messages are made of what the server tells."""

    def __init__(self, channel: grpc.Channel):
        self.channel = channel
        self.pool = descriptor_pool.DescriptorPool()
        # The messages of v1 are those of v1alpha, for which Python has classes.
        self.reflect = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )

    def ask(self, **question):
        (answer,) = self.reflect(iter([reflection_pb2.ServerReflectionRequest(**question)]), timeout=SECONDS)
        assert not answer.HasField("error_response"), answer.error_response
        return answer

    def services(self) -> list:
        return [service.name for service in self.ask(list_services="").list_services_response.service]

    def load(self, answer):
        """Adds the files of an answer, each after those that it needs."""
        files = map(descriptor_pb2.FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto)
        for file in files:
            for needed in file.dependency:
                self.find(needed)
            self.pool.Add(file)

    def find(self, name: str):
        try:
            return self.pool.FindFileByName(name)
        except KeyError:
            self.load(self.ask(file_by_filename=name))
            return self.pool.FindFileByName(name)

    def service(self, name: str):
        try:
            return self.pool.FindServiceByName(name)
        except KeyError:
            self.load(self.ask(file_containing_symbol=name))
            return self.pool.FindServiceByName(name)

    def call(self, service: str, method: str, *requests: dict):
        """The answers to requests as JSON, each as JSON."""
        found = self.service(service).FindMethodByName(method)
        request, response = map(message_factory.GetMessageClass, (found.input_type, found.output_type))
        wire = self.channel.stream_stream(
            f"/{service}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        for answer in wire((json_format.ParseDict(each, request()) for each in requests), timeout=SECONDS):
            yield json_format.MessageToDict(answer, preserving_proto_field_name=True)


@pytest.fixture
def reflected(channel) -> Reflected:
    return Reflected(channel)


def test_every_public_service_is_told_with_all_that_it_needs(reflected):
    told = [name for name in reflected.services() if name.startswith("caravan.")]
    assert {"caravan.v1.BatchService", "caravan.v1.FileService", "caravan.v1.FleetService"} <= set(told)
    for name in told:
        assert reflected.service(name).methods, name
    assert reflected.find("google/api/field_behavior.proto").package == "google.api"
    # With the options of fields, in bytes: the pool's own classes know no extension.
    options = reflected.pool.FindFieldByName("caravan.v1.CreateBatchRequest.batch").GetOptions()
    options = descriptor_pb2.FieldOptions.FromString(options.SerializeToString())
    assert list(options.Extensions[field_behavior_pb2.field_behavior]) == [field_behavior_pb2.REQUIRED]


def test_a_batch_is_run_without_a_proto(reflected):
    body = {"model": "simulated", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    line = {"custom_id": "only", "method": "POST", "url": "/v1/chat/completions", "body": body}
    data = (json.dumps(line) + "\n").encode()
    # Bytes are base64 in JSON.
    chunk = {"offset": "0", "data": b64encode(data).decode()}
    start = {"upload_id": "reflected", "filename": "input.jsonl"}
    parts = {"start": start}, {"chunk": chunk}, {"finish": {"sha256": hashlib.sha256(data).hexdigest()}}
    (file,) = reflected.call("caravan.v1.FileService", "UploadFile", *parts)

    batches = "caravan.v1.BatchService"
    (created,) = reflected.call(batches, "CreateBatch", {"batch": {"input_file": file["name"]}})
    watched = list(reflected.call(batches, "WatchBatch", {"name": created["name"]}))
    assert "snapshot" in watched[0] and watched[-1]["final"]
    assert all(message["resume_token"] for message in watched)
    (batch,) = reflected.call(batches, "GetBatch", {"name": created["name"]})
    assert (batch["state"], batch["requests"]) == ("STATE_COMPLETED", {"total": "1", "succeeded": "1"})
    (page, *_) = reflected.call(batches, "StreamResults", {"name": created["name"]})
    assert [result["custom_id"] for result in page["results"]] == ["only"]

    with pytest.raises(grpc.RpcError) as refused:
        list(reflected.call(batches, "GetBatch", {"name": "batches/none"}))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
