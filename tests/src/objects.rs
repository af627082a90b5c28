use std::fmt::Write as _;

/// Where the planners of a test keep their objects, as keys of their configuration, each with `prefix`: a place of
/// their own in S3 if `CARAVAN_TEST_OBJECT_URL` is `s3`, or in that bucket if it is `s3://BUCKET` (reached as the `AWS_`
/// variables say); nothing for the data directory.
pub(crate) fn fresh(prefix: &str) -> String {
    let mut keys = String::new();
    if !std::env::var("CARAVAN_TEST_OBJECT_URL").is_ok_and(|url| url.starts_with("s3")) {
        return keys;
    }
    let bucket = caravan_test_s3::bucket();
    // Writing to a String does not fail.
    let _ = writeln!(keys, "{prefix}object_url = '{}'", bucket.place());
    if let (Some(endpoint), Some((id, secret))) = (bucket.endpoint(), bucket.credentials()) {
        let _ = writeln!(keys, "{prefix}objects.endpoint = '{endpoint}'\n{prefix}objects.allow_http = true");
        let _ = writeln!(keys, "{prefix}objects.access_key_id = '{id}'");
        let _ = writeln!(keys, "{prefix}objects.secret_access_key = '{secret}'");
    }
    keys
}
