"""Deliveries through the deployed API."""

from .emulator import check
from .stack import event


def deliveries(stack):
    """A signed event, its duplicate, a forgery, bodies that are no event, unknown routes."""
    secret = stack.secret()
    status, _, body = stack.call("GET", "/health")
    check(status == 200 and body["status"] == "ok", f"/health: {status} {body}")

    first = event("event-1")
    status, headers, body = stack.deliver(first, secret)
    check(
        (status, body) == (200, {"received": True, "duplicate": False, "event_id": "event-1"}),
        f"a signed event: {status} {body}",
    )
    check(headers["X-Request-Id"], "the answer has a request id")
    status, _, body = stack.deliver(first, secret)
    check(status == 200 and body["duplicate"] is True, f"its duplicate: {status} {body}")
    status, _, body = stack.deliver(event("event-1", 0.6), secret)
    check((status, body["code"]) == (409, "event_conflict"), f"a conflict: {status} {body}")
    status, _, body = stack.deliver(event("event-forged"), "not the secret")
    check((status, body["code"]) == (401, "invalid_signature"), f"a forgery: {status} {body}")
    status, _, _ = stack.read("/events/event-forged")
    check(status == 404, f"the forgery's record: {status}")
    # The signature holds only if the gateway passes these bytes on unchanged.
    status, _, body = stack.deliver(b"\x00\xff not UTF-8", secret)
    check((status, body["code"]) == (400, "invalid_event"), f"bytes that are not UTF-8: {status} {body}")
    status, _, body = stack.deliver(b" " * 262_145, secret)
    check((status, body["code"]) == (413, "payload_too_large"), f"too large: {status} {body}")

    status, _, body = stack.read("/events/event-1")
    check(status == 200 and body["data"] == first["data"], f"read back: {status} {body}")
    status, _, body = stack.read("/results/session%201")
    check(status == 200 and body["count"] == 1, f"its session: {status} {body}")
    status, _, body = stack.read("/results?outcome=rejected&limit=5")
    check(status == 200 and body["count"] == 2, f"the rejected records: {status} {body}")

    for path in ("/results", "/results/session%201", "/events/event-1"):
        status, _, body = stack.call("GET", path)
        shape = {"error", "code", "message", "request_id"}
        check(
            status == 403 and set(body) == shape and body["code"] == "forbidden" and body["request_id"],
            f"{path} without credentials: {status} {body}",
        )

    status, _, body = stack.call("GET", "/nope/at/all")
    check((status, body.get("code")) == (404, "not_found"), f"no route: {status} {body}")
    for method, path, allowed in [("GET", "/webhook", "POST"), ("DELETE", "/results", "GET"), ("POST", "/health", "GET")]:
        status, headers, body = stack.read(path, method)
        check(
            (status, body.get("code")) == (405, "method_not_allowed") and allowed in headers["Allow"],
            f"{method} {path}: {status} {body}",
        )
