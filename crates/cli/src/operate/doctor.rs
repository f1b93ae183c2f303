//! `doctor`: what is wrong with a deployment or a local set-up, and how to mend it.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    KeyType, PointInTimeRecoveryStatus, ProjectionType, TableDescription, TableStatus, TimeToLiveStatus,
};
use axum::http::Uri;
use clap::Args;
use emulators::sample_events::{self, Envelope};
use serde::Serialize;
use sonotheia_webhook::cause::CallError;
use sonotheia_webhook::secrets::Stage;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::store::Store;
use sonotheia_webhook::store::schema::{INDEXES, TABLE_KEY, TTL_ATTRIBUTE};
use sonotheia_webhook::timestamp::Timestamp;
use ureq::Agent;

use crate::args::random_hex;
use crate::args::{json, print, usage};
use crate::client::{self, Answer};
use crate::failure::Failure;
use crate::secret;
use crate::sender::send::target;
use crate::show::clean;
use crate::table::{Account, advice};

/// How far two clocks may be apart. AWS refuses requests that are signed 5 minutes off.
const MAX_SKEW: Duration = Duration::from_secs(60);

const MAX_ANSWER_BYTES: u64 = 1 << 16;

const HERE: &str = "http://127.0.0.1:8080/webhook";

/// Check a deployment or a local set-up, and say what is wrong and how to mend it
#[derive(Args)]
pub struct Doctor {
    /// The webhook's address, the stack's output WebhookUrl; without it and --table the one on this machine
    #[arg(long, value_parser = target)]
    url: Option<Uri>,
    /// The table
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    #[command(flatten)]
    account: Account,
    #[command(flatten)]
    secret: secret::Source,
    /// Send no signed probe: it is stored, as an event of type system.health_check
    #[arg(long)]
    no_probe: bool,
    /// The report as one JSON document
    #[arg(long)]
    json: bool,
}

/// What a check found.
enum Found {
    Fine(String),
    Wrong {
        what: String,
        mend: String,
    },
    /// It could not be found out.
    Unknown(String),
}

fn wrong(what: impl Into<String>, mend: impl Into<String>) -> Found {
    Found::Wrong {
        what: what.into(),
        mend: mend.into(),
    }
}

/// The report, in the order of the checks.
#[derive(Default)]
struct Report(Vec<(&'static str, Found)>);

impl Report {
    fn add(&mut self, name: &'static str, found: Found) {
        self.0.push((name, found));
    }

    fn count(&self, is: fn(&Found) -> bool) -> usize {
        self.0.iter().filter(|(_, found)| is(found)).count()
    }

    fn lines(&self) -> String {
        let mut text = String::new();
        for (name, found) in &self.0 {
            let (mark, what, mend) = match found {
                Found::Fine(what) => ("ok", what, None),
                Found::Wrong { what, mend } => ("WRONG", what, Some(mend)),
                Found::Unknown(what) => ("?", what, None),
            };
            text.push_str(&format!("{mark:<5}  {name:<13}  {}\n", clean(what)));
            if let Some(mend) = mend {
                text.push_str(&format!("{:22}mend: {}\n", "", clean(mend)));
            }
        }
        let fine = self.count(|found| matches!(found, Found::Fine(_)));
        let wrong = self.count(|found| matches!(found, Found::Wrong { .. }));
        let unknown = self.count(|found| matches!(found, Found::Unknown(_)));
        text.push_str(&format!(
            "{} checks: {fine} ok, {wrong} wrong, {unknown} could not be checked\n",
            self.0.len()
        ));
        text
    }

    fn document(&self) -> String {
        #[derive(Serialize)]
        struct Check<'a> {
            name: &'a str,
            status: &'a str,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            mend: Option<&'a str>,
        }
        #[derive(Serialize)]
        struct Document<'a> {
            checks: Vec<Check<'a>>,
        }
        let check = |(name, found): &'_ (&'static str, Found)| {
            let (status, message, mend) = match found {
                Found::Fine(what) => ("ok", what.clone(), None),
                Found::Wrong { what, mend } => ("wrong", what.clone(), Some(mend.clone())),
                Found::Unknown(what) => ("unknown", what.clone(), None),
            };
            (*name, status, message, mend)
        };
        let checks: Vec<_> = self.0.iter().map(check).collect();
        let checks = checks
            .iter()
            .map(|(name, status, message, mend)| Check {
                name,
                status,
                message,
                mend: mend.as_deref(),
            })
            .collect();
        json(&Document { checks }) + "\n"
    }
}

