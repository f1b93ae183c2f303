//! `register`: the calls that make Sonotheia deliver to a webhook, list the registered webhooks, and delete one.

use axum::http::Uri;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde::Serialize;
use serde_json::Value;
use sonotheia_webhook::event::types::known_types;

use super::sonotheia_api::{Api, KEY, came, is_json};
use crate::address;
use crate::args::{json, print, usage};
use crate::client::{Answer, encode};
use crate::failure::Failure;
use crate::remote::RemoteError;
use crate::show::Pretty;
use crate::{args, event_type, hosts, interrupt, secret};

const PATH: &str = "/v1/webhooks";

const REDACTED: &str = "(redacted)";

/// The most characters of an answer that are printed.
const MAX_SHOWN: usize = 10_000;

/// Print the call that registers a webhook with Sonotheia, and with --apply make it; list or delete webhooks
#[derive(Args)]
pub struct Register {
    /// The webhook's address, the stack's output WebhookUrl: https://…/webhook
    #[arg(required_unless_present_any = ["list", "delete"])]
    url: Option<String>,
    /// List the registered webhooks
    #[arg(long, conflicts_with_all = ["url", "delete", "apply"])]
    list: bool,
    /// Delete the webhook with this id; without --apply, print the call
    #[arg(long, value_name = "ID", conflicts_with = "url", value_parser = NonEmptyStringValueParser::new())]
    delete: Option<String>,
    /// The event types to deliver, with commas between; without it, all known types
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = event_type::Known)]
    events: Vec<String>,
    #[command(flatten)]
    secret: secret::Source,
    /// The region of --secret-id; without it, the ARN's, or the region of AWS_REGION or of the profile
    #[arg(long, value_parser = args::region)]
    region: Option<String>,
    #[command(flatten)]
    api: Api,
    /// Print the secret, too
    #[arg(long)]
    show_secret: bool,
    /// Accept an address that Sonotheia or this receiver would not use: http, this machine, another path
    #[arg(long)]
    force: bool,
    /// Make the call
    #[arg(long)]
    apply: bool,
}

/// Why an address is no webhook's, and whether `--force` accepts it nevertheless.
struct BadTarget {
    fault: &'static str,
    can_force: bool,
}

/// Checks the address that Sonotheia would deliver to.
fn check(text: &str) -> Result<(), BadTarget> {
    let bad = |can_force, fault| Err(BadTarget { fault, can_force });
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return bad(false, "it has a blank or a line break");
    }
    let Ok(uri) = text.parse::<Uri>() else {
        return bad(false, "it is not an address");
    };
    let (Some("http" | "https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return bad(false, "it does not begin with https://");
    };
    if authority.as_str().contains('@') {
        return bad(false, "it holds a user's name, which Sonotheia would get");
    }
    let port = authority
        .as_str()
        .strip_prefix(authority.host())
        .unwrap_or_default();
    if authority.host().is_empty() || (!port.is_empty() && authority.port_u16().is_none_or(|port| port == 0))
    {
        return bad(false, "its host or port is not usable");
    }
    if text.contains('#') {
        return bad(false, "it has a fragment, which no request carries");
    }
    let host = authority.host();
    if uri.scheme_str() != Some("https") {
        return bad(true, "Sonotheia delivers to https:// addresses only");
    }
    if hosts::is_loopback(host) || hosts::is_link_local(host) || hosts::is_private(host) {
        return bad(
            true,
            "Sonotheia cannot reach this machine or a private network; a tunnel has a public address",
        );
    }
    let private = [".local", ".internal", ".localdomain", ".lan", ".home.arpa"];
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    if !name.contains(['.', ':']) || private.iter().any(|end| name.ends_with(end)) {
        return bad(true, "the host is a name of a private network");
    }
    if uri.query().is_some() {
        return bad(true, "it has a query");
    }
    let is_plain = uri.path().split('/').all(|part| !matches!(part, "." | ".."));
    if !uri.path().ends_with("/webhook") || !is_plain {
        return bad(
            true,
            "its path does not end with /webhook, so this receiver would answer 404",
        );
    }
    Ok(())
}

#[derive(Serialize)]
struct Call<'a> {
    url: &'a str,
    events: &'a [String],
    secret: &'a str,
}

impl Register {
    /// Prints the call, and the answer if the call was made.
    pub fn run(mut self) -> Result<(), Failure> {
        if self.list {
            return interrupt::run(self.print_list());
        }
        if let Some(id) = self.delete.clone() {
            return interrupt::run(self.remove(&id));
        }
        let url = self.url.take().unwrap_or_default();
        if let Err(BadTarget { fault, can_force }) = check(&url)
            && !(can_force && self.force)
        {
            let hint = if can_force {
                "; --force registers it nevertheless"
            } else {
                ""
            };
            usage(&format!(
                "cannot register {url:?}: {fault}; the address is the stack's output WebhookUrl, https://…/webhook{hint}"
            ));
        }
        if self.events.is_empty() {
            self.events = known_types().map(str::to_owned).collect();
        }
        let mut seen = std::collections::HashSet::new();
        if !self.events.iter().all(|event| seen.insert(event)) {
            usage("--events has a type more than once");
        }
        interrupt::run(self.register(&url))
    }

