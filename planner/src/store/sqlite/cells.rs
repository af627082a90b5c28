//! From cells of a row to typed values.

use caravan_proto::name::Id;
use sqlx::{Decode, Row as _, Sqlite, Type, sqlite::SqliteRow};
use uuid::Uuid;

use crate::store::Error;

/// An id as stored.
pub(super) fn blob<R>(id: Id<R>) -> Vec<u8>
where
    R: caravan_proto::name::Resource,
{
    id.uuid().as_bytes().to_vec()
}

/// A row of a table.
#[derive(Clone, Copy)]
pub(super) struct Cells<'r> {
    table: &'static str,
    row: &'r SqliteRow,
}

// === impl Cells ===

impl<'r> Cells<'r> {
    /// A row of that table.
    pub(super) fn of(table: &'static str, row: &'r SqliteRow) -> Self {
        Self { table, row }
    }

    /// A plain value.
    pub(super) fn get<T>(&self, column: &str) -> Result<T, Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite>,
    {
        Ok(self.row.try_get(column)?)
    }

    /// An id.
    pub(super) fn id<R>(&self, column: &str) -> Result<Id<R>, Error> {
        self.parse(column, self.get(column)?)
    }

    /// An id, or null.
    pub(super) fn id_or_none<R>(&self, column: &str) -> Result<Option<Id<R>>, Error> {
        self.get::<Option<&[u8]>>(column)?.map(|bytes| self.parse(column, bytes)).transpose()
    }

    /// A value of an enum of the contract.
    pub(super) fn word<E: TryFrom<i32>>(&self, column: &str) -> Result<E, Error> {
        let number: i32 = self.get(column)?;
        E::try_from(number).map_err(|_unknown| self.corrupt(format!("{column} is {number}")))
    }

    /// An encoded message.
    pub(super) fn message<M: prost::Message + Default>(&self, column: &str) -> Result<M, Error> {
        self.decode(column, self.get(column)?)
    }

    /// An encoded message, or null.
    pub(super) fn message_or_none<M: prost::Message + Default>(
        &self,
        column: &str,
    ) -> Result<Option<M>, Error> {
        self.get::<Option<&[u8]>>(column)?.map(|bytes| self.decode(column, bytes)).transpose()
    }

    /// A value that is stored as JSON text.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, Error> {
        serde_json::from_str(self.get(column)?).map_err(|error| self.corrupt(format!("{column}: {error}")))
    }

    fn parse<R>(&self, column: &str, bytes: &[u8]) -> Result<Id<R>, Error> {
        Uuid::from_slice(bytes).map(Id::from).map_err(|error| self.corrupt(format!("{column}: {error}")))
    }

    fn decode<M: prost::Message + Default>(&self, column: &str, bytes: &[u8]) -> Result<M, Error> {
        M::decode(bytes).map_err(|error| self.corrupt(format!("{column}: {error}")))
    }

    fn corrupt(&self, what: String) -> Error {
        Error::Corrupt { table: self.table, what }
    }
}