impl Doctor {
    /// Prints the whole report, and fails where something is wrong.
    #[tokio::main(flavor = "current_thread")]
    pub async fn run(self) -> Result<(), Failure> {
        if self.account.is_embedded() && self.table.is_none() {
            usage("--dynamodb needs --table; `serve` prints both");
        }
        let mut report = Report::default();
        let secret = self.secret(&mut report).await;
        let mut store = None;
        if let Some(table) = &self.table {
            match self.account.sdk().await {
                Ok(sdk) => {
                    let client = Account::client(&sdk);
                    if self.table(&client, table, &mut report).await {
                        store = Some(Store::new(client, table));
                    }
                }
                Err(failure) => report.add("table", wrong(failure.to_string(), "set it, and run this again")),
            }
        }
        if self.table.is_none() {
            let text = "could not be checked: --table names it".to_owned();
            report.add("table", Found::Unknown(text));
        }
        let url = match (&self.url, &self.table) {
            (Some(url), _) => Some(url.clone()),
            (None, Some(_)) => None,
            (None, None) => HERE.parse().ok(),
        };
        if let Some(url) = url {
            Receiver {
                agent: client::config(&url).build().into(),
                url,
            }
            .check(&mut report, secret, !self.no_probe, store)
            .await?;
        } else {
            let text = "could not be checked: --url gives its address".to_owned();
            report.add("receiver", Found::Unknown(text));
        }
        print(&if self.json {
            report.document()
        } else {
            report.lines()
        })?;
        match report.count(|found| matches!(found, Found::Wrong { .. })) {
            0 => Ok(()),
            wrong => Err(Failure::Unwell {
                wrong,
                checked: report.0.len(),
            }),
        }
    }

    /// The secret, where it can be had.
    async fn secret(&self, report: &mut Report) -> Option<Secret> {
        const NAME: &str = "secret";
        let (text, note) = match (&self.secret.secret, &self.secret.secret_id) {
            (Some(text), _) => (text.clone(), "given, and not empty".to_owned()),
            (None, Some(id)) => match secret::fetch(id, Stage::Current).await {
                Ok(Some(text)) => {
                    let previous = match secret::fetch(id, Stage::Previous).await {
                        Ok(Some(_)) => "there is a previous version, which is accepted too",
                        Ok(None) => "there is no previous version",
                        Err(_) => "the previous version can't be read",
                    };
                    (text, format!("{id} is readable and not empty; {previous}"))
                }
                Ok(None) => {
                    let mend = "--secret-id takes the stack's output SecretArn; AWS_REGION says where it is";
                    report.add(NAME, wrong(format!("there is no secret {id} here"), mend));
                    return None;
                }
                Err(failure) => {
                    let mend =
                        "put a string, or {\"webhook_secret\": \"…\"}, that these credentials may read";
                    report.add(NAME, wrong(told(&failure), mend));
                    return None;
                }
            },
            (None, None) => {
                let text = "no secret was given: --secret-id names it, or SONOTHEIA_WEBHOOK_SECRET holds it";
                report.add(NAME, Found::Unknown(text.to_owned()));
                return None;
            }
        };
        let put = "aws secretsmanager put-secret-value, and register the same with Sonotheia";
        let found = if text.trim().is_empty() {
            wrong("the secret is empty, and nothing is accepted", put)
        } else if text.trim() != text {
            let what = "the secret has blanks or a line break at its ends, which sign as the rest does";
            wrong(
                what,
                format!("put it without them, unless Sonotheia has them too: {put}"),
            )
        } else {
            Found::Fine(note)
        };
        report.add(NAME, found);
        Secret::new(text).ok()
    }

