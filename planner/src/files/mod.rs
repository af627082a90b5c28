//! Files as they are stored: a row, and parts that never change.

mod local;
mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use crate::{objects, store};

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its row.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Its bytes.
    #[error(transparent)]
    Objects(#[from] objects::Error),
    /// A file of this machine.
    #[error("the file cannot be read")]
    Local(#[from] std::io::Error),
    /// Another writer got ahead: two streams of one upload, say.
    #[error("another writer appends to the same file")]
    Superseded,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use caravan_proto::{Tenant, name::FileId, v1};
    use futures::TryStreamExt as _;

    use super::*;
    use crate::{
        objects::{Objects, PART_BYTES},
        store::{NewFile, Sqlite, Store},
    };

    #[tokio::test]
    async fn what_is_discarded_leaves_nothing_however_much_was_stored() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&directory.path().join("rows.db")).await.unwrap());
        let objects = Objects::local(&directory.path().join("objects")).unwrap();
        for parts in [0, 1, 2, 3] {
            let new = new_file();
            let opened = store.open_file(&new).await.unwrap();
            let mut writer = Writer::open(Arc::clone(&store), objects.clone(), opened).await.unwrap();
            writer.write(&vec![7; parts * PART_BYTES + 1_000]).await.unwrap();
            writer.discard().await.unwrap();
            assert!(store.file(new.id).await.unwrap().is_none(), "{parts} parts and some");
        }
    }

    fn new_file() -> NewFile {
        NewFile {
            id: FileId::now(),
            tenant: Tenant::default(),
            upload_id: None,
            filename: String::new(),
            purpose: v1::file::Purpose::Batch,
            created: 1,
        }
    }

    #[tokio::test]
    async fn a_file_reads_back_across_its_parts_from_any_offset() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&directory.path().join("rows.db")).await.unwrap());
        let objects = Objects::local(&directory.path().join("objects")).unwrap();
        let new = new_file();
        let opened = store.open_file(&new).await.unwrap();
        let bytes: Vec<u8> = (0..PART_BYTES + 1000).map(|i| (i % 251) as u8).collect();
        let mut writer = Writer::open(Arc::clone(&store), objects.clone(), opened).await.unwrap();
        writer.write(&bytes[..500]).await.unwrap();
        writer.flush().await.unwrap();
        // The upload breaks off here; another writer goes on behind what was flushed.
        let found = store.file(new.id).await.unwrap().unwrap();
        let mut writer = Writer::open(Arc::clone(&store), objects.clone(), found).await.unwrap();
        assert_eq!(writer.position(), 500);
        writer.write(&bytes[500..]).await.unwrap();
        let file = writer.close().await.unwrap();
        assert_eq!((file.size, file.parts.len()), (bytes.len() as i64, 3));

        let local = directory.path().join("local");
        std::fs::write(&local, &bytes).unwrap();
        let local = Reader::local(std::fs::File::open(local).unwrap()).unwrap();
        for reader in [Reader::new(objects, &file), local] {
            assert_eq!(reader.bytes(), bytes.len() as u64);
            for offset in [0, 499, 500, 501, PART_BYTES + 500, bytes.len()] {
                let read: Vec<bytes::Bytes> =
                    reader.clone().stream(offset as u64).try_collect().await.unwrap();
                assert!(read.concat() == bytes[offset..], "from {offset}");
            }
            let ranges = [0..10, 490..510, 600..700, (PART_BYTES as u64)..(PART_BYTES as u64 + 900)];
            for (range, read) in ranges.iter().zip(reader.ranges(&ranges).await.unwrap()) {
                assert!(read == bytes[range.start as usize..range.end as usize], "{range:?}");
            }
        }
    }
}
