"""infra/rotate-secret: a rotation on the emulator, and every read refused by a stub."""

import json
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3

from .emulator import check
from .scripts import Stub, run
from .stack import CACHE_SECONDS, event


def count(stack, metric):
    """Adds to a metric of the receiver: the emulator makes no metrics of the log."""
    dimensions = [{"Name": "Service", "Value": stack.name}]
    boto3.client("cloudwatch").put_metric_data(
        Namespace="SonotheiaWebhook",
        MetricData=[{"MetricName": metric, "Dimensions": dimensions, "Value": 1, "Unit": "Count"}],
    )


def refused(stack, secret, label):
    """The secret signs deliveries no more, once the receiver has looked again.

    Within 30 s of a refresh that a mismatch caused, the receiver may not ask again, and answers 503 until it knows that the
    labels of the versions have not moved.
    """
    time.sleep(CACHE_SECONDS + 1)
    statuses = []
    until = time.monotonic() + 40
    while time.monotonic() < until and 401 not in statuses:
        statuses.append(stack.deliver(event(f"event-{label}-{len(statuses)}"), secret)[0])
        time.sleep(1 if statuses[-1] == 503 else 0)
    check(statuses[-1] == 401 and set(statuses) <= {401, 503}, f"the secret after {label}: {statuses}")


def rotation(stack):
    """Put and retire, with deliveries under both secrets on the way. The stub below tests a retirement that waited."""
    old = stack.secret()
    run("rotate-secret", stack.name, "retire", fails="no previous version")
    said = run("rotate-secret", stack.name, "put")
    new = stack.secret()
    check(new != old and new not in said, "a new secret, and not on the screen")
    for name, secret in [("event-new", new), ("event-old", old), ("event-new", old)]:
        status, _, body = stack.deliver(event(name), secret)
        check(status == 200, f"after put, {name}: {status} {body}")
    run("rotate-secret", stack.name, "put", fails="there is a previous version already")
    count(stack, "Accepted")
    said = run("rotate-secret", stack.name, "status")
    check("signed with the previous one: 0" in said, said)
    # The sender may still retry a delivery that it signed before it switched.
    run("rotate-secret", stack.name, "retire", fails="the new secret is too young")
    run("rotate-secret", stack.name, "retire", "--now")
    refused(stack, old, "retire --now")
    status, _, body = stack.deliver(event("event-new-2"), new)
    check(status == 200, f"the new secret: {status} {body}")


def leak(stack):
    """A thief signs with the previous secret, then with the current one."""
    leaked = stack.secret()
    run("rotate-secret", stack.name, "put")
    count(stack, "PreviousSecretUsed")
    run("rotate-secret", stack.name, "retire", fails="the previous secret signed 1 deliveries")
    run("rotate-secret", stack.name, "retire", "--now")
    refused(stack, leaked, "retire --now")

    leaked = stack.secret()
    said = run("rotate-secret", stack.name, "put", "--now")
    check("Until then its deliveries get 401" in said, said)
    refused(stack, leaked, "put --now")
    status, _, body = stack.deliver(event("event-after-leak"), stack.secret())
    check(status == 200, f"the secret after a leak: {status} {body}")

    with tempfile.TemporaryDirectory() as folder:
        issued = Path(folder) / "issued"
        issued.write_text('Issued by "Sonotheia" \\ 1\n')
        run("rotate-secret", stack.name, "put", "--value-from", str(issued))
    check(stack.secret() == 'Issued by "Sonotheia" \\ 1', stack.secret())
    status, _, body = stack.deliver(event("event-issued"), stack.secret())
    check(status == 200, f"a secret that Sonotheia issued: {status} {body}")


