//! The laws on a directory and on a bucket, and what only one of them can do.

use super::*;

mod directory {
    use super::*;

    async fn place() -> (Objects, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let url = ObjectUrl::Directory(directory.path().join("objects"));
        (Objects::open(&url, &Options::default()).await.unwrap(), directory)
    }

    suite::laws!(place);
}

mod bucket {
    use super::*;

    async fn place() -> (Objects, ()) {
        let place = caravan_test_s3::bucket().place().parse().unwrap();
        (Objects::open(&place, &options()).await.unwrap(), ())
    }

    fn options() -> Options {
        let bucket = caravan_test_s3::bucket();
        let (id, secret) = bucket.credentials().unzip();
        Options {
            endpoint: bucket.endpoint(),
            allow_http: bucket.endpoint().is_some(),
            access_key_id: id.map(str::to_owned),
            secret_access_key: secret.map(Secret::from),
            start_ms: 10_000,
            ..Options::default()
        }
    }

    suite::laws!(place);

    async fn refused(url: &str, options: Options) -> String {
        let error = Objects::open(&url.parse().unwrap(), &options).await.unwrap_err();
        let mut text = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = cause {
            text = format!("{text}{error}: ");
            cause = error.source();
        }
        assert!(!text.contains("wrong-secret"), "{text}");
        text
    }

    #[tokio::test]
    async fn a_bucket_that_cannot_be_used_is_said_at_the_start() {
        let known = caravan_test_s3::bucket().place();
        let missing = refused("s3://no-such-bucket/x", options()).await;
        assert!(missing.contains("there is no such bucket"), "{missing}");
        let wrong = Some(Secret::from("wrong-secret"));
        let denied = refused(&known, Options { secret_access_key: wrong, ..options() }).await;
        assert!(denied.contains("it refuses"), "{denied}");
        let nobody = Some("http://127.0.0.1:9".to_owned());
        let silent = Options { endpoint: nobody, allow_http: true, start_ms: 1_000, ..options() };
        let silent = refused(&known, silent).await;
        assert!(silent.contains("does not answer"), "{silent}");
    }
}

mod full;
