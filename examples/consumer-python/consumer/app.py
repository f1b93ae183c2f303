"""Opens a case for each SAR event and each alert of Sonotheia, at most once for each event."""

import json
import logging
import os
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypedDict, cast

import boto3
from botocore.exceptions import ClientError

log = logging.getLogger()
log.setLevel(logging.INFO)


class Detail(TypedDict):
    """The published event. Every member is always there, and always a string; "" means that the event has none."""

    event_id: str
    type: str
    session_id: str
    outcome: str
    alert: str
    occurred_at: str
    received_at: str
    body: str


class UnreadableEvent(Exception):
    """The event cannot become a case. Lambda tries it again, then puts it into the dead-letter queue."""


def handler(event: dict[str, Any], _context: object) -> None:
    """Handles one event of the bus. An exception makes Lambda try again."""
    detail = read(event)
    if not is_case(detail):
        log.info("event %s of type %s needs no case", detail["event_id"], detail["type"])
    elif open_case(case_of(detail)):
        log.info("event %s opened a case", detail["event_id"])
    else:
        log.info("event %s came again; it already has a case", detail["event_id"])


def read(event: dict[str, Any]) -> Detail:
    """Checks the members of the detail, so that the rest of the code can rely on them."""
    detail = event.get("detail")
    members = Detail.__annotations__
    if not isinstance(detail, dict) or not all(isinstance(detail.get(name), str) for name in members):
        raise UnreadableEvent(f"the detail needs the strings {', '.join(members)}: is this Sonotheia's bus?")
    if not detail["event_id"]:
        raise UnreadableEvent("event_id is empty")
    return cast(Detail, detail)


def is_case(detail: Detail) -> bool:
    """A person must look at every SAR event and at every alert. New types of Sonotheia pass here, too."""
    return detail["type"].startswith("sar.") or detail["alert"] != ""


def case_of(detail: Detail) -> dict[str, Any]:
    """The item of the table."""
    data = data_of(detail)
    received = datetime.fromisoformat(detail["received_at"])
    case = {
        "event_id": detail["event_id"],
        "status": "open",
        "subject": subject(detail["type"], data),
        "type": detail["type"],
        "alert": detail["alert"],
        "session_id": detail["session_id"],
        "occurred_at": detail["occurred_at"],
        "received_at": detail["received_at"],
        "body": detail["body"],
        "expires_at": int((received + timedelta(days=int(os.environ["CASE_DAYS"]))).timestamp()),
    }
    return {name: value for name, value in case.items() if value != ""}


def data_of(detail: Detail) -> dict[str, Any]:
    """Parses the signed text. Its two envelopes name the id and the type differently, and both have `data`."""
    if not detail["body"]:
        raise UnreadableEvent(f"the bus had no room for the body: read it with GET /events/{detail['event_id']}")
    try:
        data = json.loads(detail["body"])["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableEvent(f"the body of event {detail['event_id']} is not an event") from error
    if not isinstance(data, dict):
        raise UnreadableEvent(f"the data of event {detail['event_id']} is not an object")
    return data


def subject(event_type: str, data: dict[str, Any]) -> str:
    """One line for the person. Any field can be missing: the receiver stores an event with problems, too."""
    match event_type:
        case "deepfake.completed":
            return f"Voice is {data.get('label', 'unrated')}, score {data.get('score', 'unknown')}"
        case "mfa.completed" | "mfa.failed":
            return f"Voice not verified: {data.get('reason', 'no reason given')}"
        case "sar.submitted" | "sar.filed":
            return f"SAR {data.get('case_id', 'without a case id')}: {data.get('status', 'no status')}"
        case _:
            return f"Event of type {event_type}"


def open_case(case: dict[str, Any]) -> bool:
    """Stores the case with one conditional write. Returns False if the event already has a case."""
    try:
        cases().put_item(Item=case, ConditionExpression="attribute_not_exists(event_id)")
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise
    return True


@cache
def cases() -> Any:
    """The table. The first event makes the client, and later events use it again."""
    return boto3.resource("dynamodb").Table(os.environ["CASES_TABLE"])
