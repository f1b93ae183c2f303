//! The Lambda function: log, configuration, clients, router.

#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;

use sonotheia_webhook::app::App;
use sonotheia_webhook::cause::Causes;
use sonotheia_webhook::config::Config;
use sonotheia_webhook::telemetry::{self, Telemetry};
use sonotheia_webhook::timestamp::Timestamp;
use sonotheia_webhook::{aws, lambda};

fn main() -> ExitCode {
    let telemetry = Telemetry::new(std::io::stdout());
    telemetry.install(&[]);
    telemetry::log_panics();
    match start(telemetry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", Causes(&*error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn start(telemetry: Telemetry) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = Config::from_env()?;
    let sdk = aws::sdk_config().await?;
    let app = App::on_aws(config, &sdk, telemetry)?;
    app.prefetch(Timestamp::now()).await;
    lambda::run(app).await
}
