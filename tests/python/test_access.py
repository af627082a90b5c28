"""Who may not, and what is another's: rows of `tests/bad-input` for a fleet that asks who calls. Those of `credentials`
say who calls in a way that does not hold; those of `roles-…` may not do what they ask for; those of `others-…` are of
tenant `other` and reach for what tenant `acme` has, which is answered in the very words of what does not exist."""

import grpc
import pytest

from asking import INSIDE, error_of, filled, group, over_grpc, over_http
from guarded import Guarded, nobodys
from issuer import Issuer

LIST = {"rpc": "FileService/ListFiles", "messages": [{}], "method": "GET", "path": "/v1/files"}


@pytest.fixture(scope="module")
def issuer():
    issuer = Issuer()
    yield issuer
    issuer.end()


@pytest.fixture(scope="module")
def guarded(start, directory, v1, issuer):
    guarded = Guarded(start, directory, v1, issuer)
    yield guarded
    guarded.end()


@pytest.fixture(scope="module")
def shown(guarded, issuer):
    """What callers show, as `${key.NAME}` and `${jwt.NAME}`."""
    keys, tokens = guarded.credentials(), issuer.tokens("other")
    return {f"key.{name}": key for name, key in keys.items()} | {f"jwt.{name}": jwt for name, jwt in tokens.items()}


@pytest.fixture(scope="module")
def known(guarded, shown):
    """All that rows may use: credentials, `${own.NAME}` and `${theirs.NAME}`."""
    owns = {tenant: guarded.has(tenant) for tenant in ("acme", "other")}
    named = lambda whose, has: {f"{whose}.{name}": value for name, value in has.items()}
    return shown | named("own", owns["other"]) | named("theirs", owns["acme"])


@pytest.fixture(scope="module")
def unknown(known):
    """The same with things that do not exist in place of what is another's."""
    theirs = {name.removeprefix("theirs."): value for name, value in known.items() if name.startswith("theirs.")}
    return known | {f"theirs.{name}": value for name, value in nobodys(theirs).items()}


def assert_hidden(text: str, shown: dict):
    """Whoever reads a text learns no credential from it. The first 12 characters of a key are for all to see."""
    for name, credential in shown.items():
        assert len(credential) <= 12 or credential not in text, name


@pytest.fixture
def says_nothing(shown):
    """Checks that an answer tells neither of the inside nor what the caller has shown."""

    def check(text: str):
        assert not INSIDE.search(text), text
        assert_hidden(text, shown)

    return check


def caller_of(row: dict, known: dict) -> list:
    """Who makes the call of a row."""
    return [("authorization", filled(f"Bearer {row.get('as', '${key.good}')}", known))]


def told(guarded, v1, door: str, row: dict, known: dict):
    """The error of a row at a gateway or planner, or its answers."""
    try:
        more = [(name, filled(value, known)) for name, value in row.get("headers", {}).items()]
        return over_grpc(guarded.channels[door], v1, row, known, caller_of(row, known) + more)
    except grpc.RpcError as raised:
        return error_of(raised)


def without_names(answer, known: dict) -> str:
    text = str(answer)
    for name in ("batch", "file", "tenant"):
        text = text.replace(known[f"theirs.{name}"], name.upper())
    return text


@pytest.mark.parametrize("name", ["key.good", "jwt.good"])
def test_who_calls_and_holds_is_let_in(guarded, v1, shown, name):
    headers = [("authorization", f"Bearer {shown[name]}")]
    assert over_grpc(guarded.channels["gateway"], v1, LIST, {}, headers)
    assert over_http(guarded.gateway["http"], LIST, {}, headers).status == 200


@pytest.mark.parametrize("row", group("credentials"))
def test_who_calls_must_hold(guarded, v1, shown, says_nothing, row):
    headers = [(name, filled(value, shown)) for name, value in row["headers"]]
    with pytest.raises(grpc.RpcError) as raised:
        over_grpc(guarded.channels["gateway"], v1, LIST, {}, headers)
    error = error_of(raised.value)
    assert (error.code, error.facts) == ("UNAUTHENTICATED", {"why": row["why"]}), error
    assert error.reason == "UNAUTHENTICATED"
    says_nothing(str(error))
    answer = over_http(guarded.gateway["http"], LIST, {}, headers)
    assert "\r\nwww-authenticate: Bearer" in answer.head and answer.status == 401, answer
    same = {"message": error.message, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
    own = {"reason": error.reason, "metadata": error.facts}
    assert answer.body == {"error": same | {"x_caravan": own}}


@pytest.mark.parametrize("row", group("roles-grpc"))
def test_a_role_is_needed_over_grpc(guarded, v1, known, says_nothing, row):
    error = told(guarded, v1, row.get("at", "gateway"), row, known)
    facts = {name: row[name] for name in ("role", "why") if name in row}
    assert (error.code, error.reason, error.facts) == (row["code"], row["reason"], facts), error
    says_nothing(str(error))


@pytest.mark.parametrize("row", group("roles-http"))
def test_a_role_is_needed_over_http(guarded, known, says_nothing, row):
    answer = over_http(guarded.gateway["http"], row, known, caller_of(row, known))
    error = answer.body["error"]
    assert (answer.status, error["code"], error["type"]) == (row["status"], row["code"], "permission_error"), error
    says_nothing(error["message"])


@pytest.mark.parametrize("door", ["gateway", "planner"])
@pytest.mark.parametrize("row", group("others-grpc"))
def test_what_is_anothers_is_not_there_over_grpc(guarded, v1, known, unknown, says_nothing, door, row):
    answer, other = told(guarded, v1, door, row, known), told(guarded, v1, door, row, unknown)
    assert without_names(answer, known) == without_names(other, unknown)
    says_nothing(str(answer))
    if row["code"] == "OK":
        assert all(known[f"theirs.{name}"] not in str(answer) for name in ("batch", "file")), answer
    else:
        fields = [row["field"]] if "field" in row else []
        assert (answer.code, answer.reason, answer.fields) == (row["code"], row["reason"], fields), answer


@pytest.mark.parametrize("row", group("others-http"))
def test_what_is_anothers_is_not_there_over_http(guarded, known, unknown, says_nothing, row):
    ask = lambda names: over_http(guarded.gateway["http"], row, names, caller_of(row, names))
    answer, other = ask(known), ask(unknown)
    assert answer.status == other.status == row["status"]
    assert without_names(answer.body, known) == without_names(other.body, unknown)
    says_nothing(str(answer.body))
    if row["status"] == 200:
        assert all(known[f"theirs.{name}"] not in str(answer.body) for name in ("batch", "file")), answer.body
    else:
        error = answer.body["error"]
        assert (error["code"], error["param"]) == (row["code"], row.get("param")), error
        assert error["type"] == "invalid_request_error"


def test_no_log_repeats_what_callers_have_shown(guarded, directory, shown):
    for program in ("caravan-gateway", "caravan-planner"):
        log = (directory / f"{program}.log").read_text()
        assert "call ended" in log, log
        assert_hidden(log, shown)
