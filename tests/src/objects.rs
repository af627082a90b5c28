/// Where the planners of a test keep their objects: a place of their own in the bucket that
/// `CARAVAN_TEST_OBJECT_URL` names (`s3://BUCKET`, reached as the `AWS_` variables say); none for the data directory.
pub(crate) fn fresh() -> Option<String> {
    let bucket = std::env::var("CARAVAN_TEST_OBJECT_URL").ok().filter(|url| url.starts_with("s3:"))?;
    Some(format!("{}/{}", bucket.trim_end_matches('/'), uuid::Uuid::now_v7().simple()))
}
