//! The entry of the Lambda function.

use std::env;

use aws_config::BehaviorVersion;
use aws_smithy_http_client::{Builder, tls};
use consumer::Consumer;
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    let http = Builder::new().tls_provider(ring).build_https();
    let sdk = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .load()
        .await;
    let consumer = Consumer {
        dynamodb: aws_sdk_dynamodb::Client::new(&sdk),
        table: env::var("CASES_TABLE")?,
        days: env::var("CASE_DAYS")?.parse()?,
    };
    lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| -> Result<(), Error> {
        consumer.handle(event).await?;
        Ok(())
    }))
    .await
}
