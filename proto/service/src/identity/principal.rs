//! Who makes a call, and how a gateway tells the planner of it.

use std::sync::Arc;

use caravan_proto::{
    Tenant,
    access::{self, Roles},
    error::Reason,
    v1::Role,
};
use http::HeaderMap;
use tonic::{
    Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
};

/// Metadata by which a gateway names those in whose name it calls.
const TENANT: &str = "caravan-tenant";
const SUBJECT: &str = "caravan-subject";
const ROLES: &str = "caravan-roles";

/// Bytes of a subject.
const LONGEST_SUBJECT: usize = 256;

/// Whoever makes a call. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Whose files and batches the call is about.
    pub tenant: Tenant,
    /// Who it is in the tenant: a key's name, the subject of a token or of a certificate. For people only.
    pub subject: Arc<str>,
    /// What they may do.
    pub roles: Roles,
}

/// Metadata that names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("caravan-tenant, caravan-subject and caravan-roles must name somebody together")]
pub struct Unreadable;

// === impl Principal ===

impl Principal {
    /// Everybody, where nobody is asked who they are.
    #[must_use]
    pub fn anybody() -> Self {
        Self { tenant: Tenant::default(), subject: "".into(), roles: Roles::ALL }
    }

    /// Somebody of whom only what may be told on is kept: a subject of at most 256 bytes, none a control
    /// character.
    #[must_use]
    pub fn new(tenant: Tenant, subject: &str, roles: Roles) -> Self {
        let end = subject.floor_char_boundary(LONGEST_SUBJECT);
        let subject = subject[..end].replace(char::is_control, " ").into();
        Self { tenant, subject, roles }
    }

    /// Whether they have a role.
    ///
    /// # Errors
    /// PERMISSION_DENIED.
    pub fn must_be(&self, role: Role) -> Result<(), Status> {
        self.must_be_one(Roles::NONE.and(role))
    }

    /// Whether they have one of these roles.
    ///
    /// # Errors
    /// PERMISSION_DENIED.
    pub fn must_be_one(&self, roles: Roles) -> Result<(), Status> {
        if !self.roles.within(roles).is_empty() {
            return Ok(());
        }
        let words = roles.iter().map(access::word).collect::<Vec<_>>().join(" or ");
        let message =
            format!("this needs the role {words}, which the key or token of the call does not have");
        Err(Reason::PermissionDenied.metadata(message, [("role", roles.to_string())]))
    }

    /// Names this one to the planner, in place of whoever is named there.
    pub fn write(&self, metadata: &mut MetadataMap) {
        let roles = self.roles.within(Roles::PUBLIC).to_string();
        let values = [(TENANT, self.tenant.as_str()), (SUBJECT, &self.subject), (ROLES, &roles)];
        for (key, value) in values {
            match MetadataValue::<Ascii>::try_from(value.as_bytes()) {
                Ok(value) => drop(metadata.insert(key, value)),
                // None of them holds a control character; without one of the three nobody is named.
                Err(_) => drop(metadata.remove(key)),
            }
        }
    }

    /// The one named by a gateway; none if nobody is. Roles that are not for clients are left out.
    ///
    /// # Errors
    /// If somebody is named in part, or in a way that cannot be read.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Unreadable> {
        let values = [TENANT, SUBJECT, ROLES].map(|key| headers.get(key));
        let [tenant, subject, roles] = match values {
            [None, None, None] => return Ok(None),
            [Some(tenant), Some(subject), Some(roles)] => {
                [tenant, subject, roles].map(|value| std::str::from_utf8(value.as_bytes()))
            }
            _ => return Err(Unreadable),
        };
        let text = |value: Result<_, _>| value.map_err(|_| Unreadable);
        let tenant = text(tenant)?.parse().map_err(|_| Unreadable)?;
        let roles: Roles = text(roles)?.parse().map_err(|_| Unreadable)?;
        Ok(Some(Self::new(tenant, text(subject)?, roles.within(Roles::PUBLIC))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_planner_reads_what_the_gateway_wrote() {
        let roles = Roles::NONE.and(Role::Submit).and(Role::Admin);
        let written = Principal::new("acme".parse().expect("a tenant"), "Zoë\nof ops", roles);
        assert_eq!(&*written.subject, "Zoë of ops", "one line");
        let mut metadata = MetadataMap::new();
        Principal::anybody().write(&mut metadata);
        written.write(&mut metadata);
        assert_eq!(Principal::read(&metadata.into_headers()), Ok(Some(written)));
        assert_eq!(Principal::read(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn nobody_is_handed_on_with_a_role_of_services() {
        let mut metadata = MetadataMap::new();
        Principal::anybody().write(&mut metadata);
        metadata.insert(ROLES, MetadataValue::from_static("submit,executor,gateway"));
        let read = Principal::read(&metadata.into_headers()).expect("readable").expect("somebody");
        assert_eq!(read.roles, Roles::NONE.and(Role::Submit));
    }

    #[test]
    fn who_is_named_in_part_is_nobody() {
        for (key, value) in [(TENANT, "a b"), (ROLES, "root"), (TENANT, "")] {
            let mut metadata = MetadataMap::new();
            Principal::anybody().write(&mut metadata);
            metadata.insert(key, MetadataValue::from_static(value));
            assert_eq!(Principal::read(&metadata.clone().into_headers()), Err(Unreadable), "{key}");
            metadata.remove(key);
            assert_eq!(Principal::read(&metadata.into_headers()), Err(Unreadable), "no {key}");
        }
    }
}
