//! The same at the HTTP port: one tenant reaches for what is another's by every route of its OpenAPI document.

use caravan_proto::v1::Batch;
use caravan_tests::{Api, Guarded, Input};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

/// A file and a batch, by the ids that HTTP has for them.
struct Theirs {
    file: String,
    batch: String,
}

/// What the other one is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// An error, in the very words of what does not exist.
    NotFound,
    /// An empty list.
    Nothing,
    /// Of something that is its own, or everybody's.
    Own,
    /// The same as anybody.
    Open,
}

struct Attempt {
    path: String,
    body: Option<Value>,
    told: Told,
}

// === impl Theirs ===

impl Theirs {
    fn without_names(&self, text: &str) -> String {
        text.replace(&self.file, "FILE").replace(&self.batch, "BATCH")
    }
}

/// The attempts by a route; none if nobody has thought of it yet.
fn attempts(route: &str, theirs: &Theirs) -> Option<Vec<Attempt>> {
    use Told::{NotFound, Nothing, Open, Own};

    let Theirs { file, batch } = theirs;
    let one = |told, path: String| vec![Attempt { path, body: None, told }];
    Some(match route {
        // Without a file: it is let in, and told that its own request is wrong.
        "POST /v1/files" => one(Own, "/v1/files".into()),
        "GET /v1/files" => {
            [one(Nothing, "/v1/files".into()), one(Nothing, format!("/v1/files?after={file}"))]
                .into_iter()
                .flatten()
                .collect()
        }
        "GET /v1/files/{id}" | "DELETE /v1/files/{id}" => one(NotFound, format!("/v1/files/{file}")),
        "GET /v1/files/{id}/content" => one(NotFound, format!("/v1/files/{file}/content")),
        "POST /v1/batches" => {
            let wanted = json!({
                "input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h",
            });
            vec![Attempt { path: "/v1/batches".into(), body: Some(wanted), told: NotFound }]
        }
        "GET /v1/batches" => {
            [one(Nothing, "/v1/batches".into()), one(Nothing, format!("/v1/batches?after={batch}"))]
                .into_iter()
                .flatten()
                .collect()
        }
        "GET /v1/batches/{id}" => one(NotFound, format!("/v1/batches/{batch}")),
        "GET /v1/batches/{id}/events" => one(NotFound, format!("/v1/batches/{batch}/events")),
        "POST /v1/batches/{id}/cancel" => one(NotFound, format!("/v1/batches/{batch}/cancel")),
        // The models of the fleet are everybody's.
        "GET /v1/models" => one(Own, "/v1/models".into()),
        "GET /v1/models/{model}" => one(Own, "/v1/models/simulated".into()),
        "GET /openapi.json" | "GET /healthz" | "GET /readyz" => {
            one(Open, route.trim_start_matches("GET ").into())
        }
        _ => return None,
    })
}

async fn send(
    guarded: &Guarded,
    route: &str,
    attempt: &Attempt,
    key: Option<&str>,
) -> anyhow::Result<Response> {
    let method: Method = route.split(' ').next().unwrap_or_default().parse()?;
    let mut request =
        reqwest::Client::new().request(method, format!("{}{}", guarded.fleet.http, attempt.path));
    if let Some(body) = &attempt.body {
        request = request.json(body);
    }
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    Ok(request.send().await?)
}

/// Every route that the port says it has.
async fn routes(guarded: &Guarded) -> anyhow::Result<Vec<String>> {
    let document: Value = reqwest::get(format!("{}/openapi.json", guarded.fleet.http)).await?.json().await?;
    let paths = document["paths"].as_object().expect("paths");
    let mut routes = Vec::new();
    for (path, methods) in paths {
        let methods = methods.as_object().expect("methods").keys();
        let methods =
            methods.filter(|method| ["get", "post", "put", "patch", "delete"].contains(&method.as_str()));
        routes.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    anyhow::ensure!(routes.len() > 10, "{routes:?}");
    Ok(routes)
}

async fn something(api: &Api) -> anyhow::Result<Theirs> {
    let batch = api.create(&Input::chats(1, "s"), Batch::default()).await?;
    let id = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Theirs { file: id(&batch.input_file), batch: id(&batch.name) })
}

