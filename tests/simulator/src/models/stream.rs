//! Turning events into a streamed answer that may go wrong on the way.

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::{Stream, StreamExt, stream};

use super::reply::Failure;

type Piece = Result<Bytes, std::io::Error>;

/// An answer of these events. `error` writes the event that says of which type a failure is.
pub(super) fn respond(
    kind: &'static str,
    events: Vec<String>,
    failure: Option<&Failure>,
    error: impl Fn(&str) -> String,
) -> Response {
    let body = match failure {
        None | Some(Failure::Status { .. }) => Body::from_stream(whole(events)),
        Some(Failure::HungStream { after_events }) => {
            Body::from_stream(whole(first(events, *after_events)).chain(stream::pending()))
        }
        Some(Failure::TruncatedStream { after_events }) => {
            Body::from_stream(whole(broken(events, *after_events)))
        }
        Some(Failure::CutStream { after_events }) => {
            // What came before must be on its way first, or it would be lost with the connection.
            let cut = stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::other("cut by the script"))
            });
            Body::from_stream(whole(broken(events, *after_events)).chain(cut))
        }
        Some(Failure::ErrorEvent { after_events, kind }) => {
            let mut events = first(events, *after_events);
            events.push(error(kind));
            Body::from_stream(whole(events))
        }
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert("content-type", axum::http::HeaderValue::from_static(kind));
    headers.insert("cache-control", axum::http::HeaderValue::from_static("no-cache"));
    response
}

/// A failure of the transport applied to an answer that is not streamed.
pub(super) fn respond_whole(kind: &'static str, body: String, failure: Option<&Failure>) -> Response {
    let failure = failure.map(|failure| match failure {
        Failure::HungStream { .. } => Failure::HungStream { after_events: 0 },
        Failure::TruncatedStream { .. } => Failure::TruncatedStream { after_events: 0 },
        Failure::CutStream { .. } => Failure::CutStream { after_events: 0 },
        other => other.clone(),
    });
    respond(kind, vec![body], failure.as_ref(), |_| String::new())
}

fn whole(events: Vec<String>) -> impl Stream<Item = Piece> + Send + 'static {
    stream::iter(events.into_iter().map(|event| Ok(Bytes::from(event))))
}

fn first(mut events: Vec<String>, count: usize) -> Vec<String> {
    events.truncate(count);
    events
}

/// So many whole events and half of the next.
fn broken(events: Vec<String>, count: usize) -> Vec<String> {
    let mut kept = first(events.clone(), count);
    if let Some(next) = events.get(count) {
        kept.push(next.chars().take(next.chars().count() / 2).collect());
    }
    kept
}