    /// Whether there is a table to read from.
    async fn table(&self, client: &Client, table: &str, report: &mut Report) -> bool {
        let description = match client.describe_table().table_name(table).send().await {
            Ok(output) => output.table,
            Err(error) => {
                let what = format!("can't look at table {table}: {}", code(&error));
                report.add("table", wrong(what, advice(&CallError::from(&error))));
                return false;
            }
        };
        let Some(description) = description else {
            report.add("table", Found::Unknown("DynamoDB did not describe it".to_owned()));
            return false;
        };
        let keys = [(TABLE_KEY, KeyType::Hash)];
        let is_ours = has_keys(description.key_schema(), &keys);
        let found = match description.table_status() {
            _ if !is_ours => {
                let what = format!("{table} is another program's table: its key is not {TABLE_KEY} alone");
                wrong(what, "--table takes the stack's output EventsTableName")
            }
            Some(TableStatus::Active | TableStatus::Updating) => Found::Fine(format!("{table} is there")),
            status => {
                let status = status.map_or("unknown", TableStatus::as_str);
                wrong(
                    format!("{table} is {status}"),
                    "wait until it is ACTIVE, or see its events in the console",
                )
            }
        };
        report.add("table", found);
        report.add("indexes", indexes(&description));
        report.add("TTL", ttl(client, table).await);
        report.add("PITR", pitr(client, table).await);
        is_ours
    }
}

/// A failure with its causes, on one line.
fn told(failure: &Failure) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// No answer, without the advice that other commands give.
fn unanswered(failure: &Failure) -> String {
    match failure {
        Failure::Http { url, source } => format!("no answer from {url}: {source}"),
        other => told(other),
    }
}

/// The kind and the code of a call that failed. The service's message may quote the request, so nobody sees it.
fn code<E>(error: &SdkError<E>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match error.code() {
        // An embedded DynamoDB has not all of them.
        Some("UnknownOperationException") => "this DynamoDB has no such call".to_owned(),
        _ => CallError::from(error).to_string(),
    }
}

fn has_keys(schema: &[aws_sdk_dynamodb::types::KeySchemaElement], keys: &[(&str, KeyType)]) -> bool {
    let has = |(name, kind): &(&str, KeyType)| {
        let is = |key: &aws_sdk_dynamodb::types::KeySchemaElement| {
            key.attribute_name() == *name && key.key_type() == kind
        };
        schema.iter().any(is)
    };
    schema.len() == keys.len() && keys.iter().all(has)
}

fn indexes(table: &TableDescription) -> Found {
    let mut faults = Vec::new();
    for wanted in &INDEXES {
        let there = table.global_secondary_indexes().iter();
        let Some(index) = there
            .clone()
            .find(|index| index.index_name() == Some(wanted.name))
        else {
            faults.push(format!("{} is missing", wanted.name));
            continue;
        };
        let keys = [
            (wanted.partition_key, KeyType::Hash),
            (wanted.sort_key, KeyType::Range),
        ];
        if !has_keys(index.key_schema(), &keys) {
            faults.push(format!("{} has other keys", wanted.name));
        }
        let projection = index.projection();
        let whole = projection.and_then(|p| p.projection_type()) == Some(&ProjectionType::All);
        let included = projection.map(|p| p.non_key_attributes()).unwrap_or_default();
        let lacking = |name: &&&str| !included.iter().any(|there| there == **name);
        let lacking: Vec<_> = wanted.includes.iter().filter(lacking).copied().collect();
        if !whole && !lacking.is_empty() {
            faults.push(format!("{} lacks {}", wanted.name, lacking.join(", ")));
        }
    }
    if faults.is_empty() {
        Found::Fine(INDEXES.map(|index| index.name).join(", "))
    } else {
        wrong(
            format!("reads will fail: {}", faults.join("; ")),
            "deploy the template's table; an index that is wrong is deleted first, and made anew",
        )
    }
}

