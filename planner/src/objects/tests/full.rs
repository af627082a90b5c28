//! A store that is full, or refuses: a double, which says so as a file system does.

use std::{
    fmt, io,
    sync::atomic::{AtomicUsize, Ordering},
};

use caravan_proto::error::Reason;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, memory::InMemory,
};

use super::*;

/// Takes so many bytes; none is a refusal.
#[derive(Debug)]
struct Quota {
    inner: InMemory,
    left: AtomicUsize,
    kind: io::ErrorKind,
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Quota")
    }
}

impl Quota {
    fn set(&self, left: usize) {
        self.left.store(left, Ordering::SeqCst);
    }

    fn take(&self, bytes: usize) -> Result<()> {
        let taken = self.left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(bytes));
        let failed =
            |_| object_store::Error::Generic { store: "quota", source: io::Error::from(self.kind).into() };
        taken.map(drop).map_err(failed)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Quota {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.take(payload.content_length())?;
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        key: &Key,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.take(PART_BYTES)?;
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn over_quota(kind: io::ErrorKind) -> (Objects, Arc<Quota>) {
    let quota = Arc::new(Quota { inner: InMemory::new(), left: AtomicUsize::new(1_000), kind });
    (Objects::over(Arc::<Quota>::clone(&quota), 0, true), quota)
}

#[tokio::test]
async fn a_full_store_is_a_state_that_ends_by_itself() {
    let (objects, quota) = over_quota(io::ErrorKind::StorageFull);
    let batch = BatchId::now();
    let (kept, lost) = (SegmentId::now(), SegmentId::now());
    objects.put_segment(batch, kept, vec![7; 900].into()).await.unwrap();
    assert_eq!(objects.trouble(), None);

    let refused = objects.put_segment(batch, lost, vec![7; 900].into()).await;
    assert!(matches!(refused, Err(Error(Fault::Full(_)))), "{refused:?}");
    let mut writer = objects.segment_writer(batch, lost);
    let written = async {
        writer.write(&vec![7; 2 * PART_BYTES]).await?;
        writer.close().await
    };
    let refused = written.await;
    assert!(matches!(refused, Err(Error(Fault::Full(_)))), "{refused:?}");
    assert_eq!(objects.trouble().unwrap().reason, Reason::StorageFull);
    assert_eq!(objects.segment(batch, kept, 0..900).await.unwrap(), vec![7; 900], "reads go on");

    // Room for a little is not room for what failed.
    quota.set(2_000);
    objects.retry_writing().await;
    assert!(objects.trouble().is_some());
    quota.set(10 * PART_BYTES);
    objects.retry_writing().await;
    assert_eq!(objects.trouble(), None);
}

#[tokio::test]
async fn a_refusal_is_another_state() {
    let (objects, quota) = over_quota(io::ErrorKind::ReadOnlyFilesystem);
    quota.set(0);
    let refused = objects.put_vocabulary("v", vec![7; 10].into()).await;
    assert!(matches!(refused, Err(Error(Fault::Denied(_)))), "{refused:?}");
    assert_eq!(objects.trouble().unwrap().reason, Reason::StorageDenied);
    quota.set(10);
    objects.put_vocabulary("v", vec![7; 10].into()).await.unwrap();
    assert_eq!(objects.trouble(), None);
}
