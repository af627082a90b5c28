//! One tenant reaches for what is another's by every method of the contract, as the descriptors have them.

use caravan_proto::{
    DESCRIPTORS,
    v1::{
        Batch, CancelBatchRequest, CreateBatchRequest, ListFilesRequest, StreamResultsRequest,
        WatchBatchRequest,
    },
};
use caravan_tests::{Api, Guarded, Input, chunk, finish, reason, sha256, start};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::{Code, Status};

use super::{
    attempts::{self, Attempt, Theirs, Told},
    raw,
};

/// Services between Caravan's own programs, which no gateway serves.
const INTERNAL: [&str; 2] = ["WorkService", "CredentialService"];

pub(super) fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("descriptors");
    let services = pool.services().filter(|service| service.package_name() == "caravan.v1");
    services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

pub(super) fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn name(method: &MethodDescriptor) -> String {
    format!("{}.{}", method.parent_service().name(), method.name())
}

/// A file and a batch of it that waits for an engine, or was cancelled.
async fn something(api: &Api, which: &str, is_ended: bool) -> anyhow::Result<Theirs> {
    let (upload_id, request_id) = (format!("upload-{which}"), format!("request-{which}"));
    let input = Input::chats(3, "s");
    let file =
        api.send(vec![start(&upload_id), chunk(0, input.bytes()), finish(&sha256(input.bytes()))]).await?;
    let batch = Some(Batch { input_file: file.name.clone(), ..Batch::default() });
    let request =
        CreateBatchRequest { batch, request_id: request_id.clone(), ..CreateBatchRequest::default() };
    let batch = api.batches().create_batch(request).await?.into_inner().name;
    api.when(&batch, "is planned", |batch| batch.plan.is_some()).await?;
    if is_ended {
        api.batches().cancel_batch(CancelBatchRequest { name: batch.clone() }).await?;
        api.ended(&batch).await?;
    }
    let watch = WatchBatchRequest { name: batch.clone(), ..WatchBatchRequest::default() };
    let state = api.batches().watch_batch(watch).await?.into_inner().message().await?;
    let stream = StreamResultsRequest { name: batch.clone(), ..StreamResultsRequest::default() };
    let results = api.batches().stream_results(stream).await?.into_inner().message().await?;
    Ok(Theirs {
        file: file.name,
        upload_id,
        batch,
        request_id,
        resume_token: state.expect("a state").resume_token,
        cursor: results.expect("results").cursor,
    })
}

/// What somebody else is told by one attempt, of what exists and of what does not.
async fn check(
    api: &Api,
    method: &MethodDescriptor,
    (attempt, theirs): (Attempt, &Theirs),
    (same, made_up): (Attempt, &Theirs),
) {
    let (path, told) = (path(method), attempt.told);
    for claimed in [None, Some("one")] {
        let answer = raw::call(api, claimed, &path, attempt.messages.clone()).await;
        match (told, answer) {
            (Told::NotFound, Err(status)) => {
                assert_eq!(status.code(), Code::NotFound, "{path}: {status:?}");
                let other = raw::call(api, claimed, &path, same.messages.clone()).await;
                assert_alike(&path, (&status, theirs), (&other.expect_err(&path), made_up));
            }
            (Told::Denied, Err(status)) => {
                assert_eq!(reason(&status), "PERMISSION_DENIED", "{path}: {status:?}");
            }
            (Told::Nothing, Ok(answer)) => assert_eq!(answer.as_deref(), Some(&[][..]), "{path}"),
            (Told::Own, Ok(answer)) => {
                let answer = String::from_utf8_lossy(&answer.expect("an answer")).into_owned();
                for secret in theirs.secrets() {
                    assert!(!answer.contains(secret), "{path}: {answer}");
                }
            }
            // The second time it is there, and its own.
            (Told::Own, Err(status)) if reason(&status) == "UPLOAD_COMPLETE" => {
                assert!(!status.message().contains(&theirs.file), "{path}: {status:?}");
            }
            (_, answer) => panic!("{path}: {told:?} wanted: {answer:?}"),
        }
    }
}

