//! From cells of a row to typed values.

use caravan_proto::{Tenant, name::Id};
use jiff::civil::Date;
use sqlx::{Decode, Row as _, Type};
use uuid::Uuid;

use super::super::{Db, Row};
use crate::store::Error;

/// An id as stored.
pub(in crate::store) fn key<R>(id: Id<R>) -> Uuid
where
    R: caravan_proto::name::Resource,
{
    id.uuid()
}

/// A row of a table.
#[derive(Clone, Copy)]
pub(in crate::store) struct Cells<'r> {
    table: &'static str,
    row: &'r Row,
}

// === impl Cells ===

impl<'r> Cells<'r> {
    /// A row of that table.
    pub(in crate::store) fn of(table: &'static str, row: &'r Row) -> Self {
        Self { table, row }
    }

    /// A plain value.
    pub(in crate::store) fn get<T>(&self, column: &str) -> Result<T, Error>
    where
        T: Decode<'r, Db> + Type<Db>,
    {
        Ok(self.row.try_get(column)?)
    }

    /// An id.
    pub(in crate::store) fn id<R>(&self, column: &str) -> Result<Id<R>, Error> {
        Ok(self.get::<Uuid>(column)?.into())
    }

    /// An id, or null.
    pub(in crate::store) fn id_or_none<R>(&self, column: &str) -> Result<Option<Id<R>>, Error> {
        Ok(self.get::<Option<Uuid>>(column)?.map(Id::from))
    }

    /// The name of a tenant.
    pub(in crate::store) fn tenant(&self, column: &str) -> Result<Tenant, Error> {
        self.get::<&str>(column)?.parse().map_err(|error| self.corrupt(format!("{column}: {error}")))
    }

    /// A day.
    pub(in crate::store) fn day(&self, column: &str) -> Result<Date, Error> {
        self.get::<&str>(column)?.parse().map_err(|error| self.corrupt(format!("{column}: {error}")))
    }

    /// What is true or false: 1 or 0 in every database.
    pub(in crate::store) fn flag(&self, column: &str) -> Result<bool, Error> {
        Ok(self.get::<i32>(column)? != 0)
    }

    /// A value of an enum of the contract.
    pub(in crate::store) fn word<E: TryFrom<i32>>(&self, column: &str) -> Result<E, Error> {
        let number: i32 = self.get(column)?;
        E::try_from(number).map_err(|_unknown| self.corrupt(format!("{column} is {number}")))
    }

    /// An encoded message.
    pub(in crate::store) fn message<M: prost::Message + Default>(&self, column: &str) -> Result<M, Error> {
        self.decode(column, self.get(column)?)
    }

    /// An encoded message, or null.
    pub(in crate::store) fn message_or_none<M: prost::Message + Default>(
        &self,
        column: &str,
    ) -> Result<Option<M>, Error> {
        self.get::<Option<&[u8]>>(column)?.map(|bytes| self.decode(column, bytes)).transpose()
    }

    /// A value that is stored as JSON text.
    pub(in crate::store) fn json<T: serde::de::DeserializeOwned>(&self, column: &str) -> Result<T, Error> {
        serde_json::from_str(self.get(column)?).map_err(|error| self.corrupt(format!("{column}: {error}")))
    }

    fn decode<M: prost::Message + Default>(&self, column: &str, bytes: &[u8]) -> Result<M, Error> {
        M::decode(bytes).map_err(|error| self.corrupt(format!("{column}: {error}")))
    }

    fn corrupt(&self, what: String) -> Error {
        Error::Corrupt { table: self.table, what }
    }
}