async fn ttl(client: &Client, table: &str) -> Found {
    let output = match client.describe_time_to_live().table_name(table).send().await {
        Ok(output) => output,
        Err(error) => return Found::Unknown(format!("could not be checked: {}", code(&error))),
    };
    let description = output.time_to_live_description();
    let status = description.and_then(|ttl| ttl.time_to_live_status());
    let attribute = description.and_then(|ttl| ttl.attribute_name());
    let on = matches!(
        status,
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
    );
    let mend = format!(
        "aws dynamodb update-time-to-live --table-name {table} \
         --time-to-live-specification Enabled=true,AttributeName={TTL_ATTRIBUTE}"
    );
    match attribute {
        Some(TTL_ATTRIBUTE) if on => Found::Fine(format!("on, by {TTL_ATTRIBUTE}")),
        Some(other) if on => wrong(
            format!("it goes by {other}, and not by {TTL_ATTRIBUTE}: records stay for ever"),
            format!("switch it off first, which takes an hour; then {mend}"),
        ),
        _ => wrong("it is off: records stay for ever", mend),
    }
}

async fn pitr(client: &Client, table: &str) -> Found {
    let output = match client
        .describe_continuous_backups()
        .table_name(table)
        .send()
        .await
    {
        Ok(output) => output,
        Err(error) => return Found::Unknown(format!("could not be checked: {}", code(&error))),
    };
    let status = output
        .continuous_backups_description()
        .and_then(|backups| backups.point_in_time_recovery_description())
        .and_then(|pitr| pitr.point_in_time_recovery_status());
    if status == Some(&PointInTimeRecoveryStatus::Enabled) {
        return Found::Fine("on".to_owned());
    }
    wrong(
        "point-in-time recovery is off: what is deleted by mistake is lost",
        format!(
            "aws dynamodb update-continuous-backups --table-name {table} \
             --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
        ),
    )
}

/// The receiver as a sender sees it.
struct Receiver {
    agent: Agent,
    url: Uri,
}

impl Receiver {
    async fn check(
        &self,
        report: &mut Report,
        secret: Option<Secret>,
        probe: bool,
        store: Option<Store>,
    ) -> Result<(), Failure> {
        let id = format!("evt_doctor_{}", random_hex::<8>()?);
        let now = Timestamp::now();
        let event = sample_events::event("system.health_check", Envelope::Schema, &id, "", now);
        let body = event.map(|event| event.to_string()).unwrap_or_default();
        // Of a key that nobody has.
        let forger = Secret::new(random_hex::<32>()?)?;

        // First the one that changes nothing; its answer has the receiver's clock, too.
        let forged = match self.post(&body, &forger) {
            Ok(answer) => answer,
            Err(failure) => {
                let mend = "start it with `cargo sonotheia serve`, or give its address with --url";
                report.add("receiver", wrong(unanswered(&failure), mend));
                return Ok(());
            }
        };
        report.add("receiver", Found::Fine(format!("{} answers", self.url)));
        report.add("clock", clock(forged.date.as_deref(), SystemTime::now()));
        report.add("forged event", refused(&forged));
        match (probe, secret) {
            (false, _) => {}
            (true, None) => {
                let text = "could not be checked without the secret".to_owned();
                report.add("signed event", Found::Unknown(text));
            }
            (true, Some(secret)) => {
                let (found, stored) = self.probe(&body, &secret);
                report.add("signed event", found);
                if stored && let Some(store) = store {
                    report.add("record", record(&store, &id).await);
                }
            }
        }
        Ok(())
    }

    fn post(&self, body: &str, secret: &Secret) -> Result<Answer, Failure> {
        let request = self
            .agent
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("X-Sonotheia-Signature", secret.sign(body.as_bytes()).to_string())
            .header("User-Agent", "sonotheia-doctor");
        Answer::read(&self.url, request.send(body), MAX_ANSWER_BYTES)
    }

