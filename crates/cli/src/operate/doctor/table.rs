//! The table: its keys, its indexes, TTL and backups.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    KeySchemaElement, KeyType, PointInTimeRecoveryStatus, ProjectionType, TableDescription, TableStatus,
    TimeToLiveStatus,
};
use sonotheia_webhook::cause::CallError;
use sonotheia_webhook::store::schema::{INDEXES, Index, TABLE_KEY, TTL_ATTRIBUTE};

use super::report::{Found, Report, wrong};
use crate::table::advice;

/// Checks the table. Returns true if it is a table of this receiver, to read from.
pub async fn check(client: &Client, table: &str, report: &mut Report) -> bool {
    let described = client.describe_table().table_name(table).send().await;
    let description = match described.map_err(CallError::from) {
        Ok(output) => output.table,
        Err(call) => {
            report.add(
                "table",
                wrong(format!("cannot read table {table}: {call}"), advice(&call)),
            );
            return false;
        }
    };
    let Some(description) = description else {
        report.add("table", Found::Unknown("DynamoDB did not describe it".to_owned()));
        return false;
    };
    let is_ours = has_keys(description.key_schema(), &[(TABLE_KEY, KeyType::Hash)]);
    report.add("table", status(table, &description, is_ours));
    report.add("indexes", indexes(&description));
    report.add("TTL", ttl(client, table).await);
    report.add("PITR", pitr(client, table).await);
    is_ours
}

fn status(table: &str, description: &TableDescription, is_ours: bool) -> Found {
    if !is_ours {
        return wrong(
            format!("{table} is another program's table: its key is not {TABLE_KEY} alone"),
            "--table takes the stack's output EventsTableName",
        );
    }
    match description.table_status() {
        Some(TableStatus::Active | TableStatus::Updating) => Found::Fine(format!("{table} exists")),
        status => {
            let status = status.map_or("unknown", TableStatus::as_str);
            wrong(
                format!("{table} is {status}"),
                "wait until it is ACTIVE, or see its events in the console",
            )
        }
    }
}

fn has_keys(schema: &[KeySchemaElement], keys: &[(&str, KeyType)]) -> bool {
    let has = |(name, kind): &(&str, KeyType)| {
        schema
            .iter()
            .any(|key| key.attribute_name() == *name && key.key_type() == kind)
    };
    schema.len() == keys.len() && keys.iter().all(has)
}

fn indexes(table: &TableDescription) -> Found {
    let faults: Vec<_> = INDEXES.iter().flat_map(|wanted| faults(table, wanted)).collect();
    if faults.is_empty() {
        return Found::Fine(INDEXES.map(|index| index.name).join(", "));
    }
    wrong(
        format!("reads will fail: {}", faults.join("; ")),
        "deploy the template's table; delete an index that is wrong first, and create it again",
    )
}

fn faults(table: &TableDescription, wanted: &Index) -> Vec<String> {
    let mut all = table.global_secondary_indexes().iter();
    let Some(index) = all.find(|index| index.index_name() == Some(wanted.name)) else {
        return vec![format!("{} is missing", wanted.name)];
    };
    let mut faults = Vec::new();
    let keys = [
        (wanted.partition_key, KeyType::Hash),
        (wanted.sort_key, KeyType::Range),
    ];
    if !has_keys(index.key_schema(), &keys) {
        faults.push(format!("{} has other keys", wanted.name));
    }
    let projection = index.projection();
    let is_whole = projection.and_then(|p| p.projection_type()) == Some(&ProjectionType::All);
    let included = projection.map(|p| p.non_key_attributes()).unwrap_or_default();
    let lacks = |name: &&&str| !included.iter().any(|there| there == **name);
    let lacking: Vec<_> = wanted.includes.iter().filter(lacks).copied().collect();
    if !is_whole && !lacking.is_empty() {
        faults.push(format!("{} lacks {}", wanted.name, lacking.join(", ")));
    }
    faults
}

/// A call that failed. An embedded DynamoDB has neither backups nor all other calls.
fn unknown(call: &CallError) -> Found {
    match call.code() {
        Some("UnknownOperationException") => Found::NotHere("this DynamoDB has no such call".to_owned()),
        _ => Found::Unknown(format!("could not be checked: {call}; {}", advice(call))),
    }
}

async fn ttl(client: &Client, table: &str) -> Found {
    let described = client.describe_time_to_live().table_name(table).send().await;
    let output = match described.map_err(CallError::from) {
        Ok(output) => output,
        Err(call) => return unknown(&call),
    };
    let description = output.time_to_live_description();
    let status = description.and_then(|ttl| ttl.time_to_live_status());
    let attribute = description.and_then(|ttl| ttl.attribute_name());
    let is_on = matches!(
        status,
        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
    );
    let mend = format!(
        "aws dynamodb update-time-to-live --table-name {table} \
         --time-to-live-specification Enabled=true,AttributeName={TTL_ATTRIBUTE}"
    );
    match attribute {
        Some(TTL_ATTRIBUTE) if is_on => Found::Fine(format!("on, by {TTL_ATTRIBUTE}")),
        Some(other) if is_on => wrong(
            format!("it uses {other} and not {TTL_ATTRIBUTE}, so DynamoDB deletes no record"),
            format!("switch it off first, which takes an hour; then {mend}"),
        ),
        _ => wrong("it is off, so DynamoDB deletes no record", mend),
    }
}

async fn pitr(client: &Client, table: &str) -> Found {
    let described = client
        .describe_continuous_backups()
        .table_name(table)
        .send()
        .await;
    let output = match described.map_err(CallError::from) {
        Ok(output) => output,
        Err(call) => return unknown(&call),
    };
    let status = output
        .continuous_backups_description()
        .and_then(|backups| backups.point_in_time_recovery_description())
        .and_then(|pitr| pitr.point_in_time_recovery_status());
    if status == Some(&PointInTimeRecoveryStatus::Enabled) {
        return Found::Fine("on".to_owned());
    }
    wrong(
        "point-in-time recovery is off, so records that are deleted by mistake are lost",
        format!(
            "aws dynamodb update-continuous-backups --table-name {table} \
             --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
        ),
    )
}