/// What is another's and what does not exist are told in the same words.
fn assert_alike(path: &str, (status, theirs): (&Status, &Theirs), (other, made_up): (&Status, &Theirs)) {
    assert_eq!((status.code(), reason(status)), (other.code(), reason(other)), "{path}");
    assert_eq!(theirs.without_names(status.message()), made_up.without_names(other.message()), "{path}");
    // The details hold the message again, with the names at their places.
    assert_eq!(status.details().len(), other.details().len(), "{path}");
}

#[tokio::test]
async fn nobody_reaches_what_is_another_tenants_by_any_method() -> anyhow::Result<()> {
    let guarded = Guarded::start("").await?;
    let (one, _) = guarded.client("one", &["submit", "read"]).await?;
    let whats = [something(&one, "open", false).await?, something(&one, "ended", true).await?];
    let before = state(&one, &whats).await?;
    // A tenant of its own for each server, which begins with nothing.
    for (index, url) in [guarded.fleet.grpc.clone(), guarded.fleet.planner_url()].into_iter().enumerate() {
        let is_gateway = index == 0;
        let (_, key) = guarded.client(&format!("other-{index}"), &["submit", "read"]).await?;
        let other = Api::new(&url)?.showing(&key)?;
        // Last what makes something of their own: until then lists are to be empty.
        let mut methods = methods();
        methods.sort_by_key(|method| method.name() == "UploadFile");
        for method in methods {
            for theirs in &whats {
                let made_up = theirs.made_up();
                let attempts = attempts::of(&name(&method), theirs);
                let attempts = attempts
                    .unwrap_or_else(|| panic!("{}: say in attempts.rs how it is reached for", name(&method)));
                let same = attempts::of(&name(&method), &made_up).unwrap_or_default();
                for (attempt, same) in attempts.into_iter().zip(same) {
                    check(&other, &method, (attempt, theirs), (same, &made_up)).await;
                }
            }
        }
        if is_gateway {
            assert_eq!(
                other.files().list_files(ListFilesRequest::default()).await?.into_inner().files.len(),
                2
            );
        }
    }
    assert_eq!(state(&one, &whats).await?, before, "nothing has changed for whom it belongs to");
    for theirs in &whats {
        // What is refused to others is right for its owner.
        for method in methods().iter().filter(|method| reads(method)) {
            for attempt in attempts::of(&name(method), theirs).unwrap_or_default() {
                let answer = raw::call(&one, None, &path(method), attempt.messages).await;
                let is_refused = answer.as_ref().is_err_and(|status| status.code() == Code::NotFound);
                assert!(!is_refused, "{}: {answer:?}", name(method));
            }
        }
    }
    Ok(())
}

fn reads(method: &MethodDescriptor) -> bool {
    let is_public = !INTERNAL.contains(&method.parent_service().name());
    let verbs = ["Get", "Query", "Download", "Watch", "Stream"];
    is_public && verbs.iter().any(|verb| method.name().starts_with(verb))
}

async fn state(api: &Api, whats: &[Theirs]) -> anyhow::Result<(Vec<Batch>, Vec<String>)> {
    let mut batches = Vec::new();
    for theirs in whats {
        batches.push(api.get(&theirs.batch).await?);
    }
    let files = api.files().list_files(ListFilesRequest::default()).await?.into_inner().files;
    Ok((batches, files.into_iter().map(|file| file.name).collect()))
}

#[tokio::test]
async fn nobody_calls_any_method_without_saying_who_they_are() -> anyhow::Result<()> {
    let guarded = Guarded::start("").await?;
    let (_, key) = guarded.client("one", &["submit", "read"]).await?;
    let wrong = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    for url in [guarded.fleet.grpc.clone(), guarded.fleet.planner_url()] {
        let nobody = Api::new(&url)?;
        for somebody in [nobody.clone(), nobody.showing(&wrong)?, nobody.showing("a.b.c")?] {
            for method in methods() {
                let answer = raw::call(&somebody, Some("one"), &path(&method), vec![Vec::new()]).await;
                let status = answer.expect_err(method.name());
                assert_eq!(reason(&status), "UNAUTHENTICATED", "{}: {status:?}", name(&method));
                assert!(!format!("{status:?}").contains(&wrong), "the key is repeated");
            }
        }
        let nowhere = raw::call(&nobody.showing(&key)?, None, "/caravan.v1.FileService/Format", vec![]).await;
        assert_eq!(reason(&nowhere.expect_err("no such method")), "UNIMPLEMENTED");
    }
    Ok(())
}
