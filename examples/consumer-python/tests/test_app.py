"""The consumer on a DynamoDB of this process (moto), with the events that the receiver's own code makes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import app
import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

EVENTS = Path(__file__).parents[2] / "events"


def event(name: str) -> dict[str, Any]:
    return json.loads((EVENTS / f"{name}.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A new table for each test."""
    for name, value in {
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "CASES_TABLE": "cases",
        "CASE_DAYS": "10",
    }.items():
        monkeypatch.setenv(name, value)
    app.cases.cache_clear()
    with mock_aws():
        yield boto3.resource("dynamodb").create_table(
            TableName="cases",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
        )


def cases(table: Any) -> list[dict[str, Any]]:
    return table.scan()["Items"]  # type: ignore[no-any-return]


def test_the_first_delivery_opens_a_case(table: Any) -> None:
    sar = event("sar.submitted.guide")
    app.handler(sar, None)
    assert cases(table) == [
        {
            "event_id": "event-sar-submitted-guide",
            "status": "open",
            "subject": "SAR case_0017: pending_review",
            "type": "sar.submitted",
            "alert": "sar_submitted",
            "session_id": "session-xyz789",
            "occurred_at": sar["detail"]["occurred_at"],
            "received_at": sar["detail"]["received_at"],
            "body": sar["detail"]["body"],
            "expires_at": 1_795_569_002 + 10 * 86_400,
        }
    ]


def test_a_redelivery_changes_nothing(table: Any) -> None:
    sar = event("sar.submitted.guide")
    app.handler(sar, None)
    table.update_item(
        Key={"event_id": sar["detail"]["event_id"]},
        UpdateExpression="SET #status = :closed",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":closed": "closed"},
    )
    # EventBridge gives a new id of its own to an event that is published again.
    app.handler(sar | {"id": "another"}, None)
    assert [case["status"] for case in cases(table)] == ["closed"]


@pytest.mark.parametrize("envelope", ["guide", "schema"])
def test_both_envelopes_open_a_case(table: Any, envelope: str) -> None:
    subjects = {
        "deepfake.completed": "Voice is likely_synthetic, score 0.93",
        "mfa.failed": "Voice not verified: voice_mismatch",
        "sar.filed": "SAR case_0017: filed",
        "sar.submitted": "SAR case_0017: pending_review",
    }
    for path in EVENTS.glob(f"*.{envelope}.json"):
        app.handler(json.loads(path.read_text()), None)
    assert {case["type"]: case["subject"] for case in cases(table)} == subjects


def test_a_failed_write_raises_so_that_lambda_tries_again(table: Any) -> None:
    table.delete()
    with pytest.raises(ClientError, match="ResourceNotFound"):
        app.handler(event("sar.filed.guide"), None)


def test_a_new_type_opens_a_case(table: Any) -> None:
    app.handler(event("new-type"), None)
    assert [case["subject"] for case in cases(table)] == ["Event of type sar.withdrawn"]


def test_an_event_with_missing_fields_opens_a_case(table: Any) -> None:
    for name in ["deepfake.completed", "mfa.failed", "sar.filed"]:
        bare = event(f"{name}.guide")
        bare["detail"]["body"] = '{"data":{}}'
        app.handler(bare, None)
    assert len(cases(table)) == 3


def test_an_event_without_its_body_goes_to_the_dead_letter_queue(table: Any) -> None:
    with pytest.raises(app.UnreadableEvent, match="GET /events/event-large"):
        app.handler(event("without-body"), None)
    assert cases(table) == []


@pytest.mark.parametrize("body", ["no JSON", "[]", "1", "{}", '{"data":[]}', '{"data":null}'])
def test_an_odd_body_goes_to_the_dead_letter_queue(table: Any, body: str) -> None:
    odd = event("sar.filed.guide")
    odd["detail"]["body"] = body
    with pytest.raises(app.UnreadableEvent):
        app.handler(odd, None)
    assert cases(table) == []


def test_a_detail_of_another_shape_goes_to_the_dead_letter_queue(table: Any) -> None:
    good = event("sar.filed.guide")
    odd: list[Any] = [{}, {"detail": None}, {"detail": []}, good | {"detail": good["detail"] | {"event_id": ""}}]
    for member in good["detail"]:
        missing = {name: text for name, text in good["detail"].items() if name != member}
        odd += [good | {"detail": missing | change} for change in ({}, {member: None}, {member: 1})]
    for other in odd:
        with pytest.raises(app.UnreadableEvent):
            app.handler(other, None)
    assert cases(table) == []
