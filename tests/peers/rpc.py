"""Both ends of gRPC, by grpcio.

    rpc.py serve [CERT KEY]             prints its port, then serves until its input ends
    rpc.py call TARGET CASE... [ca=FILE] [name=HOST]
                                        makes the calls of these cases and prints what came of each
    rpc.py load TARGET CALLS            so many unary calls, eight at a time; prints the codes

Messages are bytes as they are: no protobuf.
"""

import json
import os
import sys
import threading
import time
from concurrent import futures

import grpc

SERVICE = "pointsman.test.Echo"
LARGE = 1 << 20
OPTIONS = [("grpc.max_receive_message_length", 8 << 20), ("grpc.enable_retries", 0)]


class Calls(grpc.GenericRpcHandler):
    def service(self, details):
        service, _, method = details.method.removeprefix("/").partition("/")
        if service == "grpc.health.v1.Health" and method == "Check":
            # HealthCheckResponse with status SERVING.
            return grpc.unary_unary_rpc_method_handler(lambda asked, context: b"\x08\x01")
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "ClientStream": grpc.stream_unary_rpc_method_handler(self.client_stream),
            "ServerStream": grpc.unary_stream_rpc_method_handler(self.server_stream),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "FailLate": grpc.unary_stream_rpc_method_handler(self.fail_late),
            "Sleep": grpc.unary_unary_rpc_method_handler(self.sleep),
            "Wait": grpc.unary_stream_rpc_method_handler(self.wait),
            "Cancelled": grpc.unary_unary_rpc_method_handler(self.cancelled),
            "Remaining": grpc.unary_unary_rpc_method_handler(self.remaining),
        }
        return handlers.get(method) if service == SERVICE else None

    cancels = 0

    def unary(self, asked, context):
        given = dict(context.invocation_metadata())
        if "x-echo" in given:
            context.send_initial_metadata((("x-echo", given["x-echo"]),))
            context.set_trailing_metadata((("x-echo-bin", given["x-echo-bin"]),))
        return asked

    def client_stream(self, asked, context):
        return str(sum(len(message) for message in asked)).encode()

    def server_stream(self, asked, context):
        for size in asked.decode().split(","):
            yield b"x" * int(size)

    def both(self, asked, context):
        for message in asked:
            yield message

    def fail(self, asked, context):
        context.set_trailing_metadata((("x-why", "asked for"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "\t\nno — ☺\r\n")

    def fail_late(self, asked, context):
        yield b"first"
        context.abort(grpc.StatusCode.DATA_LOSS, "late")

    def sleep(self, asked, context):
        time.sleep(float(asked))
        return b"slept"

    def wait(self, asked, context):
        ended = threading.Event()

        def end():
            Calls.cancels += 1
            ended.set()

        # Whether this is asked for more after a cancel is a matter of luck.
        context.add_callback(end)
        yield b"begun"
        ended.wait()

    def cancelled(self, asked, context):
        return str(Calls.cancels).encode()

    def remaining(self, asked, context):
        left = context.time_remaining()
        return b"none" if left is None or left > 1e6 else b"some"


def serve(pair):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64), options=OPTIONS)
    server.add_generic_rpc_handlers((Calls(),))
    if pair:
        cert, key = (open(name, "rb").read() for name in pair)
        credentials = grpc.ssl_server_credentials([(key, cert)])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    # Calls that still sleep are not waited for.
    os._exit(0)


