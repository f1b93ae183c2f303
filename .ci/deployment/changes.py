"""What changes when a parameter changes, long names, and a rebuilt stack that adopts table and secret."""

import json

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from .emulator import Failed, check
from .stack import Stack, event, root_template

# Parameters that change the function. Every other parameter must publish no version, because Lambda publishes
# none of an unchanged function, and CloudFormation then fails.
CHANGES_THE_FUNCTION = {
    "Architecture",
    "DeepfakeAlertThreshold",
    "ExistingSecretArn",
    "ExistingTableStreamArn",
    "MaxBodyBytes",
    "MemorySize",
    "RetentionDays",
    "SecretCacheSeconds",
}
# Values that are neither the default nor the first allowed value.
OTHER = {
    "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/1",
    "DomainName": "hooks.example.com",
    "ExistingSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:WebhookSecret-abcdefghijkl-AbCdEf",
    "ExistingTableStreamArn": "arn:aws:dynamodb:us-east-1:123456789012:table/adopted/stream/2026-11-24T01:00:00.000",
    "KmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1",
    "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
    "ReadersPrincipalArn": "arn:aws:iam::111122223333:root",
    "SenderCidrs": "198.51.100.0/24",
    "AlertEmail": "a@example.com",
    "AlarmEmail": "a@example.com",
    "StageName": "other",
}


def other_value(name, parameter):
    if name in OTHER:
        return OTHER[name]
    if "AllowedValues" in parameter:
        return str(next(value for value in parameter["AllowedValues"] if value != parameter["Default"]))
    return "0.5" if name == "DeepfakeAlertThreshold" else str(int(parameter["Default"]) + 1)


def expand(values):
    """SAM's own expansion of the template, as CloudFormation makes it with these values."""
    template = root_template()
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/code.zip"
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    return translator.translate(template, parameter_values=values)


def resolve(value, template, values):
    """A value with parameters and conditions filled in. A resource stands for its own name and ARN."""
    again = lambda part: resolve(part, template, values)
    if isinstance(value, list):
        return [again(part) for part in value]
    if not isinstance(value, dict):
        return value
    if len(value) != 1:
        return {key: again(part) for key, part in value.items()}
    [(key, inner)] = value.items()
    if key == "Ref":
        return values.get(inner, f"arn:of:a:made:resource:named:{inner}")
    if key == "Fn::GetAtt":
        return "arn:of:a:made:resource:named:" + ".".join(inner)
    if key == "Fn::If":
        return again(inner[1] if condition(inner[0], template, values) else inner[2])
    if key == "Fn::Equals":
        return str(again(inner[0])) == str(again(inner[1]))
    if key == "Fn::Not":
        return not again(inner[0])
    if key == "Fn::Split":
        return again(inner[1]).split(inner[0])
    if key == "Fn::Select":
        return again(inner[1])[inner[0]]
    if key == "Fn::Sub":
        text, names = (inner, {}) if isinstance(inner, str) else inner
        for name, part in {**values, **names}.items():
            text = text.replace(f"${{{name}}}", str(again(part)))
        return text
    return {key: again(inner)}


def condition(name, template, values):
    return resolve(template["Conditions"][name], template, values)


def version(values):
    """Logical id and resolved properties of the function's version, and the function's settings."""
    template = expand(values)
    [(name, published)] = [
        (name, resource) for name, resource in template["Resources"].items() if resource["Type"] == "AWS::Lambda::Version"
    ]
    check(published["UpdateReplacePolicy"] == "Retain", "the version before a change is kept")
    function = dict(template["Resources"]["Receiver"]["Properties"])
    # The number of reserved executions belongs to the function, not to a version.
    function.pop("ReservedConcurrentExecutions")
    return (
        (name, resolve(published["Properties"]["Description"], template, values)),
        resolve(function, template, values),
    )


def expansions():
    """A changed parameter makes a new version if it changes the function, and only then."""
    parameters = root_template()["Parameters"]
    defaults = {name: str(parameter["Default"]) for name, parameter in parameters.items()}
    before, function = version(defaults)
    for name, parameter in parameters.items():
        changed = {**defaults, name: other_value(name, parameter)}
        after, changed_function = version(changed)
        check(
            (changed_function != function) == (name in CHANGES_THE_FUNCTION),
            f"{name} changes the function: {changed_function}",
        )
        check(
            (after != before) == (name in CHANGES_THE_FUNCTION),
            f"with another {name} the version is {after}, before it was {before}",
        )
        check(len(after[1]) <= 256, f"a description of {len(after[1])} characters")


def parameter_change(stack):
    """A second deployment with another parameter reaches the deployed function, and keeps records and secret."""
    lambdas = boto3.client("lambda")
    secret = stack.secret()
    kept = {name: stack.outputs[name] for name in ("EventsTableName", "SecretArn", "WebhookUrl")}
    versions = {v["Version"] for v in lambdas.list_versions_by_function(FunctionName=stack.outputs["FunctionName"])["Versions"]}
    stack.update(MaxBodyBytes="300")
    check({name: stack.outputs[name] for name in kept} == kept, f"the outputs changed: {stack.outputs}")
    configuration = lambdas.get_function_configuration(FunctionName=stack.outputs["FunctionName"], Qualifier="live")
    check(configuration["Environment"]["Variables"]["MAX_BODY_BYTES"] == "300", f"the alias has {configuration}")
    after = {v["Version"] for v in lambdas.list_versions_by_function(FunctionName=stack.outputs["FunctionName"])["Versions"]}
    check(len(after - versions) == 1 and versions <= after, f"versions {versions}, then {after}")
    status, _, body = stack.deliver(b" " * 301, secret)
    check((status, body.get("code")) == (413, "payload_too_large"), f"over the new limit: {status} {body}")
    status, _, body = stack.deliver(event("event-after-change"), secret)
    check(status == 200, f"after the change: {status} {body}")


