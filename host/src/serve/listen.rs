//! Connections: how many there may be, what they may hold up, and how they end.

use super::answer::Event;
use super::app::{App, Health};
use super::error::ApiError;
use super::io::Impatient;
use super::metrics::count;
use super::routes::router;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt::set_socket_send_buffer_size;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Bytes of an answer that the kernel holds for a client that is slow to take them.
const SEND_BUFFER: usize = 64 << 10;
/// Bytes of a request's head, or of an answer in this program.
const BUFFER: usize = 16 << 10;
/// Header fields of a request.
const HEADERS: usize = 64;
/// How often it is looked whether to stop.
const POLL: Duration = Duration::from_millis(50);
/// Time in which clients must have taken the last bytes when the server stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// Listens at an address; port 0 is any free one.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // connections inherit it
    set_socket_send_buffer_size(&listener, SEND_BUFFER)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts connections until `stop`, then ends them: what runs has the settings' grace to come to its end.
pub async fn serve(listener: TcpListener, app: &Arc<App>, stop: &dyn Fn() -> bool) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = router(app.clone());
    let (closing, closed) = watch::channel(());
    while !stop() {
        match timeout(POLL, listener.accept()).await {
            Err(_) => {}
            Ok(Ok((stream, _))) => accept(stream, app, &router, &closed),
            // too many open files, or a client that is gone already
            Ok(Err(_)) => sleep(POLL).await,
        }
    }
    drop(listener);
    drop(closing);
    app.set_health(Health::Stopping);
    for job in app.queue.close() {
        let _ = job.events.try_send(Event::Failed(ApiError::stopping()));
    }
    let all = u32::try_from(app.settings.connections).unwrap_or(u32::MAX);
    if timeout(app.settings.grace, app.connections.acquire_many(all)).await.is_err() {
        app.queue.cancel_running();
        let _ = timeout(FAREWELL, app.connections.acquire_many(all)).await;
    }
    Ok(())
}

fn accept(stream: TcpStream, app: &Arc<App>, router: &Router, closed: &watch::Receiver<()>) {
    let Ok(permit) = app.connections.clone().try_acquire_owned() else {
        count(&app.metrics.connections_refused);
        refuse(stream);
        return;
    };
    let _ = stream.set_nodelay(true);
    let wait = app.settings.client_timeout;
    let (service, mut closed) = (TowerToHyperService::new(router.clone()), closed.clone());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(wait).max_buf_size(BUFFER).max_headers(HEADERS);
    tokio::spawn(async move {
        let _permit = permit;
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(Impatient::new(stream, wait)), service));
        // errors are the client's: it went away, or spoke something else
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = closed.changed() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    });
}

/// Tells a client that there are too many, if it can be told at once.
fn refuse(stream: TcpStream) {
    let error = ApiError::unavailable("too_many_connections", "too many connections", 1);
    let body = error.json().to_string();
    let head =
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: application/json";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(answer.as_bytes());
    }
}