    async fn register(&self, url: &str) -> Result<(), Failure> {
        let Some(secret) = self.secret.text(self.region.as_deref()).await? else {
            usage("no secret: --secret-id names it in Secrets Manager, or SONOTHEIA_WEBHOOK_SECRET holds it");
        };
        let call = |secret| {
            json(&Call {
                url,
                events: &self.events,
                secret,
            })
        };
        let shown = if self.show_secret {
            secret.as_str()
        } else {
            REDACTED
        };
        let body = format!("Content-Type: application/json\n\n{}\n", Pretty(&call(shown)));
        self.print_call("POST", PATH, &body)?;
        if !self.apply {
            let more = if self.show_secret {
                ""
            } else {
                ", --show-secret shows the secret"
            };
            return print(&format!("Not sent: --apply sends it{more}.\n"));
        }
        let answer = self.api.session()?.post(PATH, call(&secret)).await?;
        let text = self.shown(&answer, Some(secret))?;
        print(&format!(
            "Registered: Sonotheia answered {}.\n{text}\n",
            answer.status
        ))
    }

    async fn print_list(&self) -> Result<(), Failure> {
        let answer = self.api.session()?.get(PATH).await?;
        print(&format!("{}\n", self.shown(&answer, None)?))
    }

    async fn remove(&self, id: &str) -> Result<(), Failure> {
        let path = format!("{PATH}/{}", encode(id));
        self.print_call("DELETE", &path, "")?;
        if !self.apply {
            return print("Not sent: --apply sends it.\n");
        }
        let answer = self.api.session()?.delete(&path).await?;
        print(&format!("Deleted: Sonotheia answered {}.\n", answer.status))
    }

    fn print_call(&self, method: &str, path: &str, rest: &str) -> Result<(), Failure> {
        let url = address::join(&self.api.base_url, path);
        print(&format!(
            "{method} {url}\nAuthorization: Bearer ${KEY}\nX-API-Key: ${KEY}\n{rest}\n"
        ))
    }

    /// The answer for a person, without the key and without the secrets that it may hold.
    fn shown(&self, answer: &Answer, secret: Option<String>) -> Result<String, Failure> {
        let value = serde_json::from_slice(&answer.body)
            .ok()
            .filter(|_| is_json(answer));
        let is_wanted = |value: &Value| value.is_object() || (self.list && value.is_array());
        let Some(mut value) = value.filter(is_wanted) else {
            return Err(RemoteError::NotAnObject {
                url: self.api.base_url.to_string(),
                status: answer.status,
                came: came(answer),
            }
            .into());
        };
        let mut hidden = vec![std::env::var(KEY).unwrap_or_default().trim().to_owned()];
        if !self.show_secret {
            hidden.extend(secret);
            hide_secrets(&mut value);
        }
        redact(&mut value, &hidden);
        Ok(Pretty(&json(&value))
            .to_string()
            .chars()
            .take(MAX_SHOWN)
            .collect())
    }
}

/// Hides every member `secret`: a list may show the secrets of all webhooks.
fn hide_secrets(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(hide_secrets),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name.to_ascii_lowercase().contains("secret") => {
                        *text = REDACTED.to_owned()
                    }
                    value => hide_secrets(value),
                }
            }
        }
        _ => {}
    }
}

/// Replaces a text wherever a string of the value holds it.
fn redact(value: &mut Value, hidden: &[String]) {
    match value {
        Value::String(text) => {
            for hidden in hidden.iter().filter(|hidden| !hidden.is_empty()) {
                *text = text.replace(hidden.as_str(), REDACTED);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| redact(value, hidden)),
        Value::Object(members) => members.values_mut().for_each(|value| redact(value, hidden)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_public_https_address_of_a_webhook_passes() {
        for good in [
            "https://receiver.example/webhook",
            "https://abc.execute-api.eu-central-1.amazonaws.com/live/webhook",
            "https://receiver.example:8443/webhook",
            "https://203.0.113.7/webhook",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for forced in [
            "http://receiver.example/webhook",
            "https://localhost/webhook",
            "https://LOCALHOST./webhook",
            "https://127.1/webhook",
            "https://[::1]:8080/webhook",
            "https://10.0.0.1/webhook",
            "https://169.254.169.254/webhook",
            "https://intranet/webhook",
            "https://printer.local/webhook",
            "https://receiver.example",
            "https://receiver.example/",
            "https://receiver.example/webhook/",
            "https://receiver.example/webhooks",
            "https://receiver.example/notwebhook",
            "https://receiver.example/a/../webhook",
            "https://receiver.example/webhook?a=b",
        ] {
            assert!(check(forced).is_err_and(|bad| bad.can_force), "{forced}");
        }
        for never in [
            "",
            "receiver.example/webhook",
            "ftp://receiver.example/webhook",
            "https:///webhook",
            "https://user:password@receiver.example/webhook",
            "https://receiver.example:8O80/webhook",
            "https://receiver.example:0/webhook",
            "https://receiver.example/webhook#a",
            " https://receiver.example/webhook",
            "https://receiver.example/web hook",
            "https://receiver.example/webhook\n",
        ] {
            assert!(check(never).is_err_and(|bad| !bad.can_force), "{never}");
        }
    }
}