    /// Sends it twice; whether it was stored.
    fn probe(&self, body: &str, secret: &Secret) -> (Found, bool) {
        for expected in [false, true] {
            let answer = match self.post(body, secret) {
                Ok(answer) => answer,
                Err(failure) => return (wrong(unanswered(&failure), "see the function's log"), expected),
            };
            if answer.status != 200 {
                let mend = match answer.status {
                    401 => {
                        "it has another secret: compare the one registered, the one in Secrets Manager and this one"
                    }
                    403 => {
                        "something in front of the function refuses it: see the gateway's resource policy and firewall"
                    }
                    404 | 405 => "this is not the webhook's address; the stack's output WebhookUrl is",
                    503 => {
                        "it can't reach its table or its secret: see the function's log for `not available`"
                    }
                    _ => "see the function's log",
                };
                return (
                    wrong(format!("it was answered {}", answer.status), mend),
                    expected,
                );
            }
            #[derive(serde::Deserialize)]
            struct Receipt {
                duplicate: bool,
            }
            let receipt = serde_json::from_slice::<Receipt>(&answer.body);
            match receipt.map(|receipt| receipt.duplicate) {
                Ok(duplicate) if duplicate == expected => {}
                Ok(_) => {
                    let what = "sent twice, it was not accepted once and known the second time";
                    return (
                        wrong(what, "see that there is one table, with the key event_id"),
                        true,
                    );
                }
                Err(_) => {
                    let what = "the answer is not this receiver's";
                    return (wrong(what, "see what is at that address"), false);
                }
            }
        }
        let text = "accepted, and a duplicate when it came again".to_owned();
        (Found::Fine(text), true)
    }
}

fn refused(answer: &Answer) -> Found {
    match answer.status {
        401 => Found::Fine("refused with 401".to_owned()),
        200..=299 => wrong(
            format!(
                "a forged event was answered {}: anybody can send events",
                answer.status
            ),
            "this is not this receiver, or something answers for it; see what is at that address",
        ),
        503 => wrong(
            "it can't tell, and answered 503: it has no secret to go by",
            "see the function's log for `not available`, and its permission to read the secret",
        ),
        403 => wrong(
            "something in front of the receiver refused it with 403, and would refuse Sonotheia too",
            "see the gateway's resource policy and firewall",
        ),
        status => wrong(
            format!("it was answered {status}, and not 401"),
            "give the webhook's address; the stack's output WebhookUrl is it",
        ),
    }
}

async fn record(store: &Store, id: &str) -> Found {
    match store.get(id).await {
        Ok(Some(_)) => Found::Fine(format!("{id} is in the table")),
        Ok(None) => wrong(
            "the event that was accepted is not in the table",
            "the receiver has another table: compare EVENTS_TABLE with --table, and the regions",
        ),
        Err(error) => Found::Unknown(format!("could not be checked: {error}")),
    }
}

fn clock(date: Option<&str>, now: SystemTime) -> Found {
    let Some(then) = date.and_then(|date| httpdate::parse_http_date(date).ok()) else {
        return Found::Unknown("could not be checked: the answer has no Date".to_owned());
    };
    let apart = now.duration_since(then).unwrap_or_else(|error| error.duration());
    let seconds = apart.as_secs();
    if apart <= MAX_SKEW {
        // The header has whole seconds.
        return Found::Fine(format!(
            "the receiver's and this machine's are within {} s",
            seconds + 1
        ));
    }
    wrong(
        format!("the receiver's and this machine's are {seconds} s apart"),
        "set the wrong one by NTP: AWS refuses requests signed 5 minutes off, the receiver events a day ahead",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_apart_are_told_in_both_directions() {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_000_400);
        let date = httpdate::fmt_http_date(then);
        let at = |seconds: i64| {
            let offset = Duration::from_secs(seconds.unsigned_abs());
            let now = if seconds < 0 { then - offset } else { then + offset };
            clock(Some(&date), now)
        };
        assert!(matches!(at(0), Found::Fine(_)));
        assert!(matches!(at(-60), Found::Fine(_)));
        for seconds in [-61, 300] {
            assert!(
                matches!(at(seconds), Found::Wrong { what, .. } if what.contains(&seconds.unsigned_abs().to_string()))
            );
        }
        assert!(matches!(clock(None, then), Found::Unknown(_)));
        assert!(matches!(clock(Some("today"), then), Found::Unknown(_)));
    }
}
