//! A file on its way from a form to the planner: as it comes, none of it held, and none of it left if the form
//! turns out to be none.

use axum::{
    body::{Body, BodyDataStream, Bytes},
    http::{HeaderMap, header::CONTENT_TYPE},
};
use caravan_proto::v1::{
    File, UploadChunk, UploadFileRequest, UploadFinish, UploadStart, file::Purpose, upload_file_request::Part,
};
use futures::{StreamExt as _, stream};
use mime::Mime;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{
    Caller, Rest, coding,
    error::Error,
    multipart::{self, Event, Head, Parser},
};
use crate::upstream::failure;

/// Messages under way to the planner; each is what one read of the connection gave, at most some hundred KiB.
const UNDER_WAY: usize = 2;
/// Bytes of one message to the planner at most.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of a field that is no file, at most.
const FIELD_BYTES: usize = 1 << 10;
/// The purpose that may be uploaded.
const PURPOSE: &str = "batch";

/// A form that holds a file.
pub(super) struct Upload {
    parser: Parser,
    /// What the part that is being read is.
    part: Field,
    purpose: Option<Vec<u8>>,
    /// Bytes of the file so far, once it began.
    sent: Option<i64>,
}

/// A part of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    File,
    Purpose,
}

type Sender = mpsc::Sender<UploadFileRequest>;

// === impl Upload ===

impl Upload {
    /// A form as `headers` announce it.
    pub(super) fn new(headers: &HeaderMap) -> Result<Self, Error> {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()?.parse::<Mime>().ok());
        let kind = kind.filter(|kind| kind.essence_str() == mime::MULTIPART_FORM_DATA.essence_str());
        let boundary = kind.as_ref().and_then(|kind| kind.get_param(mime::BOUNDARY));
        let boundary = boundary.ok_or_else(|| Error::content_type("multipart/form-data; boundary=…"))?;
        coding::check(headers)?;
        let parser = Parser::new(boundary.as_str()).map_err(wrong)?;
        Ok(Self { parser, part: Field::Purpose, purpose: None, sent: None })
    }

    /// Takes the form, and gives the file once the planner has all of it.
    pub(super) async fn receive(mut self, rest: &Rest, caller: &Caller, body: Body) -> Result<File, Error> {
        let (sender, receiver) = mpsc::channel(UNDER_WAY);
        let mut files = rest.planner.files();
        let mut call = std::pin::pin!(async {
            // A client that sends nothing has no stream at the planner.
            let mut parts = ReceiverStream::new(receiver);
            let first = parts.next().await;
            files.upload_file(caller.stream(stream::iter(first).chain(parts))).await
        });
        let answer = {
            let mut read = std::pin::pin!(self.read(rest, body, sender));
            tokio::select! {
                // Whichever fails first: the call is dropped then, and the planner removes what came.
                read = &mut read => {
                    read?;
                    call.await
                }
                answer = &mut call => answer,
            }
        };
        Ok(answer.map_err(failure)?.into_inner())
    }

    async fn read(&mut self, rest: &Rest, body: Body, sender: Sender) -> Result<(), Error> {
        let mut body = body.into_data_stream();
        while let Some(bytes) = self.bytes(rest, &mut body).await? {
            self.parser.push(&bytes);
            while let Some(event) = self.parser.event().map_err(wrong)? {
                self.take(event, &sender).await?;
            }
        }
        self.parser.end().map_err(wrong)?;
        self.check_purpose()?;
        if self.sent.is_none() {
            return Err(Error::missing("file"));
        }
        send(&sender, Part::Finish(UploadFinish::default())).await;
        Ok(())
    }

    /// What the connection gives next; a client that is silent for too long is given up.
    async fn bytes(&self, rest: &Rest, body: &mut BodyDataStream) -> Result<Option<Bytes>, Error> {
        let cut_off = |_| Error::cut_off("the body ended too early, or did not go on in time");
        let next = timeout(rest.timeout, body.next()).await.map_err(cut_off)?;
        next.transpose().map_err(|error| Error::broken(&error))
    }

    async fn take(&mut self, event: Event, sender: &Sender) -> Result<(), Error> {
        match event {
            Event::Part(head) => self.begin(head, sender).await,
            Event::Data(bytes) if self.part == Field::File => {
                for piece in bytes.chunks(CHUNK_BYTES) {
                    self.file_bytes(bytes.slice_ref(piece), sender).await;
                }
                Ok(())
            }
            Event::Data(bytes) => {
                let purpose = self.purpose.get_or_insert_default();
                purpose.extend_from_slice(
                    &bytes[..bytes.len().min(FIELD_BYTES + 1 - purpose.len().min(FIELD_BYTES))],
                );
                Ok(())
            }
            Event::PartEnd if self.part == Field::Purpose => self.check_purpose(),
            Event::PartEnd => Ok(()),
        }
    }

    async fn begin(&mut self, head: Head, sender: &Sender) -> Result<(), Error> {
        self.part = match head.name.as_str() {
            "purpose" => Field::Purpose,
            "file" => Field::File,
            name if name.starts_with("expires_after") => {
                let message = "files do not expire by themselves: an input goes with its last batch, see \
                               x_caravan.retention of batches";
                return Err(Error::of("unsupported_parameter", "expires_after", message));
            }
            name => return Err(Error::unknown(name)),
        };
        let again = match self.part {
            Field::Purpose => self.purpose.replace(Vec::new()).is_some(),
            Field::File => self.sent.replace(0).is_some(),
        };
        if again {
            return Err(Error::invalid(&head.name, format!("{} may be given once", head.name)));
        }
        if self.part == Field::File {
            let start = UploadStart {
                upload_id: format!("http-{}", Uuid::now_v7().simple()),
                filename: head.filename.filter(|name| !name.is_empty()).unwrap_or_else(|| "file".to_owned()),
                purpose: Purpose::Batch.into(),
                discard_unfinished: true,
            };
            send(sender, Part::Start(start)).await;
        }
        Ok(())
    }

    async fn file_bytes(&mut self, data: Bytes, sender: &Sender) {
        let offset = self.sent.unwrap_or_default();
        self.sent = Some(offset.saturating_add(i64::try_from(data.len()).unwrap_or(i64::MAX)));
        send(sender, Part::Chunk(UploadChunk { offset, data })).await;
    }

    /// It may come before or behind the file.
    fn check_purpose(&self) -> Result<(), Error> {
        match self.purpose.as_deref() {
            Some(purpose) if purpose == PURPOSE.as_bytes() => Ok(()),
            Some(_) => Err(Error::invalid("purpose", format!("purpose must be `{PURPOSE}`"))),
            None => Err(Error::missing("purpose")),
        }
    }
}

/// If the call has ended, its answer says why.
async fn send(sender: &Sender, part: Part) {
    let _gone = sender.send(UploadFileRequest { part: Some(part) }).await;
}

fn wrong(error: multipart::Error) -> Error {
    Error::of("invalid_form", "body", format!("the body is no multipart/form-data: {error}"))
}
