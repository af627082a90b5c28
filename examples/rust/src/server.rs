//! The way to the server, from the environment.

use std::{env, fs};

use anyhow::{Context as _, ensure};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

/// A channel to the server that the environment names, and what lets its calls carry the API key.
pub(crate) async fn connect() -> anyhow::Result<(Channel, Key)> {
    let url = env::var("CARAVAN_SERVER").unwrap_or_else(|_| "http://127.0.0.1:4081".to_owned());
    let key = env::var("CARAVAN_API_KEY").ok().filter(|key| !key.is_empty());
    let mut endpoint = Endpoint::from_shared(url.clone())?;
    if url.starts_with("https:") {
        let ca =
            env::var("CARAVAN_TLS_CA").context("CARAVAN_TLS_CA names the authority of an https server")?;
        let ca = Certificate::from_pem(fs::read(&ca).with_context(|| format!("cannot read {ca}"))?);
        endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(ca))?;
    } else {
        let advice = "CARAVAN_API_KEY is sent over https only: set CARAVAN_SERVER to an https URL";
        ensure!(key.is_none(), advice);
    }
    let value =
        key.map(|key| format!("Bearer {key}").parse()).transpose().context("CARAVAN_API_KEY is no key")?;
    Ok((endpoint.connect_lazy(), Key(value)))
}

/// Puts the API key into every call.
#[derive(Debug, Clone)]
pub(crate) struct Key(Option<MetadataValue<Ascii>>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}
