//! `serve`: the router of the Lambda function on a socket, over an embedded DynamoDB or over a table of DynamoDB.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use clap::Args;
use clap::builder::{NonEmptyStringValueParser, OsStringValueParser, TypedValueParser};
use sonotheia_webhook::telemetry;
use tokio::net::TcpListener;

use super::deliveries::{self, Tally};
use super::guard::Route;
use super::log::Format;
use super::ports;
use super::{data, embedded, on_table, server};
use crate::address;
use crate::args::print;
use crate::failure::Failure;
use crate::interrupt::{self, Stop};

/// Run the receiver on this machine, on an embedded DynamoDB or on a table
#[derive(Args)]
pub struct Serve {
    /// Port to listen on; 0 takes a free port [env: PORT] [default: 8080]
    #[arg(long)]
    port: Option<u16>,
    /// Address to listen on; 0.0.0.0 lets other machines reach /webhook and /health
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Keep the records in this file, and the secret in FILE.secret; without it, both are lost at the end
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new().try_map(|text| data::name(&text)))]
    pub data: Option<PathBuf>,
    /// Port of the embedded DynamoDB; 0 takes a free port
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub dynamodb_port: u16,
    /// A previous secret; the inspector recognises deliveries signed with it [env: SONOTHEIA_WEBHOOK_PREVIOUS_SECRET]
    #[arg(long, value_name = "TEXT")]
    pub previous_secret: Option<String>,
    /// Pass each accepted event on to this application, signed, as `listen` does
    #[arg(long, value_name = "URL", value_parser = address::application, conflicts_with = "table")]
    pub forward_to: Option<Uri>,
    /// Form of the log on standard error; without it, `human` on a terminal, else `json`
    #[arg(long, value_enum)]
    log: Option<Format>,
    /// Use this table of DynamoDB, with the usual AWS credentials and the function's variables, and without the inspector
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new(), conflicts_with_all = ["data", "dynamodb_port", "previous_secret"])]
    table: Option<String>,
    /// Routes that answer with --table; everybody who reaches the address can use them
    #[arg(long, value_name = "ROUTE", value_enum, value_delimiter = ',', requires = "table", default_values_t = [Route::Webhook, Route::Health])]
    pub routes: Vec<Route>,
}

impl Serve {
    /// Serves until Ctrl-C or SIGTERM.
    pub fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::Serve)?;
        let done = runtime.block_on(async {
            match &self.table {
                Some(table) => on_table::run(&self, table).await,
                None => embedded::run(&self).await,
            }
        });
        // The end does not wait for the answer of an application.
        runtime.shutdown_background();
        done
    }

    /// Listens on the port, and installs the log.
    pub async fn listen(
        &self,
        default: Format,
        errors_only: &'static [&'static str],
    ) -> Result<Listening, Failure> {
        let stop = interrupt::stop()?;
        let listener = ports::listen(&self.host, ports::port(self.port)?, "--port").await?;
        let address = listener.local_addr().map_err(Failure::Serve)?;
        let format = self.log.unwrap_or(default);
        let telemetry = format.telemetry();
        telemetry.install(errors_only);
        telemetry::log_panics();
        Ok(Listening {
            address,
            listener,
            stop,
            format,
            telemetry,
            tally: Arc::default(),
        })
    }
}

/// A `serve` that has its port and its log.
pub struct Listening {
    /// The address of the listener.
    pub address: SocketAddr,
    listener: TcpListener,
    /// Resolves at Ctrl-C or SIGTERM.
    pub stop: Stop,
    format: Format,
    /// The receiver's log.
    pub telemetry: telemetry::Telemetry,
    tally: Arc<Tally>,
}

impl Listening {
    /// The address for a client on this machine.
    pub fn local(&self) -> SocketAddr {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip([127, 0, 0, 1].into());
        }
        address
    }

    /// The receiver's router, with the log and the count of its deliveries.
    pub fn observed(&self, router: Router) -> Router {
        let (format, tally) = (self.format, self.tally.clone());
        deliveries::observed(
            router,
            Arc::new(move |delivery| {
                tally.add(delivery.log.delivered);
                format.delivery(delivery);
            }),
        )
    }

    /// Serves until the end, and sums up the deliveries. `more` is the end of the summary.
    pub async fn serve(self, router: Router, more: &str) {
        server::serve(self.listener, router, self.stop).await;
        // A closed standard output is no fault at this point.
        let _ = print(&format!("{}{more}\n", self.tally.summary()));
    }
}
