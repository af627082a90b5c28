//! Client certificates, which the connection has verified already: what is asked here is whose one is.

use caravan_proto::{Tenant, access::Roles};
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use super::Principal;
use crate::config;

/// Whom a certificate stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateHolder {
    /// A URI or DNS name among its alternative names, or its common name, letter by letter.
    pub name: String,
    /// Whose files and batches its holder sees. Default `default`.
    #[serde(default)]
    pub tenant: Tenant,
    /// What its holder may do.
    pub roles: Roles,
}

// === impl CertificateHolder ===

impl CertificateHolder {
    /// Whether each of `holders`, which are `key` of the configuration, can be told from the others.
    pub(super) fn check(holders: &[Self], key: &str) -> Result<(), config::Error> {
        for (index, holder) in holders.iter().enumerate() {
            let is_first = holders[..index].iter().all(|earlier| earlier.name != holder.name);
            config::check(
                is_first && !holder.name.is_empty() && !holder.roles.is_empty(),
                key,
                "a list of holders, each with a name that no other has, and with roles",
            )?;
        }
        Ok(())
    }
}

/// The first of `holders` that a certificate names.
pub(super) fn principal(
    holders: &[CertificateHolder],
    certificate: &CertificateDer<'_>,
) -> Option<Principal> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = names(&certificate);
    let holder = holders.iter().find(|holder| names.contains(&holder.name.as_str()))?;
    Some(Principal::new(holder.tenant.clone(), &holder.name, holder.roles))
}

fn names<'c>(certificate: &'c X509Certificate<'_>) -> Vec<&'c str> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let alternative = alternative.iter().flat_map(|names| &names.value.general_names);
    let alternative = alternative.filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::URI(name) => Some(*name),
        _ => None,
    });
    let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    alternative.chain(common).collect()
}

#[cfg(test)]
mod tests {
    use caravan_proto::v1::Role;
    use caravan_test_certificates::Authority;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;

    use super::*;

    fn holder(name: &str, role: Role) -> CertificateHolder {
        CertificateHolder { name: name.into(), tenant: Tenant::default(), roles: Roles::NONE.and(role) }
    }

    #[test]
    fn a_certificate_stands_for_whom_its_names_say() {
        let identity =
            Authority::new("ca").expect("an authority").identity("gateway-1").expect("an identity");
        let certificate =
            CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("a certificate");
        let gateway = holder("gateway-1", Role::Gateway);
        for holders in [vec![gateway.clone()], vec![holder("gateway", Role::Admin), gateway.clone()]] {
            let found = principal(&holders, &certificate).expect("a holder");
            assert_eq!((&*found.subject, found.roles), ("gateway-1", Roles::NONE.and(Role::Gateway)));
        }
        let by_dns = principal(&[holder("localhost", Role::Read)], &certificate).expect("a holder");
        assert_eq!(by_dns.roles, Roles::NONE.and(Role::Read));
        for nobody in ["gateway-2", "GATEWAY-1", "127.0.0.1", "ca", ""] {
            assert_eq!(principal(&[holder(nobody, Role::Admin)], &certificate), None, "{nobody}");
        }
        assert_eq!(principal(&[gateway], &CertificateDer::from(vec![1, 2, 3])), None);
    }

    #[test]
    fn holders_can_be_told_apart() {
        let one = holder("one", Role::Read);
        let check = |holders: &[_]| CertificateHolder::check(holders, "identity.certificates");
        assert!(check(&[one.clone(), holder("other", Role::Read)]).is_ok());
        let none = CertificateHolder { roles: Roles::NONE, ..one.clone() };
        for bad in [vec![one.clone(), one], vec![none], vec![holder("", Role::Read)]] {
            assert!(check(&bad).is_err(), "{bad:?}");
        }
    }
}
