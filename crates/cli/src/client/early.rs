//! Connections that read an answer even if the server stops reading the request.
//!
//! A server answers 413 to a large body and closes the connection before it has read the body. The client's next write
//! then fails, but the answer is there to read. Without this file, a person would see "broken pipe" in place of 413.

use std::io::ErrorKind;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, TcpConnector,
    Transport,
};
use ureq::{Error, Timeout};

use crate::hosts;

/// The connector of ureq with [`Early`] between TCP and TLS.
pub fn connector() -> impl Connector {
    ().chain(ConnectProxyConnector::default())
        .chain(TcpConnector::default())
        .chain(Early)
        .chain(RustlsConnector::default())
}

#[derive(Debug)]
struct Early;

impl<In: Transport> Connector<In> for Early {
    type Out = EarlyTransport<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| EarlyTransport {
            inner,
            is_closed: false,
        }))
    }
}

#[derive(Debug)]
struct EarlyTransport<In> {
    inner: In,
    /// True if the server has closed the connection for reading.
    is_closed: bool,
}

impl<In: Transport> Transport for EarlyTransport<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.is_closed {
            return Ok(());
        }
        match self.inner.transmit_output(amount, timeout) {
            Err(Error::Io(error)) if is_closed(error.kind()) => {
                self.is_closed = true;
                Ok(())
            }
            done => done,
        }
    }

    // If there is no answer either, this fails.
    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout).map_err(|error| match error {
            // The server accepted the connection, and is silent in the handshake of TLS or of a tunnel.
            Error::Timeout(Timeout::Connect) => Error::Timeout(Timeout::RecvResponse),
            other => other,
        })
    }

    fn is_open(&mut self) -> bool {
        !self.is_closed && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

fn is_closed(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted
    )
}

/// The system's resolver. Names of this machine, such as `localhost.` and `app.localhost`, never go to it (RFC 6761,
/// section 6.3). Its errors get a type of their own; ureq passes them on as any other error of input and output.
#[derive(Debug, Default)]
pub struct Names(DefaultResolver);

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let local = local(uri);
        let resolved = self.0.resolve(local.as_ref().unwrap_or(uri), config, timeout);
        resolved.map_err(|error| match error {
            Error::Io(_) => Error::HostNotFound,
            other => other,
        })
    }
}

/// The same address with `localhost` in place of another name of this machine.
fn local(uri: &Uri) -> Option<Uri> {
    let host = uri.host()?;
    if !hosts::is_loopback(host) || hosts::address(host).is_some() {
        return None;
    }
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    let parts = Uri::builder().scheme(uri.scheme_str()?).path_and_query("/");
    parts.authority(format!("localhost{port}")).build().ok()
}
