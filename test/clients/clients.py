"""What a client in Python does: find the endpoints, get a token, exchange one, ask about them, and revoke.

Called with the name of a library and a JSON object; prints what introspection said.
"""

import json
import sys

import requests

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"

library, told = sys.argv[1], json.loads(sys.argv[2])
found = requests.get(told["issuer"] + "/.well-known/openid-configuration", timeout=10)
found.raise_for_status()
metadata = found.json()
assert metadata["issuer"] == told["issuer"], metadata
asked_for = {
    "subject_token": told["subject"],
    "subject_token_type": ACCESS_TOKEN,
    "audience": "api",
    "scope": "read:data:1",
}


def by_authlib(session, exchanges):
    """Authlib knows introspection and revocation itself; the exchange is a grant that it is told of."""
    token_endpoint = metadata["token_endpoint"]
    own = session.fetch_token(token_endpoint, grant_type="client_credentials")["access_token"]

    def introspect(token):
        answer = session.introspect_token(metadata["introspection_endpoint"], token=token, token_type_hint="access_token")
        answer.raise_for_status()
        return answer.json()

    result = {"own": introspect(own)}
    if exchanges:
        exchanged = session.fetch_token(token_endpoint, grant_type=EXCHANGE, **asked_for)["access_token"]
        result["exchanged"] = introspect(exchanged)
    session.revoke_token(metadata["revocation_endpoint"], token=own, token_type_hint="access_token").raise_for_status()
    return {**result, "revoked": introspect(own)}


def by_requests_oauthlib():
    """requests-oauthlib knows the grant; the other calls are plain requests, with its client authentication."""
    from oauthlib.oauth2 import BackendApplicationClient
    from requests.auth import HTTPBasicAuth
    from requests_oauthlib import OAuth2Session
    from urllib.parse import quote_plus

    # RFC 6749, section 2.3.1: encoded as a form before it goes into the header, which requests leaves to its caller.
    auth = HTTPBasicAuth("backend", quote_plus(told["secret"]))
    session = OAuth2Session(client=BackendApplicationClient("backend"))
    own = session.fetch_token(metadata["token_endpoint"], auth=auth)["access_token"]

    def post(endpoint, **form):
        answer = requests.post(metadata[endpoint], data=form, auth=auth, timeout=10)
        answer.raise_for_status()
        return answer

    def introspect(token):
        return post("introspection_endpoint", token=token).json()

    result = {"own": introspect(own)}
    exchanged = post("token_endpoint", grant_type=EXCHANGE, **asked_for).json()["access_token"]
    result["exchanged"] = introspect(exchanged)
    post("revocation_endpoint", token=own)
    return {**result, "revoked": introspect(own)}


def authlib_session():
    from authlib.integrations.requests_client import OAuth2Session

    # In the body: Authlib does not form-encode what it writes into the header.
    by_body = "client_secret_post"
    return OAuth2Session(
        "backend", told["secret"], token_endpoint_auth_method=by_body, revocation_endpoint_auth_method=by_body
    )


def authlib_session_with_key():
    from authlib.integrations.requests_client import OAuth2Session
    from authlib.oauth2.rfc7523 import PrivateKeyJWT
    from joserfc.jwk import ECKey

    with open(told["key"], encoding="utf-8") as file:
        key = ECKey.import_key(file.read())
    by_key = "private_key_jwt"
    session = OAuth2Session(
        "signer", key, token_endpoint_auth_method=by_key, revocation_endpoint_auth_method=by_key
    )
    session.register_client_auth_method(
        PrivateKeyJWT(metadata["token_endpoint"], alg="ES256", headers={"kid": told["kid"]})
    )
    return session


if library == "authlib":
    answers = by_authlib(authlib_session(), True)
elif library == "authlib-key":
    answers = by_authlib(authlib_session_with_key(), False)
else:
    answers = by_requests_oauthlib()
print(json.dumps(answers))