#[tokio::test]
async fn nobody_reaches_what_is_another_tenants_by_any_route() -> anyhow::Result<()> {
    let guarded = Guarded::start("").await?;
    let (one, key) = guarded.client("one", &["submit", "read"]).await?;
    let (_, others) = guarded.client("other", &["submit", "read"]).await?;
    let theirs = something(&one).await?;
    let made_up = Theirs {
        file: "file_00000000000070008000000000000001".into(),
        batch: "batch_00000000000070008000000000000002".into(),
    };
    for route in routes(&guarded).await? {
        let tries = attempts(&route, &theirs);
        let tries = tries.unwrap_or_else(|| panic!("{route}: say in rest.rs how it is reached for"));
        let same = attempts(&route, &made_up).unwrap_or_default();
        for (attempt, same) in tries.into_iter().zip(same) {
            let answer = send(&guarded, &route, &attempt, Some(&others)).await?;
            let (status, text) = (answer.status(), answer.text().await?);
            match attempt.told {
                Told::NotFound => {
                    let nobodys = send(&guarded, &route, &same, Some(&others)).await?;
                    assert_eq!(status, nobodys.status(), "{route}");
                    assert!(status.is_client_error(), "{route}: {status} {text}");
                    let nobodys = made_up.without_names(&nobodys.text().await?);
                    assert_eq!(theirs.without_names(&text), nobodys, "{route}");
                }
                Told::Nothing => {
                    let list: Value = serde_json::from_str(&text)?;
                    assert_eq!((status, &list["data"]), (StatusCode::OK, &json!([])), "{route}: {text}");
                }
                Told::Own => {
                    assert!(!matches!(status.as_u16(), 401 | 403 | 500..), "{route}: {status} {text}");
                    assert!(!text.contains(&theirs.file) && !text.contains(&theirs.batch), "{route}: {text}");
                }
                Told::Open => assert_eq!(status, StatusCode::OK, "{route}: {text}"),
            }
            for bad in [None, Some("cvn_00000000_0"), Some("a.b.c")] {
                let refused = send(&guarded, &route, &attempt, bad).await?;
                let expected =
                    if attempt.told == Told::Open { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
                assert_eq!(refused.status(), expected, "{route} with {bad:?}");
            }
        }
    }
    let own = Attempt { path: format!("/v1/batches/{}", theirs.batch), body: None, told: Told::Own };
    let answer = send(&guarded, "GET /v1/batches/{id}", &own, Some(&key)).await?;
    let batch: Value = answer.json().await?;
    assert_eq!(batch["input_file_id"], theirs.file.as_str(), "it is there for whom it belongs to: {batch}");
    assert!(batch["cancelled_at"].is_null() && batch["cancelling_at"].is_null(), "{batch}");
    Ok(())
}

#[tokio::test]
async fn http_says_how_to_say_who_calls() -> anyhow::Result<()> {
    let guarded = Guarded::start("").await?;
    let route = "GET /v1/batches/{id}";
    let path = "/v1/batches/batch_00000000000070008000000000000002".to_owned();
    let attempt = Attempt { path, body: None, told: Told::NotFound };
    let refused = send(&guarded, route, &attempt, None).await?;
    assert_eq!(
        (refused.status(), &refused.headers()["www-authenticate"]),
        (StatusCode::UNAUTHORIZED, &"Bearer".parse()?)
    );
    let error: Value = refused.json().await?;
    assert_eq!(error["error"]["code"], "invalid_api_key", "{error}");
    let denied = send(&guarded, route, &attempt, Some(&guarded.keys.executor)).await?;
    assert_eq!(denied.status(), StatusCode::FORBIDDEN, "{}", denied.text().await?);
    Ok(())
}