def refused_parameters(emulator, bootstrap):
    """The template refuses parameters that need others, before it makes anything."""
    refusals = [
        ({"OnlySenderCidrs": "true"}, "OnlySenderCidrs needs SenderCidrs"),
        ({"OnlySenderCidrs": "true", "SenderCidrs": "198.51.100.0/24", "WafEnabled": "false"}, "needs WafEnabled"),
        ({"DomainName": "hooks.example.com"}, "DomainName needs CertificateArn"),
        ({"CertificateArn": OTHER["CertificateArn"]}, "CertificateArn needs DomainName"),
        ({"ExistingTableStreamArn": "arn:aws:dynamodb:us-east-1:123456789012:table/no-stream"}, "DynamoDB stream"),
        ({"ExistingSecretArn": "a-name"}, "complete ARN of a secret"),
        ({"KmsKeyArn": "alias/mine"}, "not of an alias"),
    ]
    for i, (parameters, reason) in enumerate(refusals):
        try:
            Stack(emulator, f"refused-{i}", bootstrap, **parameters)
        except Exception as failure:
            check(reason in str(failure), f"{parameters} fail in another way: {failure}")
        else:
            raise Failed(f"{parameters} are accepted")


def long_name(emulator, bootstrap):
    """Stacks with the shortest and the longest name."""
    for name in ("a", "b" + "-long" * 25 + "-b"):
        stack = Stack(emulator, name, bootstrap)
        status, _, body = stack.deliver(event("event-1"), stack.secret())
        check(status == 200, f"a stack with {len(name)} characters: {status} {body}")
        stack.delete()


def adoption(emulator, bootstrap, old):
    """A rebuilt stack adopts the table and the secret of an earlier one: records, duplicates and secret stay."""
    secret = old.secret()
    stack = Stack(
        emulator,
        "rebuilt",
        bootstrap,
        ExistingTableStreamArn=old.outputs["EventsTableStreamArn"],
        ExistingSecretArn=old.outputs["SecretArn"],
    )
    for output in ("EventsTableName", "EventsTableStreamArn", "SecretArn"):
        check(stack.outputs[output] == old.outputs[output], f"{output}: {stack.outputs[output]}")
    resources = boto3.client("cloudformation").list_stack_resources(StackName="rebuilt")["StackResourceSummaries"]
    made = {resource["ResourceType"] for resource in resources}
    check(not made & {"AWS::DynamoDB::Table", "AWS::SecretsManager::Secret"}, f"the rebuilt stack made {made}")
    status, _, body = stack.deliver(event("event-1"), secret)
    check(status == 200 and body["duplicate"] is True, f"an event of the first stack: {status} {body}")
    status, _, body = stack.deliver(event("event-of-the-rebuilt"), secret)
    check(status == 200 and body["duplicate"] is False, f"a new event: {status} {body}")


def options(emulator, bootstrap):
    """A stack with every option of a platform team switched on."""
    key = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    boundary = boto3.client("iam").create_policy(PolicyName="boundary", PolicyDocument=json.dumps(document))
    certificate = boto3.client("acm").request_certificate(DomainName="hooks.example.com")
    stack = Stack(
        emulator,
        "options",
        bootstrap,
        AccessLogs="true",
        AccessLogsRole="true",
        CertificateArn=certificate["CertificateArn"],
        DomainName="hooks.example.com",
        KmsKeyArn=key,
        PermissionsBoundaryArn=boundary["Policy"]["Arn"],
        ReadersPrincipalArn="arn:aws:iam::111122223333:root",
        RollbackOnAlarm="false",
        SenderCidrs="198.51.100.0/24",
        OnlySenderCidrs="true",
    )
    check(stack.outputs["WebhookUrl"] == "https://hooks.example.com/webhook", f"{stack.outputs}")
    status, _, body = stack.deliver(event("event-1"), stack.secret())
    check(status == 200, f"a delivery: {status} {body}")
    secret = boto3.client("secretsmanager").describe_secret(SecretId=stack.outputs["SecretArn"])
    check(secret["KmsKeyId"] == key, f"the secret's key: {secret}")
    # The emulator keeps neither a role's boundary nor a table's key; tests/it/policies checks both.


def broken(emulator, bootstrap, deliveries):
    """The same checks on broken templates have to fail, or they would prove nothing."""

    def wrong_secret(template):
        variables = template["Resources"]["Receiver"]["Properties"]["Environment"]["Variables"]
        variables["SONOTHEIA_WEBHOOK_SECRET_ARN"] = {"Ref": "EventsTable"}

    def no_catch_all(template):
        del template["Resources"]["Receiver"]["Properties"]["Events"]["Unknown"]

    def no_such_output(template):
        template["Outputs"]["EventBusName"]["Value"] = {"Fn::GetAtt": ["FanOut", "Outputs.Nothing"]}

    for i, (change, reason) in enumerate(
        [(wrong_secret, "a signed event: 503"), (no_catch_all, "no route: "), (no_such_output, "")]
    ):
        try:
            stack = Stack(emulator, f"broken-{i}", bootstrap, change)
            check("Nothing" not in stack.outputs["EventBusName"], "an output that does not exist")
            deliveries(stack)
        except Failed as failure:
            check(reason in str(failure), f"{change.__name__} failed in another way: {failure}")
        except Exception as failure:  # The emulator itself may refuse the last one.
            check(not reason, f"{change.__name__} failed in another way: {failure}")
        else:
            raise Failed(f"no check noticed {change.__name__}")
