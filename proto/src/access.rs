//! Who may call what: one table for all servers. What is not in it is denied.

use std::{fmt, str::FromStr};

use crate::v1::Role;

macro_rules! methods {
    ($($service:literal { $($method:literal: $($role:ident)|+;)+ })+) => {
        /// The roles of which a call needs one, by the path of its method (`/package.Service/Method`); none
        /// for a method that nobody may call.
        #[must_use]
        pub fn needed(path: &str) -> Option<Roles> {
            Some(match path {
                $($(concat!("/caravan.v1.", $service, "/", $method) => Roles::NONE$(.and(Role::$role))+,)+)+
                _ => return None,
            })
        }
    };
}

methods! {
    "FileService" {
        "UploadFile": Submit;
        "QueryUpload": Submit;
        "GetFile": Read;
        "ListFiles": Read;
        "DeleteFile": Submit;
        "DownloadFile": Read;
    }
    "BatchService" {
        "CreateBatch": Submit;
        "GetBatch": Read;
        "ListBatches": Read;
        "CancelBatch": Submit;
        "PauseBatch": Submit;
        "ResumeBatch": Submit;
        "RetryBatch": Submit;
        "DeleteBatch": Submit;
        "WatchBatch": Read;
        "StreamResults": Read;
    }
    "FleetService" {
        "ListExecutors": Admin;
        "WatchFleet": Admin;
        "ListProfiles": Admin;
        "CreateProfile": Admin;
        "EnsureModel": Admin;
        // What requests may name: no engine, no host.
        "ListModels": Read;
    }
    "AccessService" {
        "CreateKey": Admin;
        "ListKeys": Admin;
        "RevokeKey": Admin;
        // One's own tenant's, or every tenant's.
        "ListUsage": Read | Admin;
    }
    "CredentialService" {
        "VerifyKey": Gateway;
    }
    "WorkService" {
        "Connect": Executor;
        "FetchModel": Executor;
    }
}

/// Some of the roles. As text, their names in lower case with commas between.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Roles(u8);

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role: they are submit, read, admin, executor and gateway")]
pub struct UnknownRole(String);

/// Every role with its name.
const NAMES: [(Role, &str); 5] = [
    (Role::Submit, "submit"),
    (Role::Read, "read"),
    (Role::Admin, "admin"),
    (Role::Executor, "executor"),
    (Role::Gateway, "gateway"),
];

// === impl Roles ===

impl Roles {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// All of them.
    pub const ALL: Self = Self::PUBLIC.and(Role::Executor).and(Role::Gateway);
    /// Those that clients of a gateway may have.
    pub const PUBLIC: Self = Self::NONE.and(Role::Submit).and(Role::Read).and(Role::Admin);

    /// These and one more.
    #[must_use]
    pub const fn and(self, role: Role) -> Self {
        Self(self.0 | 1 << role as u8)
    }

    /// Those that are in `other` too.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `role` is one of them.
    #[must_use]
    pub fn has(self, role: Role) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        NAMES.into_iter().map(|(role, _)| role).filter(move |role| self.has(*role))
    }

    /// A bit a role, which is how they are stored.
    #[must_use]
    pub fn bits(self) -> i32 {
        self.0.into()
    }

    /// What [`bits`](Self::bits) gave. Bits that stand for no role are left out.
    #[must_use]
    pub fn from_bits(bits: i32) -> Self {
        NAMES.into_iter().filter(|(role, _)| bits & 1 << *role as i32 != 0).map(|(role, _)| role).collect()
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<T: IntoIterator<Item = Role>>(roles: T) -> Self {
        roles.into_iter().fold(Self::NONE, Self::and)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Vec::<String>::from(*self).join(","))
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Roles {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(role).collect()
    }
}

impl TryFrom<Vec<String>> for Roles {
    type Error = UnknownRole;

    fn try_from(words: Vec<String>) -> Result<Self, UnknownRole> {
        words.iter().map(|word| role(word)).collect()
    }
}

impl From<Roles> for Vec<String> {
    fn from(roles: Roles) -> Self {
        NAMES.into_iter().filter(|(role, _)| roles.has(*role)).map(|(_, name)| name.to_owned()).collect()
    }
}

/// The name of a role; empty of none.
#[must_use]
pub fn word(role: Role) -> &'static str {
    NAMES.into_iter().find(|(known, _)| *known == role).map_or("", |(_, name)| name)
}

/// The role of a name.
///
/// # Errors
/// If it is none.
pub fn role(word: &str) -> Result<Role, UnknownRole> {
    let found = NAMES.into_iter().find(|(_, name)| *name == word);
    found.map(|(role, _)| role).ok_or_else(|| UnknownRole(word.chars().take(64).collect()))
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;

    #[test]
    fn every_method_of_the_contract_has_an_entry() {
        let pool = DescriptorPool::decode(crate::DESCRIPTORS).expect("descriptors");
        let services: Vec<_> =
            pool.services().filter(|service| service.package_name() == "caravan.v1").collect();
        assert!(services.len() >= 6, "{}", services.len());
        for method in services.iter().flat_map(prost_reflect::ServiceDescriptor::methods) {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            assert!(
                needed(&path).is_some_and(|roles| roles.iter().next().is_some()),
                "{path} needs a line in access.rs"
            );
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_denied() {
        for path in [
            "",
            "/",
            "/caravan.v1.FileService/",
            "/caravan.v1.FileService/GetFile/",
            "caravan.v1.FileService/GetFile",
        ] {
            assert_eq!(needed(path), None, "{path}");
        }
    }

    #[test]
    fn services_reach_nothing_of_tenants() {
        let pool = DescriptorPool::decode(crate::DESCRIPTORS).expect("descriptors");
        for name in ["FileService", "BatchService", "AccessService"] {
            let service = pool.get_service_by_name(&format!("caravan.v1.{name}")).expect("a service");
            for method in service.methods() {
                let roles = needed(&format!("/caravan.v1.{name}/{}", method.name())).expect("an entry");
                assert_eq!(roles.within(Roles::PUBLIC), roles, "{}", method.name());
            }
        }
    }

    #[test]
    fn roles_are_read_as_they_are_written() {
        let roles = Roles::NONE.and(Role::Submit).and(Role::Executor);
        assert_eq!(roles.to_string(), "submit,executor");
        assert_eq!(roles.to_string().parse(), Ok(roles));
        assert_eq!((Roles::from_bits(roles.bits()), Roles::from_bits(-1)), (roles, Roles::ALL));
        assert_eq!(Roles::ALL.iter().count(), NAMES.len());
        assert!("submit,root".parse::<Roles>().is_err());
    }
}
