//! Tokens good and bad, of an issuer on loopback.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use caravan_proto::v1::Role;
use jsonwebtoken::{EncodingKey, Header, encode, jwk::Jwk};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
    task::JoinSet,
};

use super::*;

const ISSUER: &str = "https://issuer.example";

/// A key that signs, under an id.
struct Key {
    id: &'static str,
    secret: EncodingKey,
}

/// Serves its public keys, which may change, and counts how often it is asked.
struct Issuer {
    url: Url,
    document: watch::Sender<String>,
    asked: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self { id, secret: EncodingKey::from_ec_der(pair.expect("a key").as_ref()) }
    }

    fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.secret, Algorithm::ES256).expect("a public key");
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).expect("JSON")
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &self.secret).expect("a token")
    }
}

impl Issuer {
    async fn with(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let (document, asked) = (watch::Sender::new(String::new()), Arc::new(AtomicUsize::new(0)));
        let mut serving = JoinSet::new();
        let (served, counter) = (document.subscribe(), Arc::clone(&asked));
        serving.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                counter.fetch_add(1, Relaxed);
                let mut request = [0; 4096];
                let _read = stream.read(&mut request).await.expect("a request");
                let body = served.borrow().clone();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.expect("an answer");
            }
        });
        let issuer = Self { url: url.parse().expect("a URL"), document, asked, _serving: serving };
        issuer.publish(keys);
        issuer
    }

    fn publish(&self, keys: &[&Key]) {
        let keys: Vec<_> = keys.iter().map(|key| key.public()).collect();
        self.document.send_replace(json!({ "keys": keys }).to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Relaxed)
    }

    fn options(&self) -> Oidc {
        let options = json!({ "issuer": ISSUER, "audience": ["caravan"], "jwks_url": self.url });
        serde_json::from_value(options).expect("options")
    }

    fn tokens(&self) -> Tokens {
        Tokens::new(&self.options()).expect("tokens")
    }
}

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    i64::try_from(now).expect("a time") + seconds
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "caravan", "sub": "ada", "exp": in_seconds(60), "nbf": in_seconds(-1),
        "tenant": "acme", "roles": ["submit", "read", "executor", "somebody-elses"],
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

