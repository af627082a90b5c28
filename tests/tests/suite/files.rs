//! Files over gRPC: uploads that break off, and what is refused.

use std::net::Ipv4Addr;

use caravan_proto::v1::{
    DeleteFileRequest, DownloadFileRequest, GetFileRequest, ListFilesRequest, QueryUploadRequest,
    UploadFileRequest, file::State,
};
use caravan_simulated_engine::{Options, SimulatedEngine};
use caravan_tests::{
    Api, Input, Up,
    chaos::{Link, Target, Weather},
    chunk, finish, reason, sha256, start, until,
};
use futures::{StreamExt as _, stream};
use tokio::task::JoinSet;
use tonic::Code;

async fn up() -> anyhow::Result<(Up, Api)> {
    up_with("").await
}

async fn up_with(config: &str) -> anyhow::Result<(Up, Api)> {
    let engine = SimulatedEngine::start(Options::default())?;
    let up = Up::start(&[&engine.url()], 1, config).await?;
    let api = up.api()?;
    Ok((up, api))
}

async fn stored(api: &Api, upload_id: &str) -> anyhow::Result<i64> {
    let query = QueryUploadRequest { upload_id: upload_id.into() };
    Ok(api.files().query_upload(query).await?.into_inner().committed_bytes)
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_it_stood() -> anyhow::Result<()> {
    let (_up, api) = up().await?;
    let bytes = Input::chats(20_000, "s").bytes().to_vec();
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    // Without a finish the upload stays open.
    let mut parts = vec![start("broken")];
    parts.extend(head.chunks(1 << 18).enumerate().map(|(index, data)| chunk((index << 18) as i64, data)));
    let _open = api.send(parts).await;
    let at = stored(&api, "broken").await?;
    assert!(at > 0 && at <= head.len() as i64, "{at} of {}", head.len());

    let wrong = api.send(vec![start("broken"), chunk(at + 1, tail)]).await.unwrap_err();
    assert_eq!((wrong.code(), reason(&wrong).as_str()), (Code::OutOfRange, "OFFSET_MISMATCH"));
    assert_eq!(stored(&api, "broken").await?, at, "a wrong offset changes nothing");

    let rest = &bytes[usize::try_from(at)?..];
    let mut parts = vec![start("broken")];
    parts
        .extend(rest.chunks(1 << 18).enumerate().map(|(index, data)| chunk(at + (index << 18) as i64, data)));
    parts.push(finish(&sha256(&bytes)));
    let file = api.send(parts).await?;
    assert_eq!((file.state(), file.size_bytes), (State::Ready, bytes.len() as i64));
    assert_eq!(file.sha256, sha256(&bytes));
    assert_eq!(api.download(&file.name).await?, bytes);
    let again = api.send(vec![start("broken"), chunk(0, head)]).await.unwrap_err();
    assert_eq!(reason(&again), "UPLOAD_COMPLETE");
    Ok(())
}

#[tokio::test]
async fn an_upload_whose_connection_dies_goes_on_where_it_stood() -> anyhow::Result<()> {
    let (up, api) = up_with("[roles.gateway.server]\nsilence_seconds = 1").await?;
    let bytes = Input::chats(200, "s").bytes().to_vec();
    // What goes out in one piece with the start.
    let (head, tail) = bytes.split_at(10_000);
    let port = up.grpc.trim_start_matches("http://").parse()?;
    for (upload_id, weather) in [("reset", Weather::Cut), ("half-open", Weather::Silent)] {
        let link = Link::new(Ipv4Addr::LOCALHOST.into()).await?;
        link.point_to(Some(Target::Tcp(port)));
        let mut files = Api::new(&format!("http://{}", link.address()))?.files();
        let parts = [start(upload_id), chunk(0, head)].map(|part| UploadFileRequest { part: Some(part) });
        let parts = stream::iter(parts).chain(stream::pending());
        let mut broken = JoinSet::new();
        broken.spawn(async move { files.upload_file(parts).await.map(drop) });
        let stands = async |at: i64| match stored(&api, upload_id).await {
            Ok(stored) if stored >= at => Ok(()),
            other => Err(format!("{other:?}")),
        };
        until("the upload has begun", || stands(0)).await?;
        assert_eq!(stored(&api, upload_id).await?, 0, "it waits for more");
        link.be(weather);
        until("what came is kept", || stands(head.len() as i64)).await?;

        let rest = vec![start(upload_id), chunk(head.len() as i64, tail), finish(&sha256(&bytes))];
        let file = api.send(rest).await?;
        assert_eq!(api.download(&file.name).await?, bytes, "{upload_id}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_an_upload_is_said() -> anyhow::Result<()> {
    let (_up, api) = up().await?;
    let damaged =
        api.send(vec![start("damaged"), chunk(0, b"one\n"), finish(&sha256(b"two\n"))]).await.unwrap_err();
    assert_eq!((damaged.code(), reason(&damaged).as_str()), (Code::DataLoss, "CHECKSUM_MISMATCH"));
    // The upload is discarded: the same id begins anew.
    let file = api.send(vec![start("damaged"), chunk(0, b"two\n"), finish(&sha256(b"two\n"))]).await?;
    assert_eq!(file.size_bytes, 4);

    for (parts, wanted) in [
        (vec![chunk(0, b"x")], "UPLOAD_OUT_OF_ORDER"),
        (vec![start("twice"), start("twice")], "UPLOAD_OUT_OF_ORDER"),
        (vec![start("gap"), chunk(7, b"x")], "OFFSET_MISMATCH"),
        (vec![start("not an id!")], "INVALID_ARGUMENT"),
        (vec![start("")], "INVALID_ARGUMENT"),
        (vec![], "UPLOAD_OUT_OF_ORDER"),
    ] {
        let said = format!("{parts:?}");
        let refused = api.send(parts).await;
        assert_eq!(refused.as_ref().map_err(reason).err().as_deref(), Some(wanted), "{said}: {refused:?}");
    }
    let unknown =
        api.files().query_upload(QueryUploadRequest { upload_id: "unknown".into() }).await.unwrap_err();
    assert_eq!(reason(&unknown), "UPLOAD_NOT_FOUND");
    Ok(())
}

#[tokio::test]
async fn files_are_listed_in_pages_read_from_an_offset_and_deleted() -> anyhow::Result<()> {
    let (_up, api) = up().await?;
    let mut names = Vec::new();
    for index in 0..5 {
        names.insert(0, api.upload(format!("file {index}\n").as_bytes()).await?.name);
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListFilesRequest { page_size: 2, page_token, ..Default::default() };
        let page = api.files().list_files(request).await?.into_inner();
        listed.extend(page.files.into_iter().map(|file| file.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, names);
    let name = names[0].clone();
    let request = DownloadFileRequest { name: name.clone(), offset: 5, end: 0 };
    let part = api.files().download_file(request.clone()).await?.into_inner().message().await?;
    assert_eq!(part.map(|part| (part.offset, part.data.to_vec())), Some((5, b"4\n".to_vec())));
    let one = DownloadFileRequest { end: 6, ..request.clone() };
    let part = api.files().download_file(one).await?.into_inner().message().await?;
    assert_eq!(part.map(|part| part.data.to_vec()), Some(b"4".to_vec()));
    for end in [4, 8] {
        let refused = api.files().download_file(DownloadFileRequest { end, ..request.clone() }).await;
        assert_eq!(reason(&refused.unwrap_err()), "INVALID_OFFSET", "{end}");
    }
    let beyond = api
        .files()
        .download_file(DownloadFileRequest { name: name.clone(), offset: 8, end: 0 })
        .await
        .unwrap_err();
    assert_eq!(reason(&beyond), "INVALID_OFFSET");
    api.files().delete_file(DeleteFileRequest { name: name.clone() }).await?;
    let gone = api.files().get_file(GetFileRequest { name }).await.unwrap_err();
    assert_eq!((gone.code(), reason(&gone).as_str()), (Code::NotFound, "FILE_NOT_FOUND"));
    Ok(())
}

#[tokio::test]
async fn files_are_listed_and_deleted_from_the_command_line() -> anyhow::Result<()> {
    let (up, api) = up().await?;
    let caravan = up.caravan();
    let names = [api.upload(b"one\n").await?.name, api.upload(b"three\n").await?.name];
    let ids = names.map(|name| name.replace("files/", ""));
    let listed = caravan.run(&["files", "list", "--purpose", "batch", "--json"]).await?.json()?;
    let shown: Vec<_> = listed.iter().map(|file| (&file["file"], &file["size_bytes"])).collect();
    assert_eq!(shown, [(&ids[1].as_str().into(), &6.into()), (&ids[0].as_str().into(), &4.into())]);
    let newest = caravan.run(&["files", "list", "--limit", "1"]).await?.stdout;
    assert!(newest.contains(&ids[1]) && !newest.contains(&ids[0]), "{newest}");
    let outputs = caravan.run(&["files", "list", "--purpose", "batch_output", "--json"]).await?;
    assert_eq!((outputs.code, outputs.stdout.as_str()), (0, ""));

    let got = caravan.run(&["files", "get", &ids[0]]).await?;
    assert!(got.stdout.contains(&sha256(b"one\n")), "{}", got.stdout);
    let deleted = caravan.run(&["files", "delete", &ids[0]]).await?;
    assert_eq!((deleted.code, deleted.stderr), (0, format!("{} deleted\n", ids[0])));
    let gone = caravan.run(&["files", "get", &ids[0]]).await?;
    assert!(gone.code == 1 && gone.stderr.contains("FILE_NOT_FOUND"), "{}", gone.stderr);
    assert_eq!(caravan.run(&["files", "list", "--purpose", "other"]).await?.code, 2);
    Ok(())
}
