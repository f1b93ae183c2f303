//! `serve`: the router of the Lambda function, on a socket and an embedded DynamoDB.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures_util::FutureExt;
use sonotheia_webhook::app::App;
use sonotheia_webhook::aws;
use sonotheia_webhook::router::router;
use sonotheia_webhook::secrets::Secrets;
use sonotheia_webhook::signature::Secret;
use sonotheia_webhook::store::Store;
use sonotheia_webhook::telemetry::Telemetry;

use super::back_ends::{self, BackEnds};
use crate::args::print;
use crate::failure::Failure;
use crate::inspector::{self, Inspector};

/// How long requests may take to end after the process was told to.
const GRACE: Duration = Duration::from_secs(2);

/// Run the receiver here, on an embedded DynamoDB
#[derive(Args)]
pub struct Serve {
    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Keep the records in this file, and not in memory
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Port of the embedded DynamoDB; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    dynamodb_port: u16,
    /// A secret that was: the inspector tells what is signed with it
    #[arg(
        long,
        value_name = "TEXT",
        env = "SONOTHEIA_WEBHOOK_PREVIOUS_SECRET",
        hide_env_values = true
    )]
    previous_secret: Option<String>,
}

impl Serve {
    /// Serves until Ctrl-C or SIGTERM.
    #[tokio::main]
    pub async fn run(self) -> Result<(), Failure> {
        let local = BackEnds::from_env()?;
        let stop = back_ends::stop_signal()?.shared();
        let listener = back_ends::listen(&self.host, self.port, "--port").await?;
        let address = listener.local_addr().map_err(Failure::Serve)?;
        let inner = back_ends::listen("127.0.0.1", self.dynamodb_port, "--dynamodb-port").await?;
        let dynamodb = back_ends::dynamodb(inner, self.data.clone())?;

        let telemetry = Telemetry::new(io::stderr());
        telemetry.install(emulators::ERRORS_ONLY);
        let sdk = emulators::sdk_config(dynamodb.endpoint());
        let client = aws::dynamodb(&sdk);
        let table = &local.config.events_table;
        emulators::create_table(&client, table)
            .await
            .map_err(Failure::BackEnd)?;
        let store = Store::new(client, table);
        let secrets = Secrets::Fixed(Secret::new(&local.secret)?);
        let app = App::new(local.config.clone(), secrets, store, telemetry);
        print(&self.banner(address, &local, dynamodb.endpoint()))?;

        let any_host = !address.ip().is_loopback();
        let inspector = Inspector::new(&local.secret, self.previous_secret.as_deref(), any_host)?;
        let router = inspector::around(router(app), inspector, stop.clone());
        let server = axum::serve(listener, router).with_graceful_shutdown(stop.clone());
        // A client that keeps a connection busy does not keep the process.
        let overdue = stop.then(|()| tokio::time::sleep(GRACE));
        tokio::select! {
            served = server.into_future() => served.map_err(Failure::Serve)?,
            () = overdue => {}
        }
        dynamodb.stop().await;
        Ok(())
    }

    fn banner(&self, mut address: SocketAddr, local: &BackEnds, dynamodb: &str) -> String {
        let guard = if address.ip().is_loopback() {
            ""
        } else {
            "Whoever reaches this address can read the results and press the inspector's buttons: \
             only on AWS are the results for IAM callers, and there is no inspector.\n"
        };
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        let kept = match &self.data {
            Some(file) => format!("in {}", file.display()),
            None => "in memory; --data FILE keeps them".to_owned(),
        };
        let (secret, pasted) = if local.made {
            (local.secret.as_str(), local.secret.as_str())
        } else {
            (
                "the one in SONOTHEIA_WEBHOOK_SECRET",
                "\"$SONOTHEIA_WEBHOOK_SECRET\"",
            )
        };
        let table = &local.config.events_table;
        format!(
            "Listening on http://{address}\n\
             Inspector: http://{address}/\n\
             Secret: {secret}\n\
             Records: {kept}\n\
             Table: --table {table} --dynamodb {dynamodb}\n\
             {guard}\n\
             Send signed sample events, from another terminal:\n  \
               cargo sonotheia send --url http://{address}/webhook --secret {pasted}\n\
             Read what became of them:\n  \
               curl http://{address}/results\n"
        )
    }
}
