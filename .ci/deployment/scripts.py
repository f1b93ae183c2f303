"""Runs the scripts of infra/ as an operator would, with the real `aws` or with a stub."""

import json
import os
import subprocess
import sys
from pathlib import Path

from .emulator import ROOT, check

STUB = Path(__file__).with_name("stub-aws")


def run(script, *arguments, fails=None, environment=None):
    """Runs a script to its end. With `fails`, it has to fail and say this."""
    done = subprocess.run(
        [ROOT / "infra" / script, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(environment or {})},
    )
    said = done.stdout + done.stderr
    if fails is not None:
        check(done.returncode != 0 and fails in said, f"{script} {arguments} should fail with {fails!r}: {said}")
    else:
        check(done.returncode == 0, f"{script} {arguments}: {said}")
    return said


# The time of a secret's version, as the AWS CLI prints it.
LONG_AGO = "2026-11-24T01:00:00.123000+00:00"


class Stub:
    """A stubbed `aws` on the PATH. `state` says what it answers, and which call it refuses."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        aws = folder / "bin" / "aws"
        aws.write_text(f"#!{sys.executable}\n" + STUB.read_text())
        aws.chmod(0o755)

    def run(self, *arguments, fails=None, previous=None, uses=0, accepted=5, refuse=None, created=LONG_AGO):
        """Runs infra/rotate-secret. Returns the calls that it made, and what it said."""
        state = {"previous": previous, "uses": uses, "accepted": accepted, "refuse": refuse, "created": created}
        calls = self.folder / "calls"
        calls.write_text("")
        (self.folder / "state.json").write_text(json.dumps(state))
        said = run(
            "rotate-secret",
            "receiver",
            *arguments,
            fails=fails,
            environment={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "STUB_FOLDER": str(self.folder),
            },
        )
        return calls.read_text().split("\n")[:-1], said
