"""The templates as a stack on the emulator."""

import hashlib
import hmac
import io
import json
import time
import urllib.parse
import zipfile
from pathlib import Path

import boto3
import yaml
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from .emulator import ROOT, Failed

# Types that the emulator cannot create. It creates every other resource of the templates.
UNKNOWN_HERE = {
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::EventSchemas::Registry",
    "AWS::EventSchemas::Schema",
    "AWS::Events::Archive",
    "AWS::Logs::MetricFilter",
    "AWS::Logs::QueryDefinition",
    "AWS::WAFv2::IPSet",
    "AWS::WAFv2::LoggingConfiguration",
    "AWS::WAFv2::WebACLAssociation",
}
CACHE_SECONDS = 2
# All events have this time, because a repeated event has to be the same.
BEGUN = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def parse(text):
    """A template with its short forms (`!Ref x`) written out."""

    class Loader(yaml.SafeLoader):
        pass

    def tag(loader, suffix, node):
        if isinstance(node, yaml.ScalarNode):
            value = loader.construct_scalar(node)
        elif isinstance(node, yaml.SequenceNode):
            value = loader.construct_sequence(node, deep=True)
        else:
            value = loader.construct_mapping(node, deep=True)
        if suffix == "GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
        return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}

    Loader.add_multi_constructor("!", tag)
    return yaml.load(text, Loader)


def root_template():
    return parse((ROOT / "template.yaml").read_text())


def every_method(events):
    """Routes with ANY written out: the emulator does not read x-amazon-apigateway-any-method."""
    routes = {name: event["Properties"] for name, event in events.items()}
    named = {(route["Path"], route["Method"]) for route in routes.values()}
    written = {}
    for name, route in routes.items():
        methods = [route["Method"]] if route["Method"] != "ANY" else ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]
        for method in methods:
            if route["Method"] != "ANY" or (route["Path"], method) not in named:
                written[name + method] = {"Type": "Api", "Properties": {**route, "Method": method}}
    return written


def without_unknown(template):
    resources = template["Resources"]
    template["Resources"] = {
        name: resource for name, resource in resources.items() if resource["Type"] not in UNKNOWN_HERE
    }


def event(name, score=0.5, session="session 1"):
    data = {"session_id": session, "score": score, "label": "uncertain", "timestamp": BEGUN}
    return {"id": name, "type": "deepfake.completed", "data": data}


class Stack:
    """A created stack. `change` may change the template first."""

    def __init__(self, emulator, name, bootstrap, change=lambda template: None, **parameters):
        self.emulator, self.name, self.bootstrap = emulator, name, bootstrap
        self.cloudformation = boto3.client("cloudformation")
        self.parameters = {
            "Architecture": "x86_64",
            "SecretCacheSeconds": str(CACHE_SECONDS),
            "AlertEmail": "alerts@example.com",
            "AlarmEmail": "alarms@example.com",
            **parameters,
        }
        self.template, self.answers = self.adapted(change)
        self.submit(self.cloudformation.create_stack, "CREATE_COMPLETE")
        self.read_outputs()
        self.put_answers()

    def adapted(self, change):
        """The template as the emulator takes it, with the code and the nested templates in a bucket."""
        s3 = boto3.client("s3")
        bucket = "code-of-" + self.name[:40].lower().rstrip("-")
        s3.create_bucket(Bucket=bucket)
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, self.bootstrap.read_bytes())
        s3.put_object(Bucket=bucket, Key="code.zip", Body=package.getvalue())

        template = root_template()
        change(template)
        without_unknown(template)
        answers = {}
        for resource in template["Resources"].values():
            properties = resource["Properties"]
            if resource["Type"] == "AWS::CloudFormation::Stack":
                nested = parse((ROOT / properties["TemplateURL"]).read_text())
                without_unknown(nested)
                key = Path(properties["TemplateURL"]).name + ".json"
                s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(nested).encode())
                properties["TemplateURL"] = f"{self.emulator.endpoint}/{bucket}/{key}"
            if resource["Type"] == "AWS::Serverless::Api":
                # CloudFormation reads ~1 as a slash; the emulator does not.
                types = properties["BinaryMediaTypes"]
                properties["BinaryMediaTypes"] = [kind.replace("~1", "/") for kind in types]
                answers = properties["GatewayResponses"]
            if resource["Type"] == "AWS::Serverless::Function":
                properties["CodeUri"] = f"s3://{bucket}/code.zip"
                # The emulator has no CodeDeploy.
                del properties["DeploymentPreference"]
                properties["Events"] = every_method(properties["Events"])
        return template, answers

    def submit(self, call, wanted):
        call(
            StackName=self.name,
            TemplateBody=json.dumps(self.template),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
        self.wait(wanted)

    def wait(self, wanted):
        deadline = time.time() + 120
        while (state := self.describe()["StackStatus"]).endswith("_IN_PROGRESS") and time.time() < deadline:
            time.sleep(0.5)
        if state != wanted:
            events = self.cloudformation.describe_stack_events(StackName=self.name)["StackEvents"]
            reasons = [f"{e['LogicalResourceId']}: {e['ResourceStatusReason']}" for e in events if "ResourceStatusReason" in e]
            raise Failed(f"the stack is {state}: {reasons}")

    def update(self, **parameters):
        """Deploys again with other parameters, and the same template."""
        self.parameters |= parameters
        self.submit(self.cloudformation.update_stack, "UPDATE_COMPLETE")
        self.read_outputs()

    def delete(self):
        self.cloudformation.delete_stack(StackName=self.name)

    def describe(self):
        return self.cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]

    def read_outputs(self):
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in self.describe()["Outputs"]}
        stage = self.parameters.get("StageName", "live")
        self.base = f"/_aws/execute-api/{self.outputs['ApiId']}/{stage}"

    def put_answers(self):
        """The gateway's own answers: the emulator does not read them from the OpenAPI document."""
        gateway = boto3.client("apigateway")
        for kind, response in self.answers.items():
            headers = response["ResponseParameters"]["Headers"]
            gateway.put_gateway_response(
                restApiId=self.outputs["ApiId"],
                responseType=kind,
                responseParameters={f"gatewayresponse.header.{name}": value for name, value in headers.items()},
                responseTemplates=response["ResponseTemplates"],
                **({"statusCode": response["StatusCode"]} if "StatusCode" in response else {}),
            )
        gateway.create_deployment(restApiId=self.outputs["ApiId"], stageName=self.base.rsplit("/", 1)[1])

    def call(self, method, path, body=None, headers=None):
        status, headers, body = self.emulator.request(method, self.base + path, body, headers)
        try:
            return status, headers, json.loads(body)
        except ValueError:
            return status, headers, body

    def read(self, path, method="GET"):
        """As `call`, by a caller with AWS credentials."""
        request = AWSRequest(method, self.emulator.endpoint + self.base + path)
        SigV4Auth(boto3.Session().get_credentials(), "execute-api", "us-east-1").add_auth(request)
        return self.call(method, path, headers=dict(request.headers))

    def secret(self):
        value = boto3.client("secretsmanager").get_secret_value(SecretId=self.outputs["SecretArn"])
        return json.loads(value["SecretString"])["webhook_secret"]

    def deliver(self, body, secret):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"content-type": "application/json", "x-sonotheia-signature": signature}
        return self.call("POST", "/webhook", body, headers)
