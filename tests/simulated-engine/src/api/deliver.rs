//! From a generation to a response: whole or streamed, intact or mangled.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;

use crate::engine::{DoneReason, Failure, Generation, Mangle};

/// How one API writes failures.
pub(super) trait Errors {
    /// Content type of whole answers and failures.
    fn content_type(&self) -> &'static str;
    /// A failure as a whole body.
    fn failure(&self, failure: &Failure) -> String;
}

/// How one API writes answers.
pub(super) trait Form: Errors + Send + 'static {
    /// Content type of streams.
    fn stream_type(&self) -> &'static str;
    /// The answer in one.
    fn whole(&self, generation: &Generation) -> String;
    /// A piece of a streamed answer, with what frames it.
    fn piece(&self, text: &str) -> String;
    /// The end of a streamed answer.
    fn last(&self, generation: &Generation) -> String;
}

/// The response of a failure.
pub(super) fn fail(errors: &dyn Errors, failure: &Failure) -> Response {
    super::json(failure.status, errors.content_type(), errors.failure(failure))
}

/// Generates the answer and writes it.
///
/// # Errors
/// The runner died before the first byte.
pub(super) async fn deliver(
    form: impl Form,
    mut generation: Generation,
    streamed: bool,
) -> Result<Response, Failure> {
    if streamed {
        return Ok(stream_out(form, generation));
    }
    generation.finish().await?;
    let body = form.whole(&generation);
    Ok(match generation.mangle {
        None => super::json(200, form.content_type(), body),
        Some(Mangle::InvalidJson) => super::json(200, form.content_type(), format!("<{body}>")),
        Some(Mangle::Truncated) => super::json(200, form.content_type(), half(&body).to_owned()),
        Some(Mangle::Disconnect) => cut_off(form.content_type(), half(&body).to_owned()),
    })
}

/// 200, `start`, and then nothing: the connection is cut.
fn cut_off(content_type: &'static str, start: String) -> Response {
    let parts = [Ok(Bytes::from(start)), Err(io::Error::from(io::ErrorKind::ConnectionAborted))];
    ([(header::CONTENT_TYPE, content_type)], Body::from_stream(stream::iter(parts))).into_response()
}

fn half(body: &str) -> &str {
    let middle = (0..=body.len() / 2).rev().find(|at| body.is_char_boundary(*at)).unwrap_or(0);
    &body[..middle]
}

/// A streamed answer under way.
struct Streamed<F> {
    form: F,
    generation: Generation,
    /// Bytes of the text that are out.
    sent: usize,
    pieces: usize,
    ended: bool,
}

fn stream_out(form: impl Form, generation: Generation) -> Response {
    generation.streamed();
    let content_type = form.stream_type();
    let pieces = generation.text.split_ascii_whitespace().count();
    let streamed = Streamed { form, generation, sent: 0, pieces, ended: false };
    let body = Body::from_stream(stream::unfold(streamed, |mut streamed| async move {
        let part = streamed.next().await?;
        Some((part.map(Bytes::from), streamed))
    }));
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

impl<F> Drop for Streamed<F> {
    fn drop(&mut self) {
        if !self.ended {
            self.generation.left();
        }
    }
}

// === impl Streamed ===

impl<F: Form> Streamed<F> {
    async fn next(&mut self) -> Option<io::Result<String>> {
        if self.ended {
            return None;
        }
        let pace = self.generation.decode.checked_div(u32::try_from(self.pieces).unwrap_or(u32::MAX));
        if let Err(failure) = self.generation.pass(pace.unwrap_or(Duration::ZERO)).await {
            self.ended = true;
            return Some(Ok(self.form.failure(&failure)));
        }
        let rest = &self.generation.text[self.sent..];
        if rest.is_empty() || (self.generation.mangle.is_some() && self.sent > self.generation.text.len() / 2)
        {
            self.ended = true;
            return self.end();
        }
        let start = rest.len() - rest.trim_ascii_start().len();
        let end = rest[start..].find(|c: char| c.is_ascii_whitespace()).map_or(rest.len(), |at| start + at);
        let piece = self.form.piece(&rest[..end]);
        self.sent += end;
        Some(Ok(piece))
    }

    fn end(&mut self) -> Option<io::Result<String>> {
        match self.generation.mangle {
            Some(Mangle::Disconnect) => Some(Err(io::ErrorKind::ConnectionAborted.into())),
            Some(Mangle::InvalidJson) => Some(Ok("<this is no JSON>\n".into())),
            Some(Mangle::Truncated) => None,
            None if self.generation.reason == DoneReason::Aborted => None,
            None => {
                self.generation.finished();
                Some(Ok(self.form.last(&self.generation)))
            }
        }
    }
}
