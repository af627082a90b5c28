"""An issuer of tokens on loopback, and tokens that nobody should take."""

import base64
import hashlib
import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

NAME, AUDIENCE = "https://issuer.example", "caravan"


class Issuer:
    """Signs with two keys, whose public halves it serves."""

    def __init__(self):
        self.ec, self.rsa = ec_key(), rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = [
            ECAlgorithm.to_jwk(self.ec.public_key(), as_dict=True) | {"kid": "ec"},
            RSAAlgorithm.to_jwk(self.rsa.public_key(), as_dict=True) | {"kid": "rsa", "alg": "RS256"},
        ]
        document = json.dumps({"keys": public}).encode()

        class Keys(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(document)))
                self.end_headers()
                self.wfile.write(document)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
        self.serving = threading.Thread(target=self.server.serve_forever)
        self.serving.start()

    def end(self):
        self.server.shutdown()
        self.serving.join()
        self.server.server_close()

    def config(self) -> str:
        """How a gateway is told of it, as TOML."""
        url = f"http://127.0.0.1:{self.server.server_port}/keys"
        return f"[identity.oidc]\nissuer = '{NAME}'\naudience = ['{AUDIENCE}']\njwks_url = '{url}'\n"

    def sign(self, claims: dict, **header) -> str:
        return jwt.encode(claims, self.ec, "ES256", {"kid": "ec"} | header)

    def tokens(self, tenant: str) -> dict[str, str]:
        """Tokens by name: those that claim to be of a tenant and are not to be taken, and `good`."""
        good = claims(tenant)
        without = lambda name: {claim: value for claim, value in good.items() if claim != name}
        head, body, signature = self.sign(good).split(".")
        pem = self.rsa.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        jwk = json.dumps(ECAlgorithm.to_jwk(self.ec.public_key(), as_dict=True)).encode()
        forger = ec_key()
        forged = lambda **header: jwt.encode(good, forger, "ES256", {"kid": "ec"} | header)
        changed = good | {"tenant": "other", "roles": ["submit", "read", "admin"]}
        return {
            "good": self.sign(good),
            "expired": self.sign(good | {"exp": 1_000_000}),
            "expired_long_ago": self.sign(good | {"exp": 0}),
            "early": self.sign(good | {"nbf": good["exp"] + 3_600, "exp": good["exp"] + 7_200}),
            "other_audience": self.sign(good | {"aud": "somebody-else"}),
            "other_audiences": self.sign(good | {"aud": ["somebody-else", f"{AUDIENCE}/"]}),
            "other_issuer": self.sign(good | {"iss": "https://elsewhere.example"}),
            "issuer_with_slash": self.sign(good | {"iss": f"{NAME}/"}),
            "no_expiry": self.sign(without("exp")),
            "no_audience": self.sign(without("aud")),
            "no_issuer": self.sign(without("iss")),
            "expiry_as_text": self.sign_raw(good | {"exp": str(good["exp"])}),
            "expiry_below_zero": self.sign_raw(good | {"exp": -1}),
            "no_tenant": self.sign(without("tenant")),
            "tenant_as_list": self.sign(good | {"tenant": [tenant]}),
            "tenant_as_path": self.sign(good | {"tenant": f"../{tenant}"}),
            "tenant_in_capitals": self.sign(good | {"tenant": tenant.upper()}),
            "no_tenant_at_all": self.sign(good | {"tenant": ""}),
            "forged": forged(),
            "forged_with_jwk": forged(jwk=ECAlgorithm.to_jwk(forger.public_key(), as_dict=True)),
            "forged_with_jku": forged(jku="https://elsewhere.example/keys"),
            "none": unsigned({"alg": "none", "typ": "JWT"}, good),
            "none_in_capitals": unsigned({"alg": "NONE", "typ": "JWT", "kid": "ec"}, good),
            "none_with_signature": unsigned({"alg": "none", "kid": "ec"}, good) + signature,
            "no_algorithm": unsigned({"typ": "JWT", "kid": "ec"}, good) + signature,
            "hmac_of_pem": by_hmac(pem, {"alg": "HS256", "kid": "rsa"}, good),
            "hmac_of_jwk": by_hmac(jwk, {"alg": "HS256", "kid": "ec"}, good),
            "hmac_of_nothing": by_hmac(b"", {"alg": "HS256", "kid": "ec"}, good),
            "other_algorithm": jwt.encode(good, self.rsa, "PS256", {"kid": "rsa"}),
            "other_kind_of_key": jwt.encode(good, self.rsa, "RS256", {"kid": "ec"}),
            "unknown_kid": self.sign(good, kid="somebody-else"),
            "kid_as_path": self.sign(good, kid="../../../../../../dev/null"),
            "kid_as_sql": self.sign(good, kid="' UNION SELECT 'ec"),
            "kid_with_zero": self.sign(good, kid="ec\0"),
            "kid_in_capitals": self.sign(good, kid="EC"),
            "no_kid": jwt.encode(good, self.ec, "ES256"),
            "critical": self.sign(good, crit=["exp-policy"], **{"exp-policy": 1}),
            "tampered": f"{head}.{part(changed)}.{signature}",
            "truncated": f"{head}.{body}.{signature[:-8]}",
            "cut_in_the_body": f"{head}.{body[:-8]}.{signature}",
            "no_signature": f"{head}.{body}.",
            "two_parts": f"{head}.{body}",
            "four_parts": f"{head}.{body}.{signature}.{signature}",
            "padded": f"{head}.{body}.{signature}==",
            "followed_by_text": f"{head}.{body}.{signature}x",
            "huge": jwt.encode(good | {"groups": ["g" * 1000] * 15}, forger, "ES256", {"kid": "ec"}),
            "without_roles": self.sign(without("roles")),
            "roles_in_capitals": self.sign(good | {"roles": ["READ", "SUBMIT"]}),
            "roles_as_object": self.sign(good | {"roles": {"read": True}}),
            "roles_of_services": self.sign(good | {"roles": ["executor", "gateway"]}),
            "reads": self.sign(good | {"roles": "read"}),
        }

    def sign_raw(self, claims: dict) -> str:
        """The same of claims that the library would not sign."""
        return jwt.api_jws.encode(json.dumps(claims).encode(), self.ec, "ES256", {"kid": "ec"})


def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


def claims(tenant: str) -> dict:
    """What a good token of a tenant says, for an hour."""
    expires = int(time.time()) + 3_600
    return {"iss": NAME, "aud": AUDIENCE, "sub": "ada", "exp": expires, "tenant": tenant, "roles": ["submit", "read"]}


def part(content: bytes | dict) -> str:
    content = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unsigned(header: dict, claims: dict) -> str:
    return f"{part(header)}.{part(claims)}."


def by_hmac(secret: bytes, header: dict, claims: dict) -> str:
    """The library does not take for a secret what everybody knows; forgers do."""
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), hashlib.sha256))}"
