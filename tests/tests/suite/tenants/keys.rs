//! Keys from making to revoking, and what each role may.

use caravan_proto::v1::{
    Batch, ConnectRequest, DownloadFileRequest, FetchModelRequest, ListBatchesRequest, ListExecutorsRequest,
    ListFilesRequest, ListKeysRequest, Role, work_service_client::WorkServiceClient,
};
use caravan_simulated_engine::{Options, SimulatedEngine};
use caravan_tests::{Api, Guarded, Input, reason, until};
use tonic::Status;

use super::{
    cross::{methods, path},
    raw,
};

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, expected: &str) {
    let status = answer.expect_err(expected);
    assert_eq!(reason(&status), expected, "{status:?}");
}

#[tokio::test]
async fn tenants_run_batches_side_by_side_on_one_fleet() -> anyhow::Result<()> {
    let guarded = Guarded::start("").await?;
    let engine = SimulatedEngine::start(Options { slots: 4, ..Options::default() })?;
    let _executor = guarded.fleet.executor("gpu", &engine.url(), 4).await?;
    guarded.fleet.api()?.showing(&guarded.keys.admin)?.serves("simulated").await?;
    let mut names = Vec::new();
    for tenant in ["one", "other"] {
        let (api, _) = guarded.client(tenant, &["submit", "read"]).await?;
        let input = Input::chats(20, tenant);
        let batch = api.create(&input, Batch::default()).await?;
        let ended = api.ended(&batch.name).await?;
        let audit = api.audit(&input, &ended).await?;
        assert_eq!(audit.answered, 20, "{:?}", audit.failed);
        let batches = api.batches().list_batches(ListBatchesRequest::default()).await?.into_inner().batches;
        assert_eq!(batches.iter().map(|batch| &batch.name).collect::<Vec<_>>(), [&batch.name]);
        let files = api.files().list_files(ListFilesRequest::default()).await?.into_inner().files;
        assert_eq!(files.len(), 2, "the input and the output: {files:?}");
        names.push((api, ended));
    }
    let [(one, _), (_, ended)] = &names[..] else { anyhow::bail!("two tenants") };
    let wanted = DownloadFileRequest { name: ended.output_file.clone(), ..Default::default() };
    refused(one.files().download_file(wanted).await, "FILE_NOT_FOUND");
    Ok(())
}

#[tokio::test]
async fn a_role_opens_what_it_is_for_and_nothing_else() -> anyhow::Result<()> {
    let guarded = Guarded::start("").await?;
    for (role, word) in
        [(Role::Submit, "submit"), (Role::Read, "read"), (Role::Admin, "admin"), (Role::Executor, "executor")]
    {
        let (_, key) = guarded.client("one", &[word]).await?;
        let planner = Api::new(&guarded.fleet.planner_url())?.showing(&key)?;
        for method in methods() {
            let path = path(&method);
            let may = caravan_proto::access::needed(&path).is_some_and(|roles| roles.has(role));
            // Nothing is a request of any method that does something: an answer says that it was let in.
            let answer = raw::call(&planner, Some("one"), &path, Vec::new()).await;
            let is_denied = answer.as_ref().is_err_and(|status| reason(status) == "PERMISSION_DENIED");
            assert_eq!(is_denied, !may, "{word} at {path}: {answer:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn executors_do_their_work_and_clients_do_not_do_it_for_them() -> anyhow::Result<()> {
    let guarded = Guarded::start("").await?;
    let planner = Api::new(&guarded.fleet.planner_url())?;
    let (client, key) = guarded.client("one", &["submit", "read"]).await?;
    let mut work = WorkServiceClient::new(planner.showing(&key)?.line());
    refused(work.connect(tokio_stream::iter([ConnectRequest::default()])).await, "PERMISSION_DENIED");
    refused(work.fetch_model(FetchModelRequest::default()).await, "PERMISSION_DENIED");
    for api in
        [guarded.fleet.api()?.showing(&guarded.keys.executor)?, planner.showing(&guarded.keys.executor)?]
    {
        refused(api.files().list_files(ListFilesRequest::default()).await, "PERMISSION_DENIED");
        refused(api.fleet().list_executors(ListExecutorsRequest::default()).await, "PERMISSION_DENIED");
        refused(api.access().list_keys(ListKeysRequest::default()).await, "PERMISSION_DENIED");
    }
    refused(client.access().list_keys(ListKeysRequest::default()).await, "PERMISSION_DENIED");
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_is_of_no_use_within_its_time() -> anyhow::Result<()> {
    let guarded = Guarded::start("").await?;
    let (api, key) = guarded.client("one", &["read"]).await?;
    api.files().list_files(ListFilesRequest::default()).await?;
    let admin = guarded.fleet.caravan().showing(&guarded.keys.admin);
    let listed = admin.run(&["keys", "list", "--tenant", "one", "--json"]).await?.json()?;
    assert_eq!((listed.len(), &listed[0]["roles"]), (1, &serde_json::json!(["read"])));
    assert!(key.starts_with(listed[0]["prefix"].as_str().expect("a prefix")));
    let id = listed[0]["name"].as_str().expect("a name").replace("keys/", "");
    let revoked = admin.run(&["keys", "revoke", &id]).await?;
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    until("the key is refused", async || match api.files().list_files(ListFilesRequest::default()).await {
        Err(status) if reason(&status) == "UNAUTHENTICATED" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await?;
    let table = admin.run(&["keys", "list"]).await?;
    assert!(table.stdout.contains("revoked") && !table.stdout.contains(&key), "{}", table.stdout);
    let denied = guarded.fleet.caravan().showing(&key).run(&["list"]).await?;
    assert_eq!(denied.code, 7, "{}", denied.stderr);
    let nobody = guarded.fleet.caravan().run(&["list"]).await?;
    assert!(nobody.code == 7 && nobody.stderr.contains("CARAVAN_API_KEY"), "{}", nobody.stderr);
    Ok(())
}
