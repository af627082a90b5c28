//! Whose the objects are: garbage is what one database has no row for, so no two may share a place.

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutMode};
use uuid::Uuid;

use super::{Fault, Objects, OpenError, key};

impl Objects {
    /// Takes the place for a database, for good. One that has been taken for it before is its own.
    ///
    /// # Errors
    /// If it is another's, or cannot be read or written.
    pub async fn belong_to(&self, database: Uuid) -> Result<(), OpenError> {
        let key = key::owner();
        let failed = |error| OpenError::Owner(Box::new(Fault::of(&key, error)));
        let taken = match self.store.get(&key).await {
            Err(object_store::Error::NotFound { .. }) => {
                let mode = if self.is_conditional { PutMode::Create } else { PutMode::Overwrite };
                let id = Bytes::from(database.to_string());
                match self.store.put_opts(&key, id.into(), mode.into()).await {
                    Ok(_) => return Ok(()),
                    // Another planner was faster.
                    Err(object_store::Error::AlreadyExists { .. }) => self.store.get(&key).await,
                    Err(error) => return Err(failed(error)),
                }
            }
            found => found,
        };
        let owner = taken.map_err(failed)?.bytes().await.map_err(failed)?;
        match owner == database.to_string() {
            true => Ok(()),
            false => Err(OpenError::Foreign {
                key: key.to_string(),
                owner: String::from_utf8_lossy(&owner).into_owned(),
                database: database.to_string(),
            }),
        }
    }
}
