//! The rules of a deployment, for the commands that store events in its table.
//!
//! A command runs on another machine than the function, so the command's environment says nothing about the deployment.
//! With a longer retention than the function's, a replay of an event whose record DynamoDB has deleted would be stored as
//! new. So the retention comes from the table: each record holds the time from which DynamoDB may delete it.

use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use sonotheia_webhook::event::Event;
use sonotheia_webhook::ingest::Rules;
use sonotheia_webhook::store::schema::SHARDS;
use sonotheia_webhook::store::{Filter, Outcome, Record, Store, StoreError};
use sonotheia_webhook::timestamp::{Parsed, Timestamp};

use crate::failure::Failure;
use crate::remote::RemoteError;
use crate::table::OPERATION;

/// The longest time between a judgement and its write. The client gives up before.
const WRITE_LIMIT: Duration = Duration::from_secs(35);
const _: () = assert!(WRITE_LIMIT.as_millis() > OPERATION.as_millis());

/// A day, in milliseconds.
const DAY: i64 = 86_400_000;

/// The parameters of the deployment.
#[derive(Args)]
pub struct Deployed {
    /// The stack's parameter RetentionDays; without it, the retention of the newest records. The command
    /// ignores the variable RETENTION_DAYS
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
    retention_days: Option<u32>,
    /// The stack's parameter DeepfakeAlertThreshold. The command ignores the variable DEEPFAKE_ALERT_THRESHOLD
    #[arg(long, value_name = "SCORE", default_value_t = 0.8, value_parser = score)]
    alert_threshold: f64,
}

fn score(text: &str) -> Result<f64, &'static str> {
    let score = text.parse().ok().filter(|score| (0.0..=1.0).contains(score));
    score.ok_or("a score is a number from 0 to 1")
}

impl Deployed {
    /// The rules that the deployment judges by.
    ///
    /// # Errors
    /// [`RemoteError::NoRetention`] and [`RemoteError::Retention`].
    pub async fn rules(&self, table: &str, store: &Store) -> Result<Rules, Failure> {
        let newest = newest(store)
            .await
            .map_err(|source| Failure::table(table, source))?;
        Ok(Rules {
            retention_days: retention(self.retention_days, &newest)?,
            alert_threshold: self.alert_threshold,
            write_limit: WRITE_LIMIT,
        })
    }
}

/// Chooses the retention, from the option and from the newest records.
fn retention(given: Option<u32>, newest: &[Record]) -> Result<u32, RemoteError> {
    if let Some(given) = given {
        // Records from before a change of the parameter do not count, so the newest record decides.
        let last = newest.iter().max_by(|a, b| a.received_at.cmp(&b.received_at));
        return match last.and_then(kept_days) {
            Some(kept) if kept < given => Err(RemoteError::Retention { given, kept }),
            _ => Ok(given),
        };
    }
    // If the parameter was raised, older records have a shorter retention. The shortest is on the safe side.
    let shortest = newest.iter().filter_map(kept_days).min();
    shortest.ok_or(RemoteError::NoRetention)
}

/// The whole days that the deployment keeps a record, from the time of receipt or of the event, whichever is later. `None`
/// if the record does not say: its event asked for its own, longer retention, or its body is erased.
fn kept_days(record: &Record) -> Option<u32> {
    let moment = |text: &str| match Timestamp::parse(text) {
        Some(Parsed::Moment(time)) => Some(time),
        _ => None,
    };
    let mut begin = moment(&record.received_at)?;
    let own = match (Event::parse(record.body.as_deref()?, 1.0), record.outcome) {
        (Ok(event), _) => event.retention_days.unwrap_or(0),
        (Err(_), Outcome::Rejected) => 0,
        (Err(_), Outcome::Accepted) => return None,
    };
    // The receiver keeps a rejected record from the receipt on.
    if record.outcome == Outcome::Accepted
        && let Some(occurred) = record.occurred_at.as_deref().and_then(moment)
    {
        begin = begin.max(occurred);
    }
    let days = (record.expires_at.as_millis() - begin.as_millis()) / DAY;
    u32::try_from(days)
        .ok()
        .filter(|days| (1..=3650).contains(days) && *days > own)
}

