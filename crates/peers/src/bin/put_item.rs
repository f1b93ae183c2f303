//! A function that makes one PutItem for each event. It checks no signature and finds no duplicate. The SDK is as small as
//! possible: keys from the environment, `ring`, one file of roots, and a connection before the first event.

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use lambda_http::{Body, Error, Request, RequestExt, Response, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let table = &*variable("EVENTS_TABLE")?.leak();
    let client = &client()?;
    client
        .get_item()
        .table_name(table)
        .key("event_id", AttributeValue::S("-".to_owned()))
        .send()
        .await?;
    run(service_fn(move |request: Request| async move {
        let id = request.lambda_context().request_id;
        let body = match request.into_body() {
            Body::Text(text) => text,
            Body::Binary(bytes) => String::from_utf8(bytes)?,
            _ => String::new(),
        };
        client
            .put_item()
            .table_name(table)
            .item("event_id", AttributeValue::S(id))
            .item("body", AttributeValue::S(body))
            .send()
            .await?;
        Ok::<_, Error>(Response::new(Body::Text(r#"{"received":true}"#.to_owned())))
    }))
    .await
}

fn client() -> Result<Client, Error> {
    let roots = std::fs::read(variable("SSL_CERT_FILE")?)?;
    let trust = TrustStore::empty().with_pem_certificate(roots);
    let tls = TlsContext::builder().with_trust_store(trust).build()?;
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https();
    let (key, secret) = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new(variable("AWS_REGION")?))
        .endpoint_url(variable("AWS_ENDPOINT_URL_DYNAMODB")?)
        .credentials_provider(Credentials::new(key, secret, None, None, "environment"))
        .build();
    Ok(Client::from_conf(config))
}

fn variable(name: &str) -> Result<String, Error> {
    std::env::var(name).map_err(|_| format!("set the variable {name}").into())
}
