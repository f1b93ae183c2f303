//! The ports of the local commands.

use sonotheia_webhook::config::{Fault, Faults};
use tokio::net::TcpListener;

use crate::failure::Failure;

/// The port of `serve`: typed, or else from the environment, or else 8080.
///
/// # Errors
/// [`Failure::Configuration`] if `PORT` is not the number of a port.
pub fn port(typed: Option<u16>) -> Result<u16, Failure> {
    let variable = std::env::var_os("PORT").filter(|value| !value.is_empty());
    let port = match (typed, variable) {
        (Some(port), _) => Some(port),
        (None, None) => Some(8080),
        (None, Some(text)) => text.to_str().and_then(|text| text.trim().parse().ok()),
    };
    port.ok_or_else(|| {
        let fault = "is not the number of a port, 0 to 65535".to_owned();
        let variable = "PORT";
        Faults(vec![Fault { variable, fault }]).into()
    })
}

/// Listens on a port, or says which option to change.
///
/// # Errors
/// [`Failure::Listen`].
pub async fn listen(host: &str, port: u16, option: &'static str) -> Result<TcpListener, Failure> {
    TcpListener::bind((host, port))
        .await
        .map_err(|source| Failure::Listen {
            address: format!("{host}:{port}"),
            option,
            source,
        })
}
