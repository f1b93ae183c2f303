//! `serve --table`: the receiver over a table of DynamoDB itself, for containers.

use std::error::Error;
use std::sync::Arc;

use sonotheia_webhook::app::App;
use sonotheia_webhook::cause::{CallError, CallFault};
use sonotheia_webhook::config::{Config, Faults, SdkSettings, SecretSource};
use sonotheia_webhook::router::router;
use sonotheia_webhook::store::StoreError;
use sonotheia_webhook::telemetry::Telemetry;
use sonotheia_webhook::timestamp::Timestamp;

use super::guard::{Guard, Route};
use super::log::Format;
use super::running::Running;
use super::serve::{Listening, Serve};
use crate::args::print;
use crate::failure::Failure;
use crate::sdk;

/// Serves until Ctrl-C or SIGTERM.
///
/// # Errors
/// [`Failure`]. A table that cannot be used ends the command at once; a failure that may pass does not, as on Lambda.
pub async fn run(serve: &Serve, table: &str) -> Result<(), Failure> {
    let config = config(table)?;
    let secret = match &config.secret {
        SecretSource::Fixed(text) => Some(text.clone()),
        SecretSource::SecretsManager(_) => None,
    };
    let listening = serve.listen(Format::Json, &[]).await?;
    let app = tokio::select! {
        app = start(config, listening.telemetry.clone()) => app?,
        () = listening.stop.clone() => return Ok(()),
    };
    // A container has no user whose `send` could find the secret, and no folder for it.
    let _running = secret.and_then(|secret| Running::announce(listening.address, &secret).ok());

    print(&banner(&listening, table, &serve.routes))?;
    let guard = Guard {
        routes: Some(serve.routes.clone()),
        // An operator who opens a route to other machines wants their requests, which have any Host.
        any_host: !listening.address.ip().is_loopback(),
    };
    let router = guard.around(listening.observed(router(app)));
    listening.serve(router, "").await;
    Ok(())
}

/// The receiver, once the table has answered.
async fn start(config: Config, telemetry: Telemetry) -> Result<Arc<App>, Failure> {
    let sdk = sdk::config(None).await?;
    let app = App::on_aws(config, &sdk, telemetry)?;
    if let Err(error) = app.store.prefetch().await
        && is_lasting(&error)
    {
        return Err(Failure::table(&app.config.events_table, error));
    }
    app.prefetch(Timestamp::now()).await;
    Ok(app)
}

/// The function's configuration. All faults are reported together.
fn config(table: &str) -> Result<Config, Faults> {
    let config = Config::from_lookup(|name| match name {
        "EVENTS_TABLE" => Some(table.into()),
        _ => std::env::var_os(name),
    });
    match (config, SdkSettings::from_env()) {
        (Ok(config), Ok(_)) => Ok(config),
        (config, sdk) => {
            let faults = [config.err(), sdk.err()].into_iter().flatten();
            Err(Faults(faults.flat_map(|Faults(faults)| faults).collect()))
        }
    }
}

/// Returns true if a retry cannot help: somebody has to change a name, a permission or the credentials.
fn is_lasting(error: &StoreError) -> bool {
    const CODES: [&str; 7] = [
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
        "ValidationException",
    ];
    let first: &(dyn Error + 'static) = error;
    let causes = std::iter::successors(Some(first), |error| Error::source(*error));
    let mut calls = causes.filter_map(|cause| cause.downcast_ref::<CallError>());
    calls.any(|call| match call.code() {
        Some(code) => CODES.contains(&code),
        None => matches!(call.fault(), CallFault::Credentials | CallFault::Construction),
    })
}

/// The first lines on standard output.
fn banner(listening: &Listening, table: &str, routes: &[Route]) -> String {
    let names: Vec<_> = routes.iter().map(|route| route.name()).collect();
    format!(
        "Listening on http://{}\nTable: {table}\nRoutes: {}\n",
        listening.address,
        names.join(", ")
    )
}
