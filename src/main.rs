//! The Lambda function: log, configuration, clients, router.

#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

use sonotheia_webhook::app::App;
use sonotheia_webhook::cause::Causes;
use sonotheia_webhook::config::Config;
use sonotheia_webhook::telemetry::{self, Telemetry};
use sonotheia_webhook::{aws, lambda};
use tokio::time::Instant;

fn main() -> ExitCode {
    let process = Instant::now();
    let telemetry = Telemetry::new(std::io::stdout());
    telemetry.install(&[]);
    telemetry::log_panics();
    match start(telemetry, process) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", Causes(&*error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn start(telemetry: Telemetry, process: Instant) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (config, settings) = Config::from_env()?;
    let sdk = aws::sdk_config(&settings).await;
    let app = App::on_aws(config, &sdk, telemetry)?;
    app.prefetch(app.sources.now()).await;
    app.ready(process, app.sources.now());
    lambda::run(app).await
}