#[tokio::test]
async fn a_good_token_names_tenant_subject_and_roles_of_clients() {
    let key = Key::new("k1");
    let issuer = Issuer::with(&[&key, &Key::new("k2")]).await;
    let tokens = issuer.tokens();
    let expected = Principal::new(
        "acme".parse().expect("a tenant"),
        "ada",
        Roles::NONE.and(Role::Submit).and(Role::Read),
    );
    for claims in [claims(), with("aud", json!(["other", "caravan"])), with("roles", json!("read submit x"))]
    {
        assert_eq!(tokens.principal(&key.sign(&claims)).await.as_ref(), Ok(&expected));
    }
    let none = tokens.principal(&key.sign(&with("roles", Value::Null))).await.expect("somebody");
    assert!(none.roles.is_empty(), "who has no role may do nothing");
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn claims_may_lie_deeper() {
    let key = Key::new("k1");
    let issuer = Issuer::with(&[&key]).await;
    let options = Oidc {
        tenant_claim: "/org/id".into(),
        roles_claim: "/realm_access/roles".into(),
        ..issuer.options()
    };
    let tokens = Tokens::new(&options).expect("tokens");
    let mut claims = with("org", json!({ "id": "deep" }));
    claims["realm_access"] = json!({ "roles": ["read"] });
    let named = tokens.principal(&key.sign(&claims)).await.expect("somebody");
    assert_eq!((named.tenant.as_str(), named.roles), ("deep", Roles::NONE.and(Role::Read)));
}

#[tokio::test]
async fn bad_tokens_are_refused_for_what_is_wrong_with_them() {
    let (key, forger) = (Key::new("k1"), Key::new("k1"));
    let issuer = Issuer::with(&[&key]).await;
    let tokens = issuer.tokens();
    let mut no_expiry = claims();
    no_expiry.as_object_mut().expect("an object").remove("exp");
    let good = key.sign(&claims());
    let (head, tail) = good.rsplit_once('.').expect("a signature");
    let other_body = key.sign(&with("tenant", json!("other")));
    let body = other_body.split('.').nth(1).expect("a body");
    let first = head.split('.').next().expect("a head");
    let hmac = Header { kid: Some("k1".into()), ..Header::new(Algorithm::HS256) };
    let critical =
        Header { kid: Some("k1".into()), crit: Some(vec!["b64".into()]), ..Header::new(Algorithm::ES256) };
    let public = key.public().to_string();
    for (token, expected) in [
        (key.sign(&with("exp", json!(in_seconds(-31)))), Refusal::ExpiredToken),
        (key.sign(&with("nbf", json!(in_seconds(90)))), Refusal::EarlyToken),
        (key.sign(&with("iss", json!("https://other.example"))), Refusal::WrongIssuer),
        (key.sign(&with("aud", json!("other"))), Refusal::WrongAudience),
        (key.sign(&with("tenant", json!("No Tenant"))), Refusal::NoTenant),
        (key.sign(&with("tenant", json!(7))), Refusal::NoTenant),
        (key.sign(&no_expiry), Refusal::BadToken),
        (forger.sign(&claims()), Refusal::BadToken),
        (format!("{first}.{body}.{tail}"), Refusal::BadToken),
        (format!("{head}."), Refusal::BadToken),
        // Signed with what everybody knows, by an algorithm that takes it for a secret.
        (
            encode(&hmac, &claims(), &EncodingKey::from_secret(public.as_bytes())).expect("a token"),
            Refusal::BadToken,
        ),
        // With a header that says of another that it must be understood.
        (encode(&critical, &claims(), &key.secret).expect("a token"), Refusal::BadToken),
        // {"alg":"none"} without a signature.
        (format!("eyJhbGciOiJub25lIn0.{body}."), Refusal::BadToken),
        ("a.b.c".into(), Refusal::BadToken),
        ("token".into(), Refusal::BadToken),
        (Key::new("k9").sign(&claims()), Refusal::UnknownSigner),
    ] {
        assert_eq!(tokens.principal(&token).await, Err(expected), "{token}");
    }
    let within_leeway = key.sign(&with("exp", json!(in_seconds(-5))));
    assert!(tokens.principal(&within_leeway).await.is_ok());
}

#[tokio::test]
async fn a_new_key_is_fetched_and_made_up_ones_do_not_ask_the_issuer_each_time() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let issuer = Issuer::with(&[&old]).await;
    let tokens = Tokens::new(&Oidc { refresh_pause_seconds: 0, ..issuer.options() }).expect("tokens");
    assert!(tokens.principal(&old.sign(&claims())).await.is_ok());
    issuer.publish(&[&old, &new]);
    assert!(tokens.principal(&new.sign(&claims())).await.is_ok(), "fetched because it was not there");
    assert_eq!(issuer.asked(), 2);

    let paused = issuer.tokens();
    for _ in 0..20 {
        assert_eq!(paused.principal(&Key::new("made-up").sign(&claims())).await, Err(Refusal::UnknownSigner));
    }
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test]
async fn old_keys_are_used_while_the_issuer_is_away() {
    let key = Key::new("k1");
    let mut issuer = Issuer::with(&[&key]).await;
    let options = Oidc { refresh_seconds: 0, refresh_pause_seconds: 0, ..issuer.options() };
    let (tokens, late) = (Tokens::new(&options).expect("tokens"), Tokens::new(&options).expect("tokens"));
    assert!(tokens.principal(&key.sign(&claims())).await.is_ok());
    issuer._serving.shutdown().await;
    assert!(tokens.principal(&key.sign(&claims())).await.is_ok());
    assert_eq!(late.principal(&key.sign(&claims())).await, Err(Refusal::IssuerAway));
    // What is no JWKS leaves what there is, too.
    let issuer = Issuer::with(&[&key]).await;
    let tokens = Tokens::new(&Oidc { jwks_url: issuer.url.clone(), ..options }).expect("tokens");
    assert!(tokens.principal(&key.sign(&claims())).await.is_ok());
    issuer.document.send_replace("<html>".into());
    assert!(tokens.principal(&key.sign(&claims())).await.is_ok());
}

#[tokio::test]
async fn options_that_would_let_anybody_in_are_refused() {
    let issuer = Issuer::with(&[]).await;
    let good = issuer.options();
    assert!(good.check("identity.oidc").is_ok());
    for (bad, key) in [
        (Oidc { algorithms: vec![Algorithm::HS256], ..good.clone() }, "algorithms"),
        (Oidc { algorithms: Vec::new(), ..good.clone() }, "algorithms"),
        (Oidc { jwks_url: "http://issuer.example/keys".parse().expect("a URL"), ..good.clone() }, "jwks_url"),
        (Oidc { audience: Vec::new(), ..good.clone() }, "identity.oidc"),
        (Oidc { issuer: String::new(), ..good.clone() }, "identity.oidc"),
    ] {
        let said = bad.check("identity.oidc").expect_err(key).to_string();
        assert!(said.contains(key), "{said}");
    }
}