# Command, the state in which it would go on, and the call that is refused.
REFUSALS = [
    (["put"], {}, "describe-stacks SecretArn"),
    (["put"], {}, "describe-stacks SecretCacheSeconds"),
    (["put"], {}, "list-secret-version-ids AWSPREVIOUS"),
    (["put"], {"previous": "version-0"}, "list-secret-version-ids AWSPREVIOUS"),
    (["put"], {}, "get-random-password"),
    (["put"], {}, "put-secret-value"),
    (["put", "--now"], {}, "list-secret-version-ids AWSPREVIOUS"),
    (["status"], {"previous": "version-0"}, "list-secret-version-ids AWSCURRENT"),
    (["status"], {"previous": "version-0"}, "list-secret-version-ids AWSPREVIOUS"),
    (["status"], {"previous": "version-0"}, "get-metric-statistics Accepted"),
    (["status"], {"previous": "version-0"}, "get-metric-statistics PreviousSecretUsed"),
    (["retire"], {"previous": "version-0"}, "list-secret-version-ids AWSPREVIOUS"),
    (["retire"], {"previous": "version-0", "uses": 7}, "get-metric-statistics PreviousSecretUsed"),
    (["retire"], {"previous": "version-0"}, "list-secret-version-ids AWSCURRENT"),
    (["retire"], {"previous": "version-0"}, "get-metric-statistics Accepted"),
    (["retire"], {"previous": "version-0"}, "update-secret-version-stage"),
    (["retire", "--now"], {"previous": "version-0"}, "list-secret-version-ids AWSPREVIOUS"),
]
CHANGES = ("put-secret-value", "update-secret-version-stage")


def refused_reads(stack):
    """Whatever AWS refuses, the script says so, fails, and makes no change after it."""
    for command, state, refusal in REFUSALS:
        with tempfile.TemporaryDirectory() as folder:
            calls, said = Stub(Path(folder)).run(*command, **state, refuse=refusal, fails="could not")
        check(calls[-1] == refusal, f"{command}: the script went on after a refused {refusal}: {calls}")
        changed = [call for call in calls[:-1] if call in CHANGES]
        check(not changed, f"{command} with a refused {refusal} changed {changed}")
        check("run the command again" in said, said)

    with tempfile.TemporaryDirectory() as folder:
        stub = Stub(Path(folder))
        # The same commands work when nothing is refused, so the refusals above prove something.
        check(stub.run("put")[0][-1] == "put-secret-value", "put")
        check(json.loads((Path(folder) / "put").read_text()) == {"webhook_secret": "a" * 64}, "the new secret")
        check(stub.run("retire", previous="version-0")[0][-1] == "update-secret-version-stage", "retire")
        # Only deliveries that came after the sender could switch say anything about its secret.
        now = datetime.now(UTC)
        age = 4260
        for form in [datetime.isoformat, lambda time: str(time.timestamp())]:
            created = form(now - timedelta(seconds=age - 30))
            calls, _ = stub.run("retire", previous="version-0", created=created, fails="too young")
            check(calls[-1] == "list-secret-version-ids AWSCURRENT", f"retire of {created}: {calls}")
            created = form(now - timedelta(seconds=age + 30))
            calls, _ = stub.run("retire", previous="version-0", created=created)
            check(calls[-1] == "update-secret-version-stage", f"retire of {created}: {calls}")
        calls, _ = stub.run("retire", previous="version-0", accepted=0, fails="nothing was accepted")
        check(calls[-1] == "get-metric-statistics Accepted", f"retire without a delivery: {calls}")
        calls, _ = stub.run("retire", "--now", previous="version-0", uses=7)
        check(calls[-1] == "update-secret-version-stage", f"retire --now: {calls}")
        check(not any("metric" in call for call in calls), f"retire --now asks for no metric: {calls}")
        # put --now with a refused retirement: the new version is there, so the next step is another one.
        _, said = stub.run("put", "--now", refuse="update-secret-version-stage", fails="retire --now")
        check("could not retire the previous version" in said, said)
        for text in ["", " blank", "two\nlines", '{"webhook_secret": "json"}']:
            issued = Path(folder) / "issued"
            issued.write_text(text)
            (Path(folder) / "put").unlink(missing_ok=True)
            calls, _ = stub.run("put", "--value-from", str(issued), fails="issued")
            check("put-secret-value" not in calls, f"{text!r} was put")
