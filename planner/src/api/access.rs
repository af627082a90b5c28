use std::sync::Arc;

use caravan_proto::{
    error::Reason,
    name::KeyId,
    v1::{self, access_service_server::AccessService, credential_service_server::CredentialService},
};
use tonic::{Request, Response, Status};

use super::{name, page, principal, status, tenant, usage};
use crate::{keys, store::Store};

/// `AccessService` and `CredentialService`.
#[derive(Clone)]
pub struct Access {
    store: Arc<dyn Store>,
}

// === impl Access ===

impl Access {
    /// Keys in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

#[tonic::async_trait]
impl AccessService for Access {
    async fn create_key(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Result<Response<v1::CreateKeyResponse>, Status> {
        let key = request.into_inner().key;
        let key = key.ok_or_else(|| Reason::InvalidArgument.field("key", "key must be set"))?;
        let (key, secret) = keys::create(&*self.store, key).await.map_err(|error| match error {
            keys::Error::Wrong { field, message } => Reason::InvalidArgument.field(field, message),
            error => status(error),
        })?;
        Ok(Response::new(v1::CreateKeyResponse { key: Some(keys::message(key)), secret }))
    }

    async fn list_keys(
        &self,
        request: Request<v1::ListKeysRequest>,
    ) -> Result<Response<v1::ListKeysResponse>, Status> {
        let request = request.into_inner();
        let limit = page::size(request.page_size)?;
        let before = page::token(&request.page_token)?;
        let tenant = tenant::named(&request.tenant)?;
        let keys = self.store.keys(tenant.as_ref(), before, limit).await.map_err(status)?;
        let next_page_token = page::next(keys.len(), limit, keys.last().map(|key| key.id));
        let keys = keys.into_iter().map(keys::message).collect();
        Ok(Response::new(v1::ListKeysResponse { keys, next_page_token }))
    }

    async fn revoke_key(&self, request: Request<v1::RevokeKeyRequest>) -> Result<Response<v1::Key>, Status> {
        let id: KeyId = name::parse("name", &request.into_inner().name)?;
        let now = self.store.now().await.map_err(status)?;
        let revoked = self.store.revoke_key(id, now).await.map_err(status)?;
        let revoked =
            revoked.ok_or_else(|| Reason::KeyNotFound.status(format!("there is no {}", id.name())))?;
        tracing::info!(key = %id, prefix = revoked.prefix, tenant = %revoked.tenant, "key revoked");
        Ok(Response::new(keys::message(revoked)))
    }

    async fn list_usage(
        &self,
        request: Request<v1::ListUsageRequest>,
    ) -> Result<Response<v1::ListUsageResponse>, Status> {
        let wanted = usage::listing(principal(&request)?, request.get_ref())?;
        let rows = self.store.usage(&wanted).await.map_err(status)?;
        Ok(Response::new(usage::page(rows, wanted.limit)))
    }
}

#[tonic::async_trait]
impl CredentialService for Access {
    async fn verify_key(
        &self,
        request: Request<v1::VerifyKeyRequest>,
    ) -> Result<Response<v1::VerifyKeyResponse>, Status> {
        let sha256 = request.into_inner().sha256;
        let sha256 = sha256
            .as_slice()
            .try_into()
            .map_err(|_| Reason::InvalidArgument.field("sha256", "sha256 must have 32 bytes"))?;
        let key = keys::verify(&*self.store, sha256).await.map_err(status)?;
        let key = key.ok_or_else(|| Reason::KeyNotFound.status("no key that is good has this hash"))?;
        Ok(Response::new(v1::VerifyKeyResponse { key: Some(keys::message(key)) }))
    }
}
