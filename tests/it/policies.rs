//! Rules that the templates keep. Every rule has a change that breaks it (`mutations.rs`), because a rule
//! that nothing breaks would prove nothing.

mod access;
mod edge;
mod files;
mod lifetime;
mod mutations;
mod operation;
mod parameters;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;

/// The template and its nested stacks.
pub const TEMPLATES: [&str; 9] = [
    "template.yaml",
    "infra/access-logs.yaml",
    "infra/dashboard.yaml",
    "infra/domain.yaml",
    "infra/edge.yaml",
    "infra/fanout.yaml",
    "infra/monitoring.yaml",
    "infra/notifications.yaml",
    "infra/publishing-alarms.yaml",
];

/// Templates that people deploy on their own, without SAM (docs/operations.md).
pub const OTHER_TEMPLATES: [&str; 2] = ["infra/cargo-lambda.yaml", "infra/http-api.yaml"];

/// The text of a file of the repository.
pub fn text(file: &str) -> String {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A template as JSON, with `!Ref x` as `{"Ref": x}` and `!Other x` as `{"Fn::Other": x}`.
pub fn parse(text: &str) -> Value {
    fn json_of(yaml: Yaml) -> Value {
        match yaml {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => json!(value),
            Yaml::Number(number) => serde_json::from_str(&number.to_string()).unwrap(),
            Yaml::String(text) => json!(text),
            Yaml::Sequence(values) => values.into_iter().map(json_of).collect(),
            Yaml::Mapping(members) => {
                let members = members.into_iter();
                let member = |(key, value): (Yaml, Yaml)| {
                    let key = match key {
                        Yaml::String(key) => key,
                        other => json_of(other).to_string(),
                    };
                    (key, json_of(value))
                };
                Value::Object(members.map(member).collect::<Map<_, _>>())
            }
            Yaml::Tagged(tagged) => {
                let tag = tagged.tag.to_string();
                let name = match tag.trim_start_matches('!') {
                    "Ref" => "Ref".to_owned(),
                    other => format!("Fn::{other}"),
                };
                json!({name: json_of(tagged.value)})
            }
        }
    }
    json_of(serde_yaml_ng::from_str(text).unwrap())
}

/// The parsed templates, by file.
pub struct Templates(BTreeMap<&'static str, Value>);

impl Templates {
    fn of(texts: &BTreeMap<&'static str, String>) -> Self {
        Self(texts.iter().map(|(file, text)| (*file, parse(text))).collect())
    }

    fn get(&self, file: &str) -> &Value {
        &self.0[file]
    }

    /// Every resource, as `file name` and itself.
    fn resources(&self) -> impl Iterator<Item = (String, &Value)> {
        self.0.iter().flat_map(|(file, template)| {
            let resources = template["Resources"].as_object().unwrap();
            resources
                .iter()
                .map(move |(name, resource)| (format!("{file} {name}"), resource))
        })
    }

    fn of_type(&self, kind: &'static str) -> impl Iterator<Item = (String, &Value)> {
        self.resources()
            .filter(move |(_, resource)| resource["Type"] == kind)
    }

    /// The only resource of that type.
    fn the(&self, kind: &'static str) -> &Value {
        let found: Vec<_> = self.of_type(kind).collect();
        assert_eq!(found.len(), 1, "{kind}");
        found[0].1
    }
}

/// A value that may be one or a list, as a list.
fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        Value::Null => Vec::new(),
        single => vec![single],
    }
}

fn words(value: &Value) -> Vec<&str> {
    list(value).into_iter().filter_map(Value::as_str).collect()
}

/// The first branch of an `!If`, or the value itself.
fn if_set(value: &Value) -> &Value {
    match &value["Fn::If"] {
        Value::Array(branches) => &branches[1],
        _ => value,
    }
}

/// Every object in a value, the value itself first.
fn objects(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().flat_map(objects).collect(),
        Value::Object(members) => std::iter::once(value)
            .chain(members.values().flat_map(objects))
            .collect(),
        _ => Vec::new(),
    }
}

/// The policies of a resource: the member that holds a policy, and each of its statements.
fn statements(resource: &Value) -> Vec<(&'static str, &Value)> {
    let mut found = Vec::new();
    for object in objects(&resource["Properties"]) {
        for kind in [
            "PolicyDocument",
            "AssumeRolePolicyDocument",
            "KeyPolicy",
            "ResourcePolicy",
            "Policy",
        ] {
            found.extend(
                list(&if_set(&object[kind])["Statement"])
                    .into_iter()
                    .map(|statement| (kind, if_set(statement))),
            );
        }
    }
    found
}

/// A rule: its name, and a check that reports what breaks it.
type Rule = (&'static str, fn(&Templates, &mut dyn FnMut(String)));

fn rules() -> impl Iterator<Item = &'static Rule> {
    [
        access::RULES,
        edge::RULES,
        lifetime::RULES,
        operation::RULES,
        parameters::RULES,
    ]
    .into_iter()
    .flatten()
}

fn sources() -> BTreeMap<&'static str, String> {
    TEMPLATES
        .into_iter()
        .chain(OTHER_TEMPLATES)
        .map(|file| (file, text(file)))
        .collect()
}

/// Every broken rule, with what breaks it.
fn faults(texts: &BTreeMap<&'static str, String>) -> Vec<(&'static str, String)> {
    let templates = Templates::of(texts);
    let mut faults = Vec::new();
    for (rule, check) in rules() {
        check(&templates, &mut |fault| faults.push((*rule, fault)));
    }
    faults
}

#[test]
fn the_templates_keep_every_rule() {
    let faults = faults(&sources());
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_rule_notices_what_breaks_it() {
    let sources = sources();
    let mut proven = BTreeSet::new();
    for (file, from, to, rule) in mutations::MUTATIONS {
        let mut changed = sources.clone();
        let text = changed.get_mut(file).unwrap();
        assert!(
            text.contains(from),
            "{file} has no {from:?}: change the test with the template"
        );
        *text = text.replacen(from, to, 1);
        let noticed: Vec<_> = faults(&changed).into_iter().map(|(rule, _)| rule).collect();
        assert!(
            noticed.iter().any(|name| name.starts_with(rule)),
            "{rule:?} did not notice {from:?} -> {to:?} in {file}, but these did: {noticed:?}"
        );
        proven.extend(noticed.into_iter().filter(|name| name.starts_with(rule)));
    }
    for (rule, _) in rules() {
        assert!(proven.contains(rule), "nothing breaks {rule:?}");
    }
}

#[test]
fn every_template_is_checked() {
    let mut found: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/infra"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".yaml"))
        .map(|name| format!("infra/{name}"))
        .chain(["template.yaml".to_owned()])
        .collect();
    let mut known = [TEMPLATES.as_slice(), &OTHER_TEMPLATES].concat();
    found.sort_unstable();
    known.sort_unstable();
    assert_eq!(found, known);
}
