"""A server between client and gateway that fails now and then, as real ones do."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

# So many calls at once: an example makes one.
THREADS = 8


def failure(code: grpc.StatusCode):
    """A status that asks to wait for 50 ms."""
    wait = any_pb2.Any()
    wait.Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=50_000_000)))
    return rpc_status.to_status(status_pb2.Status(code=code.value[0], message="on purpose", details=[wait]))


class Unkind(grpc.GenericRpcHandler):
    """Hands every call on, but for the first of each method, and for the third of a stream, which it breaks off where
    its first message should come: the example has broken the second one."""

    def __init__(self, channel: grpc.Channel):
        self.channel = channel
        self.calls = Counter()
        self.lock = threading.Lock()

    def service(self, details):
        method = details.method

        def call(requests, context):
            with self.lock:
                self.calls[method] += 1
                number = self.calls[method]
            if number == 1:
                # One of the two codes that clients wait after, by turns.
                codes = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
                context.abort_with_status(failure(codes[len(self.calls) % 2]))
            upstream = self.channel.stream_stream(method)(requests)
            context.add_callback(upstream.cancel)
            try:
                for message in upstream:
                    if number == 3 and method.endswith(("/WatchBatch", "/StreamResults")):
                        upstream.cancel()
                        context.abort_with_status(failure(grpc.StatusCode.UNAVAILABLE))
                    yield message
            except grpc.RpcError as error:
                context.set_trailing_metadata(error.trailing_metadata())
                context.abort(error.code(), error.details())

        return grpc.stream_stream_rpc_method_handler(call)


@contextmanager
def unkind(url: str):
    """Such a server before the one at `url`; gives its URL, and itself."""
    with grpc.insecure_channel(url.removeprefix("http://")) as channel:
        handler = Unkind(channel)
        server = grpc.server(ThreadPoolExecutor(THREADS), handlers=[handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"http://127.0.0.1:{port}", handler
        finally:
            server.stop(None).wait()
