//! `inspect`: the inspector over the table of a deployment, read only.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use sonotheia_webhook::router::router;

use crate::args::print;
use crate::failure::Failure;
use crate::inspector::{self, Inspector};
use crate::interrupt::{self, Stop};
use crate::local::ports;
use crate::table::Account;

/// Show the records of a deployment in the browser, read only, on this machine only
#[derive(Args)]
pub struct Inspect {
    /// The table of the deployment, read with the usual AWS credentials
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    table: String,
    #[command(flatten)]
    account: Account,
    /// Port to listen on, on 127.0.0.1; 0 takes a free port
    #[arg(long, default_value_t = 8081)]
    port: u16,
}

impl Inspect {
    /// Serves the page until Ctrl-C or SIGTERM.
    pub fn run(self) -> Result<(), Failure> {
        interrupt::run(self.serve())
    }

    async fn serve(self) -> Result<(), Failure> {
        let stop = interrupt::stop()?;
        let listener = ports::listen("127.0.0.1", self.port, "--port").await?;
        let address = listener.local_addr().map_err(Failure::Serve)?;
        let app = interrupt::unless(&stop, self.account.app(&self.table)).await?;
        let page = inspector::over_table(router(app), Inspector::read_only(&self.table)?);
        print(&format!(
            "Inspector: http://{address}/\nTable: {}, read only\n",
            self.table
        ))?;
        let server = axum::serve(listener, page).with_graceful_shutdown(stop.clone());
        tokio::select! {
            served = server.into_future() => served.map_err(Failure::Serve),
            // A browser that keeps its connection does not keep the process.
            () = overdue(stop) => Ok(()),
        }
    }
}

async fn overdue(stop: Stop) {
    stop.await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
}
