"""infra/republish and infra/restore-table."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3

from .emulator import check
from .scripts import run
from .stack import event


class Fake:
    """A service whose answers a test decides. `answer` gets path, JSON, headers and body of a request, and returns
    status and JSON, or nothing to pass the request on to the emulator."""

    def __init__(self, answer, emulator=None):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    request = json.loads(body or b"{}")
                except ValueError:
                    request = {}
                decided = answer(self.path, request, self.headers, body)
                if decided:
                    status, text = decided
                    text = text if isinstance(text, bytes) else json.dumps(text).encode()
                else:
                    status, _, text = emulator.request(self.command, self.path, body, dict(self.headers))
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def fan_out(stack):
    """infra/republish and the bus, with a consumer's rule and the template's rule for alerts."""
    status, _, body = stack.deliver(event("event-alert", 0.99), stack.secret())
    check(status == 200, f"an event with an alert: {status} {body}")
    sqs, events, sns = boto3.client("sqs"), boto3.client("events"), boto3.client("sns")

    def queue(name):
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def received(url):
        messages, deadline = [], time.time() + 10
        while time.time() < deadline:
            found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
            if not found and messages:
                break
            for message in found:
                messages.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return messages

    consumer, consumer_arn = queue("consumer")
    bus = stack.outputs["EventBusName"]
    events.put_rule(Name="consumer", EventBusName=bus, EventPattern=json.dumps({"source": ["sonotheia.webhook"]}))
    events.put_targets(Rule="consumer", EventBusName=bus, Targets=[{"Id": "queue", "Arn": consumer_arn}])
    analyst, analyst_arn = queue("analyst")
    sns.subscribe(TopicArn=stack.outputs["AlertTopicArn"], Protocol="sqs", Endpoint=analyst_arn)

    now = time.time()
    window = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + seconds)) for seconds in (-600, 600)]
    run("republish", stack.name, *window)
    published = {message["detail"]["event_id"]: message["detail"] for message in received(consumer)}
    stored = stack.read("/results?outcome=accepted&limit=100")[2]["results"]
    check(set(published) == {record["event_id"] for record in stored}, f"published {set(published)}")
    body = json.loads(published["event-alert"]["body"])
    check(body["data"]["score"] == 0.99, f"the payload: {body}")
    alerts = received(analyst)
    check(len(alerts) == 1 and "event-alert" in alerts[0]["Message"], f"alerts: {alerts}")
    check("0.99" not in alerts[0]["Message"], "the mail holds part of the payload")
    run("republish", stack.name, window[1], window[1])


def refusing_bus(stack):
    """The bus refuses one event: republish tries again, stops, says how to continue, and continues there."""
    now = time.time()
    window = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + seconds)) for seconds in (-600, 600)]
    stored = stack.read("/results?outcome=accepted&limit=100")[2]["results"]
    oldest_first = [record["event_id"] for record in sorted(stored, key=lambda record: record["received_at"])]
    published, refusals = [], {}

    def bus(_path, request, _headers, _body):
        [entry] = request["Entries"]
        event_id = json.loads(entry["Detail"])["event_id"]
        if refusals.get(event_id, 0) > 0:
            refusals[event_id] -= 1
            return 200, {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException", "ErrorMessage": "slow down"}]}
        published.append(event_id)
        return 200, {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}

    with Fake(bus) as fake:
        environment = {"AWS_ENDPOINT_URL_EVENTBRIDGE": fake.endpoint}
        refusals |= {oldest_first[1]: 2, oldest_first[3]: 99}
        said = run("republish", stack.name, *window, "--pause", "0.01", fails="slow down", environment=environment)
        check(published == oldest_first[:3], f"published {published} of {oldest_first}")
        check("3 events were published" in said, said)
        command = said.strip().splitlines()[-1].split()
        check(command[:2] == ["infra/republish", stack.name], said)
        refusals.clear()
        run("republish", *command[1:], environment=environment)
    check(published[3:] == oldest_first[3:], f"it continued with {published[3:]} of {oldest_first}")


def recovery(stack):
    """infra/restore-table, from a table that stands for a restored one."""
    dynamodb = boto3.client("dynamodb")
    table = stack.outputs["EventsTableName"]
    dynamodb.create_table(
        TableName="as-it-was",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "event_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "event_id", "KeyType": "HASH"}],
    )
    items = dynamodb.scan(TableName=table)["Items"]
    for item in items:
        dynamodb.put_item(TableName="as-it-was", Item=item)
    expired = {**items[0], "event_id": {"S": "event-expired"}, "expires_at": {"N": "1"}}
    dynamodb.put_item(TableName="as-it-was", Item=expired)
    lost = [item for item in items if item["event_id"]["S"] in ("event-1", "event-alert")]
    for item in lost:
        dynamodb.delete_item(TableName=table, Key={"event_id": item["event_id"]})
    check(stack.read("/events/event-1")[0] == 404, "the record is deleted")
    said = run("restore-table", stack.name, "--copy-from", "as-it-was")
    check(f"2 records put into {table}, {len(items) - 2} were there, 1 had expired" in said, said)
    said = run("restore-table", stack.name, "--copy-from", "as-it-was")
    check("0 records put" in said, said)
    status, _, body = stack.deliver(json.loads(lost[0]["body"]["S"]), stack.secret())
    check(status == 200 and body["duplicate"] is True, f"the restored record makes a repeat a duplicate: {status} {body}")
    run("restore-table", stack.name, fails="give either")


def pausing(stack):
    """--pause-fan-out copies nothing before the pipe is stopped."""
    states = ["STOPPING", "STOPPING", "STOPPED"]
    calls = []

    def pipes(path, *_):
        calls.append(path)
        return 200, {"CurrentState": "STOPPING" if path.endswith("/stop") else states.pop(0)}

    with Fake(pipes) as fake:
        environment = {"AWS_ENDPOINT_URL_PIPES": fake.endpoint}
        arguments = [stack.name, "--copy-from", "as-it-was", "--pause-fan-out", "--poll", "0.01"]
        said = run("restore-table", *arguments, environment=environment)
        check(calls[0].endswith("/stop") and len(calls) == 4 and not states, f"the pipe's calls: {calls}")
        check("only defers publishing" in said and "start-pipe" in said, said)
        states.append("STOP_FAILED")
        run("restore-table", *arguments, environment=environment, fails="does not stop; nothing was copied")


XML_REFUSAL = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>refused by the test</Message></Error></ErrorResponse>"
JSON_REFUSAL = {"__type": "AccessDeniedException", "message": "refused by the test"}
# Script, its arguments after the stack's name, the service, and a call of it that is refused.
REFUSALS = [
    ("restore-table", ["--copy-from", "as-it-was"], "CLOUDFORMATION", "DescribeStacks"),
    ("restore-table", ["--copy-from", "as-it-was"], "DYNAMODB", "Scan"),
    ("restore-table", ["--copy-from", "as-it-was"], "DYNAMODB", "PutItem"),
    ("restore-table", ["2026-11-24T01:00:00Z"], "DYNAMODB", "RestoreTableToPointInTime"),
    ("restore-table", ["2026-11-24T01:00:00Z"], "DYNAMODB", "DescribeTable"),
    ("restore-table", ["--copy-from", "as-it-was", "--pause-fan-out"], "PIPES", "/stop"),
    ("restore-table", ["--copy-from", "as-it-was", "--pause-fan-out"], "PIPES", "/v1/pipes/"),
    ("republish", ["2020-01-01", "2030-01-01"], "CLOUDFORMATION", "DescribeStacks"),
    ("republish", ["2020-01-01", "2030-01-01"], "DYNAMODB", "Query"),
    ("republish", ["2020-01-01", "2030-01-01"], "DYNAMODB", "GetItem"),
    ("republish", ["2020-01-01", "2030-01-01"], "EVENTBRIDGE", "PutEvents"),
]


def refused_calls(stack):
    """Whatever AWS refuses, both scripts say so, fail, and make no change after it."""
    for script, arguments, service, refusal in REFUSALS:
        calls = []

        def answer(path, request, headers, body):
            call = headers.get("X-Amz-Target", "").rsplit(".", 1)[-1] or path + body.decode()
            calls.append(call)
            if refusal in call:
                return 400, XML_REFUSAL if service == "CLOUDFORMATION" else JSON_REFUSAL
            if call == "RestoreTableToPointInTime":
                return 200, {"TableDescription": {"TableName": "restored"}}
            return None

        with Fake(answer, stack.emulator) as fake:
            environment = {f"AWS_ENDPOINT_URL_{service}": fake.endpoint}
            arguments = [f"{text}T00:00:00Z" if text.endswith("-01") else text for text in arguments]
            said = run(script, stack.name, *arguments, environment=environment, fails="")
        check(refusal in calls[-1] or script == "restore-table" and refusal == "PutItem", f"{script} went on: {calls}")
        check("mend the cause" in said.lower() or "nothing was published" in said, said)
        check("records put" not in said, said)