class Client:
    def __init__(self, channel):
        self.channel = channel

    def method(self, kind, name, service=SERVICE):
        return getattr(self.channel, kind)(f"/{service}/{name}")

    def unary(self):
        return self.method("unary_unary", "Unary")(b"hello").decode()

    def empty(self):
        return self.method("unary_unary", "Unary")(b"").decode()

    def large(self):
        sent = b"x" * LARGE
        return self.method("unary_unary", "Unary")(sent) == sent

    def metadata(self):
        metadata = (("x-echo", "initial"), ("x-echo-bin", b"\x00\xff\xab"))
        call = self.method("unary_unary", "Unary")
        _, call = call.with_call(b"", metadata=metadata)
        initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
        return [initial.get("x-echo"), trailing.get("x-echo-bin", b"").hex()]

    def client_stream(self):
        pieces = (b"x" * size for size in (27182, 8, 1828, 45904))
        return self.method("stream_unary", "ClientStream")(pieces).decode()

    def server_stream(self):
        answers = self.method("unary_stream", "ServerStream")(b"31415,9,2653,58979")
        return [len(answer) for answer in answers]

    def both(self):
        """Each message is sent only when the one before has come back."""
        turn = threading.Semaphore(1)

        def asked():
            for number in range(100):
                turn.acquire()
                yield str(number).encode()

        answers = []
        for answer in self.method("stream_stream", "Both")(asked()):
            answers.append(int(answer))
            turn.release()
        return answers == list(range(100))

    def empty_stream(self):
        return [answer.decode() for answer in self.method("stream_stream", "Both")(iter(()))]

    def fail(self):
        return self.method("unary_unary", "Fail")(b"")

    def fail_late(self):
        seen = []
        try:
            for answer in self.method("unary_stream", "FailLate")(b""):
                seen.append(answer.decode())
        except grpc.RpcError as error:
            return [seen, error.code().name, error.details()]

    def no_method(self):
        return self.method("unary_unary", "Nothing")(b"")

    def no_service(self):
        return self.method("unary_unary", "Unary", "pointsman.test.Nothing")(b"")

    def no_route(self):
        return self.method("unary_unary", "Unary", "nowhere.Service")(b"")

    def down(self):
        return self.method("unary_unary", "Unary", "down.Service")(b"")

    def too_large(self):
        return self.method("unary_unary", "Unary", "small.Service")(b"x" * LARGE)

    def slow(self):
        return self.method("unary_unary", "Sleep", "slow.Service")(b"60")

    def deadline(self):
        try:
            return self.method("unary_unary", "Sleep")(b"60", timeout=0.5)
        except grpc.RpcError as error:
            return error.code().name

    def remaining(self):
        call = self.method("unary_unary", "Remaining")
        return [call(b"").decode(), call(b"", timeout=60).decode()]

    def health(self):
        return self.method("unary_unary", "Check", "grpc.health.v1.Health")(b"").hex()

    def cancel(self):
        """The server hears of it."""
        count = self.method("unary_unary", "Cancelled")
        before = int(count(b""))
        call = self.method("unary_stream", "Wait")(b"")
        first = next(call).decode()
        call.cancel()
        end = time.monotonic() + 20
        while int(count(b"")) == before:
            if time.monotonic() > end:
                return "the server did not hear of it"
            time.sleep(0.01)
        return first


def call(target, words):
    given = dict(word.split("=", 1) for word in words if "=" in word)
    options = list(OPTIONS)
    if "ca" in given:
        credentials = grpc.ssl_channel_credentials(open(given["ca"], "rb").read())
        options.append(("grpc.ssl_target_name_override", given["name"]))
        channel = grpc.secure_channel(target, credentials, options)
    else:
        channel = grpc.insecure_channel(target, options)
    client, told = Client(channel), {}
    for case in (word for word in words if "=" not in word):
        try:
            told[case] = getattr(client, case)()
        except grpc.RpcError as error:
            told[case] = [error.code().name, error.details()]
    print(json.dumps(told))


def load(target, calls):
    channel = grpc.insecure_channel(target, OPTIONS)
    unary = channel.unary_unary(f"/{SERVICE}/Unary")

    def one(number):
        try:
            sent = str(number).encode()
            return "OK" if unary(sent, timeout=60) == sent else "WRONG"
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"

    codes = {}
    with futures.ThreadPoolExecutor(max_workers=8) as pool:
        for code in pool.map(one, range(int(calls))):
            codes[code] = codes.get(code, 0) + 1
    print(json.dumps(codes))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "serve":
        serve(arguments)
    elif command == "call":
        call(arguments[0], arguments[1:])
    elif command == "load":
        load(*arguments)
