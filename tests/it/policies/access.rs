//! Rules about permissions, encryption and secrets in logs.

use std::collections::BTreeSet;

use super::{Rule, Templates, list, objects, statements, words};

/// Actions that AWS defines without resources.
const WITHOUT_RESOURCES: [&str; 2] = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"];

pub const RULES: &[Rule] = &[
    ("no action and no resource is a wildcard", no_wildcards),
    ("every function has a role of its own", own_role),
    (
        "every role has the permissions boundary, and no role is made by SAM",
        boundaries,
    ),
    ("data is encrypted, with your own key if you have one", encrypted),
    ("queues and topics are spoken to over TLS only", tls_only),
    ("the firewall's log leaves out secret headers", redacted),
];

fn no_wildcards(all: &Templates, fault: &mut dyn FnMut(String)) {
    for (name, resource) in all.resources() {
        for (kind, statement) in statements(resource) {
            if statement["Effect"] != "Allow" {
                continue;
            }
            let actions = words(&statement["Action"]);
            let of_the_account = kind == "KeyPolicy" && !statement["Principal"]["AWS"].is_null();
            if actions.iter().any(|action| action.contains('*')) && !of_the_account {
                fault(format!("{name}: Action {actions:?}"));
            }
            // The API's own policy opens the routes that are open without it, too.
            let open_routes = kind == "Policy" && statement["Sid"] == "OpenRoutes";
            if (statement["Principal"] == "*" || statement["Principal"]["AWS"] == "*") && !open_routes {
                fault(format!("{name}: Principal"));
            }
            // In a key's policy "*" means the key.
            let free = kind == "KeyPolicy" || actions.iter().all(|action| WITHOUT_RESOURCES.contains(action));
            if words(&statement["Resource"]).contains(&"*") && !free {
                fault(format!("{name}: Resource"));
            }
            if !statement["NotAction"].is_null() || !statement["NotResource"].is_null() {
                fault(format!("{name}: a policy by exclusion"));
            }
        }
        // API Gateway asks for this managed policy.
        let managed = resource["Properties"]["ManagedPolicyArns"].to_string();
        if managed != "null" && !managed.contains("AmazonAPIGatewayPushToCloudWatchLogs") {
            fault(format!("{name}: a managed policy is wider than the stack needs"));
        }
    }
    for route in all.of_type("AWS::Serverless::Api").flat_map(|(_, api)| {
        statements(api)
            .into_iter()
            .filter(|(_, statement)| statement["Sid"] == "OpenRoutes")
            .flat_map(|(_, statement)| list(&statement["Resource"]))
            .collect::<Vec<_>>()
    }) {
        let route = route["Fn::Sub"].as_str().unwrap_or_default();
        let of_stage = route
            .strip_prefix("execute-api:/${StageName}/")
            .unwrap_or_default();
        let (method, path) = of_stage.split_once('/').unwrap_or_default();
        // A star would also match slashes.
        let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        if !is_method || !["webhook", "health"].contains(&path) {
            fault(format!("the API's policy opens {route}"));
        }
    }
}

fn own_role(all: &Templates, fault: &mut dyn FnMut(String)) {
    for (name, function) in all.of_type("AWS::Serverless::Function") {
        let properties = &function["Properties"];
        if properties["Role"]["Fn::GetAtt"].is_null() || !properties["Policies"].is_null() {
            fault(name);
        }
    }
}

fn boundaries(all: &Templates, fault: &mut dyn FnMut(String)) {
    for (name, role) in all.of_type("AWS::IAM::Role") {
        let boundary = &role["Properties"]["PermissionsBoundary"]["Fn::If"];
        if boundary[0] != "HasBoundary" || boundary[1]["Ref"] != "PermissionsBoundaryArn" {
            fault(name);
        }
    }
    // SAM makes roles without the boundary for these two.
    for (name, function) in all.of_type("AWS::Serverless::Function") {
        let properties = &function["Properties"];
        if properties["Role"].is_null() || properties["DeploymentPreference"]["Role"].is_null() {
            fault(name);
        }
    }
}

fn encrypted(all: &Templates, fault: &mut dyn FnMut(String)) {
    for (name, resource) in all.resources() {
        let properties = &resource["Properties"];
        let by_your_key = |member: &str| {
            let choice = &properties[member]["Fn::If"];
            choice[0] == "HasKmsKey" && choice[1]["Ref"] == "KmsKeyArn"
        };
        let encrypted = match resource["Type"].as_str().unwrap() {
            "AWS::DynamoDB::Table" => {
                let choice = &properties["SSESpecification"]["Fn::If"];
                choice[0] == "HasKmsKey"
                    && choice[1]["KMSMasterKeyId"]["Ref"] == "KmsKeyArn"
                    && choice[2]["SSEEnabled"] == true
            }
            "AWS::SecretsManager::Secret" | "AWS::Logs::LogGroup" => by_your_key("KmsKeyId"),
            "AWS::Events::EventBus" | "AWS::Events::Archive" => by_your_key("KmsKeyIdentifier"),
            // The key's policy must admit alarms and events, which the AWS-managed key's does not.
            "AWS::SNS::Topic" | "AWS::SQS::Queue" => properties["KmsMasterKeyId"].is_object(),
            "AWS::KMS::Key" => {
                let services: BTreeSet<_> = list(&properties["KeyPolicy"]["Statement"])
                    .into_iter()
                    .flat_map(|statement| words(&statement["Principal"]["Service"]))
                    .collect();
                properties["EnableKeyRotation"] == true
                    && ["cloudwatch.amazonaws.com", "events.amazonaws.com"]
                        .iter()
                        .all(|service| services.contains(service))
            }
            _ => true,
        };
        if !encrypted {
            fault(name);
        }
    }
    let queue_key =
        &all.get("template.yaml")["Resources"]["FanOut"]["Properties"]["Parameters"]["QueueKeyArn"];
    if queue_key["Fn::If"][1]["Ref"] != "KmsKeyArn" {
        fault("the queue's key".into());
    }
}

fn tls_only(all: &Templates, fault: &mut dyn FnMut(String)) {
    for (name, policy) in all.resources() {
        let kind = policy["Type"].as_str().unwrap();
        if !matches!(kind, "AWS::SNS::TopicPolicy" | "AWS::SQS::QueuePolicy") {
            continue;
        }
        let denied = statements(policy).into_iter().any(|(_, statement)| {
            statement["Effect"] == "Deny" && statement["Condition"]["Bool"]["aws:SecureTransport"] == "false"
        });
        if !denied {
            fault(name);
        }
    }
    let count = |kind| all.of_type(kind).count();
    if count("AWS::SNS::Topic") != count("AWS::SNS::TopicPolicy")
        || count("AWS::SQS::Queue") != count("AWS::SQS::QueuePolicy")
    {
        fault("a queue or topic has no policy".into());
    }
}

fn redacted(all: &Templates, fault: &mut dyn FnMut(String)) {
    let fields = &all.the("AWS::WAFv2::LoggingConfiguration")["Properties"]["RedactedFields"];
    for header in ["x-sonotheia-signature", "authorization", "x-amz-security-token"] {
        let redacted = objects(fields)
            .into_iter()
            .any(|field| field["SingleHeader"]["Name"] == header);
        if !redacted {
            fault(header.into());
        }
    }
}
