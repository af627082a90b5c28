use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

/// An issuer of tokens on loopback, with one key.
#[derive(Debug)]
pub struct Issuer {
    key: EncodingKey,
    url: String,
    _serving: JoinSet<()>,
}

/// What its tokens say of it.
const NAME: &str = "https://issuer.example";
/// Whom they are for.
const AUDIENCE: &str = "caravan";

// === impl Issuer ===

impl Issuer {
    /// Serves its public key.
    ///
    /// # Errors
    /// If it cannot.
    pub async fn start() -> anyhow::Result<Self> {
        let key = key()?;
        let mut public = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        public.common.key_id = Some("k1".to_owned());
        let document = json!({ "keys": [public] }).to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/keys", listener.local_addr()?);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", document.len());
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                // Whoever asks and goes away gets no answer.
                let _asked = stream.read(&mut request).await;
                let _answered = stream.write_all(format!("{head}{document}").as_bytes()).await;
            }
        });
        Ok(Self { key, url, _serving: serving })
    }

    /// How a gateway is told of it, as TOML.
    #[must_use]
    pub fn config(&self) -> String {
        format!("[identity.oidc]\nissuer = '{NAME}'\naudience = ['{AUDIENCE}']\njwks_url = '{}'\n", self.url)
    }

    /// What a good token of a tenant says, for a minute.
    #[must_use]
    pub fn claims(tenant: &str, roles: &[&str]) -> Value {
        let expires = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() + 60);
        json!({
            "iss": NAME, "aud": AUDIENCE, "sub": "ada", "exp": expires, "tenant": tenant, "roles": roles,
        })
    }

    /// A token that says so.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        sign(&self.key, claims)
    }

    /// A token that says so, signed by somebody who gives out their key as this issuer's.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn forge(claims: &Value) -> anyhow::Result<String> {
        sign(&key()?, claims)
    }
}

fn key() -> anyhow::Result<EncodingKey> {
    let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    Ok(EncodingKey::from_ec_der(pair.map_err(|_| anyhow::anyhow!("no key pair"))?.as_ref()))
}

fn sign(key: &EncodingKey, claims: &Value) -> anyhow::Result<String> {
    let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
    Ok(encode(&header, claims, key)?)
}
