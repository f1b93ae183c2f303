"""ministack, an emulator of AWS, in a process of its own."""

import http.client
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent


class Failed(Exception):
    """A check that did not hold."""


def check(holds, what):
    if not holds:
        raise Failed(what)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Emulator:
    """The running emulator."""

    def __init__(self, folder):
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.log = open(folder / "ministack.log", "w+")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "PATH": f"{TOOLS}:{os.environ['PATH']}",
        }
        server = {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            # The emulator passes this on to the functions.
            "AWS_ENDPOINT_URL": self.endpoint,
        }
        self.process = subprocess.Popen(
            [TOOLS / "ministack"], env={**self.environment, **server}, stdout=self.log, stderr=self.log, cwd=folder
        )
        self.environment["AWS_ENDPOINT_URL"] = self.endpoint
        os.environ.update({k: v for k, v in self.environment.items() if k.startswith("AWS_")})
        for _ in range(120):
            try:
                if self.request("GET", "/_ministack/health")[0] == 200:
                    return
            except OSError:
                pass
            check(self.process.poll() is None, "ministack ended")
            time.sleep(0.25)
        raise Failed("ministack does not answer")

    def request(self, method, path, body=None, headers=None):
        """Sends the path unchanged. Returns status, headers and body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def tail(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.readlines()[-60:]

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
