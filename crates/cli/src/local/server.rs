//! The HTTP/1.1 server of `serve`.

use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::ServiceExt;

/// How long a connection may wait for the head of its next request. It is longer than the idle time of a load balancer
/// (an ALB's is 60 s), so that the load balancer closes a connection first and loses no request.
const HEAD: Duration = Duration::from_secs(75);

/// The time that running requests have after Ctrl-C or SIGTERM. A delivery gets its answer within 4.2 s.
const GRACE: Duration = Duration::from_secs(5);

/// The pause after an error that is not about one connection, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` resolves, and gives each request the address of its client ([`ConnectInfo`]). At the end it closes the
/// idle connections, and gives the requests under way [`GRACE`] to end.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    // A client may close its side after the request, as `nc -N` does, and still gets its answer.
    http.half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD);
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            // The client is gone already.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Without this option the system delays small answers. A failure costs time only.
        let _ = stream.set_nodelay(true);
        let router = router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(client));
            request
        });
        let service = TowerToHyperService::new(router);
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // An error is about this connection only: a broken request, or a client that is gone.
            let _ = connection.await;
        });
    }
    drop(listener);
    // After the time is up, the end of the process closes the connections that are left.
    let _ = tokio::time::timeout(GRACE, connections.shutdown()).await;
}
