//! `serve` on an embedded DynamoDB, with the inspector.

use std::path::Path;

use sonotheia_webhook::app::App;
use sonotheia_webhook::router::router;
use sonotheia_webhook::secrets::Secrets;
use sonotheia_webhook::signature::Secret;

use super::config::LocalConfig;
use super::data::{DataError, DataFile};
use super::dynamodb::LocalDynamoDb;
use super::guard::Guard;
use super::kept_secret;
use super::log::Format;
use super::ports;
use super::running::Running;
use super::serve::{Listening, Serve};
use crate::args::{print, random_hex};
use crate::failure::Failure;
use crate::inspector::{self, Inspector};
use crate::records::listen::{self, Forwarding};
use crate::{address, client};

/// The secret, and where it comes from.
struct Key {
    text: String,
    /// True if `serve` made the secret, now or at an earlier start.
    is_made: bool,
}

/// Serves until Ctrl-C or SIGTERM.
///
/// # Errors
/// [`Failure`]. The options, the environment and the file are checked before anything is written.
pub async fn run(serve: &Serve) -> Result<(), Failure> {
    let LocalConfig { config, given } = LocalConfig::from_env()?;
    let listening = serve
        .listen(Format::of_terminal(), emulators::ERRORS_ONLY)
        .await?;
    check_target(serve, &listening)?;
    let inner = ports::listen("127.0.0.1", serve.dynamodb_port, "--dynamodb-port").await?;
    let data = serve.data.as_deref().map(|file| open(file, &config.events_table));
    let data = data.transpose()?;
    let file = data.as_ref().map(DataFile::path);
    let key = key(given, file)?;
    let secret = Secret::new(&key.text)?;

    if let Some(data) = &data {
        data.create().map_err(|source| unusable(data.path(), source))?;
    }
    let dynamodb = LocalDynamoDb::start(inner, file, &config.events_table).await?;
    let forwarding = serve.forward_to.as_ref().map(|target| Forwarding {
        target: target.clone(),
        store: dynamodb.store().clone(),
        table: config.events_table.clone(),
        secret: secret.clone(),
        data: file,
    });
    let table = format!(
        "--table {} --dynamodb {}",
        config.events_table,
        dynamodb.endpoint()
    );
    let telemetry = listening.telemetry.clone();
    let app = App::new(
        config,
        Secrets::Fixed(secret),
        dynamodb.store().clone(),
        telemetry,
    );
    let _running = announce(&listening, &key, file, &table)?;

    let listener = match forwarding {
        Some(forwarding) => Some(forwarding.listener().await?),
        None => None,
    };
    let inspector = Inspector::new(&key.text, previous_secret(serve).as_deref())?;
    let router = listening.observed(router(app));
    let router = inspector::around(router, inspector, listening.stop.clone());
    let guard = Guard {
        routes: None,
        any_host: false,
    };
    let kept = file.map(|file| kept(&key, file)).unwrap_or_default();
    let serving = listening.serve(guard.around(router), &kept);
    match listener {
        Some(listener) => listener.beside(serving).await?,
        None => serving.await,
    }
    dynamodb.stop().await;
    Ok(())
}

/// Prints the first lines, and writes the address and the secret into a file for `send`. The file exists until the result is
/// dropped.
fn announce(
    listening: &Listening,
    key: &Key,
    file: Option<&Path>,
    table: &str,
) -> Result<Option<Running>, Failure> {
    let running = Running::announce(listening.address, &key.text);
    if let Err(error) = &running {
        tracing::warn!(%error, "the secret for `send` could not be left on this machine, so `send` needs --secret");
    }
    print(&banner(listening, key, file, table, running.is_ok()))?;
    Ok(running.ok())
}

/// Checks the application's address, before anything is written.
fn check_target(serve: &Serve, listening: &Listening) -> Result<(), Failure> {
    let Some(target) = &serve.forward_to else {
        return Ok(());
    };
    client::check(target)?;
    let own = address::base(&listening.local().to_string());
    Ok(own.map_or(Ok(()), |own| listen::check_target(target, &own))?)
}

fn open(file: &Path, table: &str) -> Result<DataFile, Failure> {
    DataFile::take(file, table).map_err(|source| unusable(file, source))
}

fn unusable(file: &Path, source: DataError) -> Failure {
    Failure::Data {
        file: file.to_owned(),
        source: source.into(),
    }
}

fn key(given: Option<String>, data: Option<&Path>) -> Result<Key, Failure> {
    let is_made = given.is_none();
    let text = match (given, data) {
        (Some(text), _) => text,
        (None, Some(data)) => kept_secret::read_or_make(data)?,
        (None, None) => random_hex::<32>()?,
    };
    Ok(Key { text, is_made })
}

fn previous_secret(serve: &Serve) -> Option<String> {
    let variable = || std::env::var("SONOTHEIA_WEBHOOK_PREVIOUS_SECRET").ok();
    let text = serve.previous_secret.clone().or_else(variable);
    text.filter(|text| !text.is_empty())
}

/// The end of the summary: the places of the records and of the secret.
fn kept(key: &Key, file: &Path) -> String {
    let records = format!("; the records are in {}", file.display());
    if key.is_made {
        let secret = kept_secret::file(file);
        format!("{records}, the secret in {}", secret.display())
    } else {
        records
    }
}

/// The first lines on standard output.
fn banner(listening: &Listening, key: &Key, file: Option<&Path>, table: &str, is_found: bool) -> String {
    let local = listening.local();
    let secret = if key.is_made {
        format!("Secret: {}\n", key.text)
    } else {
        "The secret is in SONOTHEIA_WEBHOOK_SECRET\n".to_owned()
    };
    let records = file.map_or("in memory; --data FILE keeps them".to_owned(), |file| {
        format!("in {}", file.display())
    });
    let option = match (is_found && local.ip().is_loopback(), key.is_made) {
        (true, _) => String::new(),
        (false, true) => format!(" --secret {}", key.text),
        (false, false) => " --secret \"$SONOTHEIA_WEBHOOK_SECRET\"".to_owned(),
    };
    let send = format!(
        "Send signed sample events, from another terminal:\n  \
           {program} send --url http://{local}/webhook{option}\n",
        program = crate::program::name()
    );
    if !local.ip().is_loopback() {
        return format!(
            "Listening on http://{local}\n\
             {secret}\
             Records: {records}\n\
             Table: {table}\n\
             This address has POST /webhook and GET /health only. For the reads and the inspector, use --host 0.0.0.0 or \
             leave out --host, and open http://127.0.0.1 with the port on this machine.\n\n\
             {send}"
        );
    }
    let others = if listening.address.ip().is_loopback() {
        ""
    } else {
        "Other machines: POST /webhook and GET /health only\n"
    };
    format!(
        "Listening on http://{local}\n\
         {secret}\
         Inspector: http://{local}/\n\
         Records: {records}\n\
         Table: {table}\n\
         {others}\n\
         {send}\
         Read the records:\n  \
           curl http://{local}/results\n"
    )
}
