//! How one tenant reaches for what is another's, by every method. A new method needs a line here.

use caravan_proto::v1::{
    Batch, CancelBatchRequest, CreateBatchRequest, CreateKeyRequest, CreateProfileRequest,
    DeleteBatchRequest, DeleteFileRequest, DownloadFileRequest, EnsureModelRequest, GetBatchRequest,
    GetFileRequest, Key, ListBatchesRequest, ListExecutorsRequest, ListFilesRequest, ListKeysRequest,
    ListProfilesRequest, ListUsageRequest, PauseBatchRequest, QueryUploadRequest, ResumeBatchRequest,
    RetryBatchRequest, RevokeKeyRequest, StreamResultsRequest, UploadFileRequest, VerifyKeyRequest,
    WatchBatchRequest, WatchFleetRequest,
};
use caravan_tests::{chunk, finish, sha256, start};
use prost::Message;

/// What one tenant has and another one knows of, however it came to know.
#[derive(Debug, Clone)]
pub(super) struct Theirs {
    pub(super) file: String,
    pub(super) upload_id: String,
    pub(super) batch: String,
    pub(super) request_id: String,
    pub(super) resume_token: String,
    pub(super) cursor: String,
}

/// What the other one is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// NOT_FOUND, in the very words of what does not exist.
    NotFound,
    /// PERMISSION_DENIED.
    Denied,
    /// That there is nothing.
    Nothing,
    /// Of something of its own.
    Own,
}

pub(super) struct Attempt {
    pub(super) messages: Vec<Vec<u8>>,
    pub(super) told: Told,
}

// === impl Theirs ===

impl Theirs {
    /// The same of things that do not exist.
    pub(super) fn made_up(&self) -> Self {
        let id = |name: &str, last: &str| name[..name.len() - 12].to_owned() + last;
        let (file, batch) = (id(&self.file, "000000000001"), id(&self.batch, "000000000002"));
        let hex = |name: &str| name.rsplit('_').next().unwrap_or_default().to_owned();
        let token = |token: &str| token.replace(&hex(&self.batch), &hex(&batch));
        Self {
            resume_token: token(&self.resume_token),
            cursor: token(&self.cursor),
            upload_id: "nobody-s".into(),
            request_id: "nobody-s".into(),
            file,
            batch,
        }
    }

    /// A text without the names that are different for every one of these.
    pub(super) fn without_names(&self, text: &str) -> String {
        text.replace(&self.file, "FILE").replace(&self.batch, "BATCH")
    }

    /// What must not be found in any answer to somebody else.
    pub(super) fn secrets(&self) -> [&str; 2] {
        [&self.file, &self.batch]
    }
}

