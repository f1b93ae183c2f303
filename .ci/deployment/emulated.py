#!/usr/bin/env python3
"""Runs a bootstrap under a Runtime API and checks its answers.

    emulated.py BOOTSTRAP [COMMAND…]     COMMAND runs the bootstrap, such as qemu-aarch64-static

The back ends are ministack's. Deliveries: a new event, its duplicate, a conflict, a forgery, a body of 256 KiB,
a body that is no event, a health check, and the record read back.
"""

import base64
import hashlib
import hmac
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from deployment.cargo_lambda import deployed  # noqa: E402
from deployment.emulator import ROOT, Emulator, Failed, check  # noqa: E402
from deployment.stack import event  # noqa: E402


class RuntimeApi:
    """Lambda's Runtime API ("Using the Lambda runtime API for custom runtimes"), one invocation at a time."""

    def __init__(self):
        self.invocations, self.answers = queue.Queue(), queue.Queue()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = json.dumps(api.invocations.get()).encode()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
                # Emulation is slow, and its times mean nothing.
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + 60) * 1000)))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:f")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                api.answers.put((self.path.rsplit("/", 1)[1], self.read()))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def read(self):
                """The body, which the runtime may send in chunks."""
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # The end of the function closes its connection.
        self.server.handle_error = lambda *_: None
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self.server.server_port}"

    def invoke(self, method, resource, path, body=None, signature=None):
        """Status and JSON of the answer to a request as API Gateway passes it on."""
        request = json.loads((ROOT / "tests/events/rest.json").read_text())
        request |= {"resource": resource, "path": path, "httpMethod": method, "isBase64Encoded": True}
        request["body"] = base64.b64encode(body).decode() if body is not None else None
        for headers in (request["headers"], request["multiValueHeaders"]):
            value = headers.pop("X-Sonotheia-Signature")
            if signature:
                headers["X-Sonotheia-Signature"] = signature if isinstance(value, str) else [signature]
        request["requestContext"] |= {"resourcePath": resource, "httpMethod": method, "path": "/live" + path}
        if "{" in resource:
            request["pathParameters"] = {resource.split("{")[1].rstrip("}"): path.rsplit("/", 1)[1]}
        self.invocations.put(request)
        kind, answer = self.answers.get(timeout=60)
        check(kind == "response", f"{method} {path}: {kind} {answer!r}")
        answer = json.loads(answer)
        return answer["statusCode"], json.loads(answer["body"])


def answers(api, secret):
    def deliver(body, key=secret):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return api.invoke("POST", "/webhook", "/webhook", body, hmac.new(key.encode(), body, hashlib.sha256).hexdigest())

    first = event("event-1")
    largest = event("event-largest")
    largest["data"]["note"] = "x" * (262_144 - len(json.dumps(largest)) - len(', "note": ""'))
    check(len(json.dumps(largest)) == 262_144, "the largest body has 256 KiB")
    for name, (status, answer), wanted in [
        ("a new event", deliver(first), (200, {"duplicate": False})),
        ("its duplicate", deliver(first), (200, {"duplicate": True})),
        ("a conflict", deliver(event("event-1", 0.6)), (409, {"code": "event_conflict"})),
        ("a forgery", deliver(event("event-2"), "another secret"), (401, {"code": "invalid_signature"})),
        ("no signature", api.invoke("POST", "/webhook", "/webhook", b"{}"), (401, {"code": "invalid_signature"})),
        ("256 KiB", deliver(largest), (200, {"duplicate": False})),
        ("one byte more", deliver(b" " * 262_145), (413, {"code": "payload_too_large"})),
        ("no event", deliver(b"\x00\xff"), (400, {"code": "invalid_event"})),
        ("health", api.invoke("GET", "/health", "/health"), (200, {"status": "ok"})),
        ("the record", api.invoke("GET", "/events/{event_id}", "/events/event-1"), (200, {"data": first["data"]})),
        ("no record", api.invoke("GET", "/events/{event_id}", "/events/event-2"), (404, {"code": "not_found"})),
    ]:
        got = (status, {member: answer.get(member) for member in wanted[1]})
        check(got == wanted, f"{name}: {status} {answer}")
        print(f"{name}: {status}, as it should be", flush=True)


def main():
    bootstrap, *command = sys.argv[1:] or sys.exit("usage: emulated.py BOOTSTRAP [COMMAND…]")
    with tempfile.TemporaryDirectory() as folder:
        emulator = Emulator(Path(folder))
        process = None
        try:
            base = deployed("emulated", "infra/cargo-lambda.yaml")
            value = boto3.client("secretsmanager").get_secret_value(SecretId=base["SecretArn"])
            api = RuntimeApi()
            process = subprocess.Popen(
                [*command, bootstrap],
                env={
                    **{name: value for name, value in os.environ.items() if name.startswith("AWS_")},
                    "AWS_REGION": "us-east-1",
                    "AWS_LAMBDA_RUNTIME_API": api.address,
                    "AWS_LAMBDA_FUNCTION_NAME": "f",
                    "AWS_LAMBDA_FUNCTION_VERSION": "1",
                    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
                    "AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH": "true",
                    "EVENTS_TABLE": base["EventsTableName"],
                    "SONOTHEIA_WEBHOOK_SECRET_ARN": base["SecretArn"],
                },
                stdout=subprocess.DEVNULL,
            )
            answers(api, json.loads(value["SecretString"])["webhook_secret"])
        finally:
            if process:
                process.kill()
                process.wait()
            emulator.end()


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"emulated: {failure}")
