//! A check of the SDK's own variables. The SDK panics on some slips in them, and reports others as a failed call.

use std::ffi::OsString;
use std::fmt;

use axum::http::Uri;

/// The variables that cannot be used, one line each. The text does not repeat a value, which may be a key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub struct BadVariables(Vec<(String, &'static str)>);

impl fmt::Display for BadVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self
            .0
            .iter()
            .map(|(name, fault)| format!("{name} {fault}"))
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Checks variables by their names and values.
///
/// # Errors
/// [`BadVariables`]: all of them together.
pub fn check(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<(), BadVariables> {
    let mut faults = Vec::new();
    for (name, value) in variables {
        let (Ok(name), Ok(value)) = (name.into_string(), value.into_string().map_err(drop)) else {
            continue;
        };
        if let Some(fault) = fault(&name, &value) {
            faults.push((name, fault));
        }
    }
    faults.sort();
    if faults.is_empty() {
        Ok(())
    } else {
        Err(BadVariables(faults))
    }
}

fn fault(name: &str, value: &str) -> Option<&'static str> {
    if name.starts_with("AWS_ENDPOINT_URL") {
        return match value {
            "" => Some("is empty, which the SDK does not accept; unset it"),
            _ => (!is_endpoint(value)).then_some("is not an address like http://127.0.0.1:8000"),
        };
    }
    let is_visible = value.bytes().all(|byte| byte.is_ascii_graphic());
    match name {
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" if !is_visible => Some(
            "has a blank, a line break or another character that no key has; it may have been pasted wrongly",
        ),
        "AWS_EXECUTION_ENV" | "AWS_SDK_UA_APP_ID" if value.chars().any(char::is_control) => {
            Some("has a character that no header can have")
        }
        "AWS_REGION" | "AWS_DEFAULT_REGION" if !value.is_empty() => region(value).err(),
        _ => None,
    }
}

fn is_endpoint(value: &str) -> bool {
    let Ok(uri) = value.parse::<Uri>() else {
        return false;
    };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return false;
    };
    // `Uri` accepts any text as a port.
    let host = authority.host();
    let port = authority.as_str().strip_prefix(host).unwrap_or("?");
    !host.is_empty() && (port.is_empty() || authority.port_u16().is_some_and(|port| port > 0))
}

/// Reads a region: it becomes a part of a host's name.
pub fn region(text: &str) -> Result<String, &'static str> {
    let is_region = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_region {
        Ok(text.to_owned())
    } else {
        Err("is not a region like eu-central-1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(variables: &[(&str, &str)]) -> String {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        check(variables).map_or_else(|bad| bad.to_string(), |()| String::new())
    }

    #[test]
    fn all_slips_are_reported_together_and_without_their_values() {
        let text = checked(&[
            ("AWS_ENDPOINT_URL", ""),
            ("AWS_ENDPOINT_URL_DYNAMODB", "127.0.0.1:8000"),
            ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:8O80"),
            ("AWS_ACCESS_KEY_ID", "AKID\n"),
            ("AWS_SESSION_TOKEN", "to ken"),
            ("AWS_REGION", "eu central"),
            ("AWS_SDK_UA_APP_ID", "a\nb"),
        ]);
        assert_eq!(text.lines().count(), 7, "{text}");
        assert!(!text.contains("AKID") && !text.contains("to ken"), "{text}");
    }

    #[test]
    fn usable_variables_pass() {
        let text = checked(&[
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:8000"),
            ("AWS_ENDPOINT_URL", "https://vpce.example/path"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalr/XUtnFEMI+K7MDENG="),
            ("AWS_REGION", ""),
            ("AWS_DEFAULT_REGION", "us-gov-west-1"),
            ("AWS_RETRY_MODE", "x"),
            ("HOME", "/a b"),
        ]);
        assert_eq!(text, "");
    }
}
