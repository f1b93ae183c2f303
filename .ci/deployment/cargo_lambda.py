"""The deployment without SAM: infra/cargo-lambda.yaml, `cargo lambda deploy`, infra/http-api.yaml."""

import hashlib
import hmac
import json
import os
import shutil
import subprocess

import boto3

from .emulator import ROOT, check
from .stack import event, parse


def deployed(name, template, **parameters):
    """Creates a stack of one template. Returns its outputs."""
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=json.dumps(parse((ROOT / template).read_text())),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def without_sam(emulator, bootstrap, folder):
    """The sequence of docs/operations.md, "Without SAM"."""
    name = "by-cargo-lambda"
    base = deployed("cargo-lambda", "infra/cargo-lambda.yaml", FunctionName=name)
    package = folder / "package"
    package.mkdir()
    shutil.copy(bootstrap, package / "bootstrap")
    done = subprocess.run(
        [
            *("cargo-lambda", "lambda", "deploy", name, "--endpoint-url", emulator.endpoint),
            *("--binary-path", str(package / "bootstrap"), "--runtime", "provided.al2023"),
            *("--role", base["RoleArn"], "--memory", "256", "--timeout", "5"),
            *("--env-var", f"EVENTS_TABLE={base['EventsTableName']}"),
            *("--env-var", f"SONOTHEIA_WEBHOOK_SECRET_ARN={base['SecretArn']}"),
            *("--env-var", f"SERVICE_NAME={name}"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "AWS_REGION": "us-east-1"},
    )
    check(done.returncode == 0, f"cargo lambda deploy: {done.stdout}{done.stderr}")
    api = deployed("http-api", "infra/http-api.yaml", FunctionName=name)
    check(api["WebhookUrl"].endswith("/webhook"), f"{api}")
    api_id = api["WebhookUrl"].split("//")[1].split(".")[0]
    secret = json.loads(boto3.client("secretsmanager").get_secret_value(SecretId=base["SecretArn"])["SecretString"])
    body = json.dumps(event("event-without-sam")).encode()
    signature = hmac.new(secret["webhook_secret"].encode(), body, hashlib.sha256).hexdigest()
    host = f"{api_id}.execute-api.localhost:{emulator.port}"
    headers = {"host": host, "content-type": "application/json", "x-sonotheia-signature": signature}
    for duplicate in (False, True):
        status, _, answer = emulator.request("POST", "/webhook", body, headers)
        check(
            status == 200 and json.loads(answer)["duplicate"] is duplicate,
            f"a signed event through the HTTP API: {status} {answer}",
        )
    status, _, answer = emulator.request("POST", "/webhook", body, {**headers, "x-sonotheia-signature": "0" * 64})
    check(status == 401, f"a forgery through the HTTP API: {status} {answer}")