/// The newest record of each shard, with its body.
async fn newest(store: &Store) -> Result<Vec<Record>, StoreError> {
    let (filter, now) = (Filter::default(), Timestamp::now());
    let (_, until) = filter.bounds();
    let shards = (0..SHARDS).map(|shard| {
        let (filter, until) = (&filter, &until);
        async move {
            let page = store.by_time(shard, filter, until, 1, None, now).await?;
            match page.records.first() {
                Some(record) => store.get(&record.event_id).await,
                None => Ok(None),
            }
        }
    });
    let records: Vec<_> = stream::iter(shards).buffered(8).try_collect().await?;
    Ok(records.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(received_at: &str, kept: i64, occurred_at: Option<&str>) -> Record {
        let Some(Parsed::Moment(received)) = Timestamp::parse(received_at) else {
            panic!("{received_at} is not a time");
        };
        Record {
            event_id: "e".into(),
            outcome: Outcome::Accepted,
            reason: None,
            event_type: None,
            session_id: None,
            occurred_at: occurred_at.map(str::to_owned),
            received_at: received_at.into(),
            // The receiver rounds up to whole seconds.
            expires_at: Timestamp::from_millis(received.as_millis() + kept * DAY + 999),
            erased_at: None,
            problems: Vec::new(),
            alert: None,
            content_hash: None,
            body: Some(br#"{"id":"e","type":"t","data":{}}"#.to_vec()),
        }
    }

    #[test]
    fn the_retention_comes_from_the_newest_records() {
        let old = record("2026-01-01T00:00:00.000Z", 30, None);
        let new = record("2026-02-01T00:00:00.500Z", 90, None);
        let long = record("2026-02-02T00:00:00.000Z", 1825, None);
        let all = [old.clone(), new.clone(), long.clone()];
        assert!(matches!(retention(None, &all), Ok(30)));
        assert!(matches!(retention(None, &[new.clone(), long.clone()]), Ok(90)));
        assert!(matches!(retention(None, &[]), Err(RemoteError::NoRetention)));
        // An event that asked for its own retention says nothing about the deployment's.
        let asked = Record {
            body: Some(
                br#"{"id":"e","type":"t","data":{"compliance":{"retention_period_days":1825}}}"#.to_vec(),
            ),
            ..long
        };
        assert!(matches!(
            retention(None, std::slice::from_ref(&asked)),
            Err(RemoteError::NoRetention)
        ));
        assert!(matches!(retention(None, &[asked, new.clone()]), Ok(90)));
        let erased = Record {
            body: None,
            ..new.clone()
        };
        assert!(matches!(
            retention(None, &[erased]),
            Err(RemoteError::NoRetention)
        ));
        let rejected = |body: &str| Record {
            outcome: Outcome::Rejected,
            body: Some(body.into()),
            ..new.clone()
        };
        assert!(matches!(retention(None, &[rejected("not JSON")]), Ok(90)));
        let conflict = r#"{"id":"e","type":"t","data":{"compliance":{"retention_period_days":90}}}"#;
        assert!(matches!(
            retention(None, &[rejected(conflict)]),
            Err(RemoteError::NoRetention)
        ));
        // The event happened 2 hours after its receipt, by the sender's clock.
        let ahead = record("2026-02-01T00:00:00.000Z", 90, Some("2026-02-01T02:00:00.000Z"));
        assert!(matches!(retention(None, &[ahead]), Ok(89)));
    }

    #[test]
    fn an_option_that_is_longer_than_the_deployments_is_refused() {
        let old = record("2026-01-01T00:00:00.000Z", 30, None);
        let new = record("2026-02-01T00:00:00.000Z", 90, None);
        assert!(matches!(retention(Some(90), &[new.clone(), old.clone()]), Ok(90)));
        assert!(matches!(retention(Some(5), std::slice::from_ref(&old)), Ok(5)));
        assert!(matches!(retention(Some(5), &[]), Ok(5)));
        assert!(matches!(
            retention(Some(91), &[old, new]),
            Err(RemoteError::Retention { given: 91, kept: 90 })
        ));
    }

    #[test]
    fn a_write_ends_before_its_judgement_is_too_old() {
        let endpoint = "http://127.0.0.1:9";
        let client = crate::table::Account::client(&emulators::sdk_config(endpoint));
        let limits = client.config().timeout_config().cloned().expect("limits");
        assert_eq!(limits.operation_timeout(), Some(OPERATION));
        assert!(WRITE_LIMIT > OPERATION);
    }
}