/// The attempts by a method of the contract; none if nobody has thought of it yet.
pub(super) fn of(method: &str, theirs: &Theirs) -> Option<Vec<Attempt>> {
    use Told::{Denied, NotFound, Own};

    let (name, file) = (theirs.batch.clone(), theirs.file.clone());
    let attempts = match method {
        "FileService.UploadFile" => vec![upload(&theirs.upload_id)],
        "FileService.QueryUpload" => {
            vec![one(NotFound, &QueryUploadRequest { upload_id: theirs.upload_id.clone() })]
        }
        "FileService.GetFile" => vec![one(NotFound, &GetFileRequest { name: file })],
        "FileService.ListFiles" => {
            lists(&file, |page_token| ListFilesRequest { page_token, ..Default::default() })
        }
        "FileService.DeleteFile" => vec![one(NotFound, &DeleteFileRequest { name: file })],
        "FileService.DownloadFile" => [0, i64::MAX]
            .map(|offset| {
                one(NotFound, &DownloadFileRequest { name: file.clone(), offset, ..Default::default() })
            })
            .into(),
        "BatchService.CreateBatch" => create(theirs),
        "BatchService.GetBatch" => vec![one(NotFound, &GetBatchRequest { name })],
        "BatchService.ListBatches" => {
            lists(&name, |page_token| ListBatchesRequest { page_token, ..Default::default() })
        }
        "BatchService.CancelBatch" => vec![one(NotFound, &CancelBatchRequest { name })],
        "BatchService.PauseBatch" => vec![one(NotFound, &PauseBatchRequest { name })],
        "BatchService.ResumeBatch" => vec![one(NotFound, &ResumeBatchRequest { name })],
        "BatchService.RetryBatch" => [String::new(), theirs.request_id.clone()]
            .map(|request_id| {
                one(NotFound, &RetryBatchRequest { name: name.clone(), request_id, ..Default::default() })
            })
            .into(),
        "BatchService.DeleteBatch" => vec![one(NotFound, &DeleteBatchRequest { name })],
        "BatchService.WatchBatch" => [String::new(), theirs.resume_token.clone()]
            .map(|resume_token| one(NotFound, &WatchBatchRequest { name: name.clone(), resume_token }))
            .into(),
        "BatchService.StreamResults" => [String::new(), theirs.cursor.clone()]
            .map(|cursor| {
                one(NotFound, &StreamResultsRequest { name: name.clone(), cursor, ..Default::default() })
            })
            .into(),
        "FleetService.ListExecutors" => vec![one(Denied, &ListExecutorsRequest::default())],
        "FleetService.WatchFleet" => vec![one(Denied, &WatchFleetRequest {})],
        "FleetService.ListProfiles" => vec![one(Denied, &ListProfilesRequest::default())],
        "FleetService.CreateProfile" => vec![one(Denied, &CreateProfileRequest::default())],
        "FleetService.EnsureModel" => {
            vec![one(Denied, &EnsureModelRequest { model: "m".into(), file, ..Default::default() })]
        }
        // The models of the fleet are everybody's.
        "FleetService.ListModels" => vec![Attempt { messages: vec![Vec::new()], told: Own }],
        "AccessService.CreateKey" => {
            let key = Some(Key { roles: vec![1], display_name: "k".into(), ..Default::default() });
            vec![one(Denied, &CreateKeyRequest { key })]
        }
        "AccessService.ListKeys" => vec![one(Denied, &ListKeysRequest::default())],
        "AccessService.RevokeKey" => {
            vec![one(Denied, &RevokeKeyRequest { name: "keys/key_00000000000000000000000000000000".into() })]
        }
        "AccessService.ListUsage" => usage(),
        "CredentialService.VerifyKey" => vec![one(Denied, &VerifyKeyRequest { sha256: vec![0; 32] })],
        "WorkService.Connect" | "WorkService.FetchModel" => {
            vec![Attempt { messages: vec![Vec::new()], told: Denied }]
        }
        _ => return None,
    };
    Some(attempts)
}

fn one(told: Told, message: &impl Message) -> Attempt {
    Attempt { messages: vec![message.encode_to_vec()], told }
}

/// From the start, and behind what is another's.
fn lists<M: Message>(name: &str, request: impl Fn(String) -> M) -> Vec<Attempt> {
    let id = name.split('/').next_back().unwrap_or_default().to_owned();
    [String::new(), id].map(|page_token| one(Told::Nothing, &request(page_token))).into()
}

/// From the start, from before what is another's, and by another's name.
fn usage() -> Vec<Attempt> {
    let from = |page_token: &str| ListUsageRequest { page_token: page_token.into(), ..Default::default() };
    let tenant = "one".into();
    vec![
        one(Told::Nothing, &from("")),
        one(Told::Nothing, &from("one/1970-01-01/")),
        one(Told::Denied, &ListUsageRequest { tenant, ..Default::default() }),
    ]
}

/// Under an `upload_id` that another has used: it is a new upload.
fn upload(upload_id: &str) -> Attempt {
    let parts = [start(upload_id), chunk(0, b"mine"), finish(&sha256(b"mine"))];
    let messages = parts.map(|part| UploadFileRequest { part: Some(part) }.encode_to_vec());
    Attempt { messages: messages.into(), told: Told::Own }
}

/// Of another's input, for real and to look at, and under a `request_id` that another has used.
fn create(theirs: &Theirs) -> Vec<Attempt> {
    let batch = || Some(Batch { input_file: theirs.file.clone(), ..Default::default() });
    let request_id = theirs.request_id.clone();
    vec![
        one(Told::NotFound, &CreateBatchRequest { batch: batch(), ..Default::default() }),
        one(
            Told::NotFound,
            &CreateBatchRequest { batch: batch(), validate_only: true, ..Default::default() },
        ),
        one(Told::NotFound, &CreateBatchRequest { batch: batch(), request_id, ..Default::default() }),
    ]
}
