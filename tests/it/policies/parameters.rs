//! Rules about the templates' parameters.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Rule, TEMPLATES, Templates, objects};

pub const RULES: &[Rule] = &[
    (
        "every parameter is described and bounded, and the stack's own have defaults",
        described,
    ),
    ("an option of your platform is off by default", off_by_default),
    ("a nested template is given the parameters it takes", handed_down),
    (
        "every parameter that changes the function changes its version",
        versioned,
    ),
];

/// Parameters that change nothing unless somebody sets them.
const OFF: &[&str] = &[
    "AccessLogs",
    "AccessLogsRole",
    "CertificateArn",
    "DomainName",
    "ExistingSecretArn",
    "ExistingTableStreamArn",
    "KmsKeyArn",
    "PermissionsBoundaryArn",
    "ReadersPrincipalArn",
];

fn described(all: &Templates, fault: &mut dyn FnMut(String)) {
    for (file, template) in &all.0 {
        for (name, parameter) in template["Parameters"].as_object().unwrap() {
            let bounded = match parameter["Type"].as_str() {
                Some("Number") => {
                    parameter["MinValue"].is_number() && parameter["MaxValue"].is_number()
                        || parameter["AllowedValues"].is_array()
                }
                _ => parameter["AllowedPattern"].is_string() || parameter["AllowedValues"].is_array(),
            };
            let has_default = !parameter["Default"].is_null() || *file != "template.yaml";
            if !bounded || !has_default || parameter["Description"].as_str().is_none_or(str::is_empty) {
                fault(format!("{file} {name}"));
            }
        }
    }
}

fn off_by_default(all: &Templates, fault: &mut dyn FnMut(String)) {
    for name in OFF {
        let default = &all.get("template.yaml")["Parameters"][name]["Default"];
        if default != "" && default != "false" {
            fault(format!("{name}: {default}"));
        }
    }
}

fn handed_down(all: &Templates, fault: &mut dyn FnMut(String)) {
    let root = all.get("template.yaml");
    let mut used = BTreeSet::from(["template.yaml"]);
    for (name, stack) in all.of_type("AWS::CloudFormation::Stack") {
        let file = stack["Properties"]["TemplateURL"].as_str().unwrap();
        used.insert(file);
        let nested = all.get(file);
        let given = stack["Properties"]["Parameters"].as_object().unwrap();
        let taken = nested["Parameters"].as_object().unwrap();
        if given.keys().collect::<Vec<_>>() != taken.keys().collect::<Vec<_>>() {
            fault(format!("{name}: parameters"));
        }
        // A parameter that is only passed on has the same default and bounds in both templates.
        for (parameter, value) in given {
            let Some(outer) = value["Ref"].as_str() else {
                continue;
            };
            let outer = &root["Parameters"][outer];
            for member in ["Default", "MinValue", "MaxValue", "AllowedValues"] {
                if !outer.is_null() && outer[member] != taken[parameter][member] {
                    fault(format!("{name}: {parameter} {member}"));
                }
            }
        }
        let stack_name = name.trim_start_matches("template.yaml ");
        for object in objects(root) {
            if let Some(reference) = object["Fn::GetAtt"].as_str()
                && let Some(output) = reference.strip_prefix(&format!("{stack_name}.Outputs."))
                && nested["Outputs"][output].is_null()
            {
                fault(format!("{name}: no output {output}"));
            }
        }
    }
    if used != BTreeSet::from(TEMPLATES) {
        fault(format!("the stack nests {used:?}"));
    }
}

/// The parameters that a value depends on.
fn parameters_of(value: &Value, template: &Value) -> BTreeSet<String> {
    let is_parameter = |name: &str| !template["Parameters"][name].is_null();
    let mut found = BTreeSet::new();
    for object in objects(value) {
        let texts = match &object["Fn::Sub"] {
            Value::Array(parts) => parts[0].as_str(),
            text => text.as_str(),
        };
        let in_text = texts
            .into_iter()
            .flat_map(|text| text.split("${").skip(1).filter_map(|rest| rest.split('}').next()));
        found.extend(
            in_text
                .chain(object["Ref"].as_str())
                .filter(|name| is_parameter(name))
                .map(str::to_owned),
        );
    }
    found
}

/// SAM names a version by the template's text, so a parameter's new value makes no new version (SAM issue
/// 3820). The version's description does, if it names exactly the parameters that change the function.
/// Lambda publishes no second version of an unchanged function, and CloudFormation then fails.
fn versioned(all: &Templates, fault: &mut dyn FnMut(String)) {
    let template = all.get("template.yaml");
    let function = &all.the("AWS::Serverless::Function")["Properties"];
    let mut changing = BTreeSet::new();
    for member in [
        "Architectures",
        "MemorySize",
        "Timeout",
        "Environment",
        "Handler",
        "Runtime",
        "Tracing",
        "LoggingConfig",
        "Layers",
        "VpcConfig",
        "KmsKeyArn",
        "Description",
    ] {
        changing.extend(parameters_of(&function[member], template));
    }
    let named = parameters_of(&function["VersionDescription"], template);
    if changing != named {
        fault(format!(
            "the function depends on {changing:?}, its description on {named:?}"
        ));
    }
    let length = longest_description(template);
    if length > 256 {
        fault(format!("a description of {length} characters; Lambda takes 256"));
    }
}

/// The longest description that the parameters allow. A number has as many digits as its largest value;
/// a threshold may have 10.
fn longest_description(template: &Value) -> usize {
    let digits = |name: &str| {
        template["Parameters"][name]["MaxValue"]
            .as_u64()
            .unwrap_or(u64::MAX)
            .to_string()
            .len()
    };
    // The patterns end at 154 characters for the table, and at 41 and a suffix of 7 for the secret.
    let pattern = |name: &str| template["Parameters"][name]["AllowedPattern"].to_string();
    let table = if pattern("ExistingTableStreamArn").contains("{3,154}/stream") {
        154
    } else {
        255
    };
    let secret = if pattern("ExistingSecretArn").contains("{1,41}-[A-Za-z0-9]{6}$") {
        48
    } else {
        512
    };
    let blanks = 7;
    digits("RetentionDays")
        + digits("MaxBodyBytes")
        + 10
        + digits("SecretCacheSeconds")
        + "x86_64".len()
        + digits("MemorySize")
        + table
        + secret
        + blanks
}
