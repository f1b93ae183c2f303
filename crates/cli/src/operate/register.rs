//! `register`: the call that makes the sender deliver here.

use axum::http::Uri;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use sonotheia_webhook::event::types::known_types;

use crate::args::{json, print, usage};
use crate::client;
use crate::failure::Failure;
use crate::operate::sonotheia_api::{Api, KEY};
use crate::secret;
use crate::show::{Pretty, clean};

const PATH: &str = "/v1/webhooks";

/// Print the call that registers a webhook with the sender, and with --apply send it
#[derive(Args)]
pub struct Register {
    /// The webhook's address, the stack's output WebhookUrl
    #[arg(value_parser = target)]
    url: Uri,
    /// Types to be told of, with commas between; every known one without it
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = PossibleValuesParser::new(known_types()))]
    events: Vec<String>,
    #[command(flatten)]
    secret: secret::Source,
    #[command(flatten)]
    api: Api,
    /// Print the secret, too
    #[arg(long)]
    show_secret: bool,
    /// Send it
    #[arg(long)]
    apply: bool,
}

fn target(text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "it is not an address")?;
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if client::is_loopback(&uri) => Ok(uri),
        _ => Err("Sonotheia delivers to https:// addresses only"),
    }
}

#[derive(Serialize)]
struct Call<'a> {
    url: String,
    events: &'a [String],
    secret: &'a str,
}

impl Register {
    /// Prints the call, and the answer where it was sent.
    #[tokio::main(flavor = "current_thread")]
    pub async fn run(mut self) -> Result<(), Failure> {
        if self.events.is_empty() {
            self.events = known_types().map(str::to_owned).collect();
        }
        let mut seen = std::collections::HashSet::new();
        if !self.events.iter().all(|event| seen.insert(event)) {
            usage("--events has a type more than once");
        }
        let Some(secret) = self.secret.text().await? else {
            usage("no secret: --secret-id names it in Secrets Manager, or SONOTHEIA_WEBHOOK_SECRET holds it");
        };
        let call = |secret| {
            json(&Call {
                url: self.url.to_string(),
                events: &self.events,
                secret,
            })
        };
        let shown = if self.show_secret {
            secret.as_str()
        } else {
            "(redacted)"
        };
        print(&format!(
            "POST {}\nAuthorization: Bearer ${KEY}\nContent-Type: application/json\n\n{}\n\n",
            client::join(&self.api.base_url, PATH),
            Pretty(&call(shown))
        ))?;
        if !self.apply {
            let more = if self.show_secret {
                ""
            } else {
                ", --show-secret shows the secret"
            };
            return print(&format!("Not sent: --apply sends it{more}.\n"));
        }
        let answer = self.api.session()?.post(PATH, &call(&secret))?;
        let text = String::from_utf8_lossy(&answer.body);
        let text = match serde_json::from_str::<&serde_json::value::RawValue>(&text) {
            Ok(value) => Pretty(value.get()).to_string(),
            Err(_) => clean(&text),
        };
        // Whoever registers may be answered with all of it.
        let quoted = json(&secret);
        let text = match self.show_secret {
            true => text,
            false => text
                .replace(&quoted, "\"(redacted)\"")
                .replace(secret.as_str(), "(redacted)"),
        };
        let text: String = text.chars().take(10_000).collect();
        print(&format!(
            "Registered: Sonotheia answered {}.\n{text}\n",
            answer.status
        ))
    }
}
