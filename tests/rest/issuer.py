"""An issuer in a process of its own: `oidc-provider-mock`, with device login beside its own flow.

Run as a program it prints its address. Signatures, keys and discovery are the package's; what is
added is RFC 8628: a device code that is confirmed by the second time somebody asks.
"""

from __future__ import annotations

import json
import sys
import urllib.parse
from typing import Any

CLIENT = "pulk"
REDIRECT = "http://127.0.0.1/back"
CLAIMS = {
    "anna": {"groups": ["nu", "not a group"], "roles": ["makers", "readers"]},
    "bela": {"groups": ["mu"]},
}


def main() -> None:
    """Serve until killed."""
    import flask
    import oidc_provider_mock as mock
    from werkzeug.serving import make_server

    users = [
        mock.User(sub=f"{name}-1", claims={"preferred_username": name, **CLAIMS.get(name, {})})
        for name in ("anna", "bela", "admin")
    ]
    app = flask.Flask("issuer")
    mock.init_app(app, user_claims=users)
    asked: dict[str, int] = {}
    whose = {"sub": "anna-1"}

    @app.post("/device")
    def device() -> Any:
        code = f"code{len(asked)}"
        asked[code] = 0
        about = {"device_code": code, "user_code": "ABCD-EFGH", "interval": 0.1}
        return about | {"expires_in": 60, "verification_uri": f"{flask.request.host_url}device"}

    @app.post("/whose/<sub>")
    def set_whose(sub: str) -> Any:
        whose["sub"] = sub
        return {}

    @app.get("/token/<sub>")
    def token(sub: str) -> Any:
        return issued(sub)

    @app.before_request
    def of_device() -> Any:
        form = flask.request.form
        if flask.request.path != "/oauth2/token" or "device_code" not in form:
            return None
        code = form["device_code"]
        if code not in asked or form.get("client_id") != CLIENT:
            return {"error": "invalid_grant"}, 400
        asked[code] += 1
        if asked[code] < 2:
            return {"error": "authorization_pending"}, 400
        return issued(whose["sub"])

    @app.after_request
    def name_device(answer: Any) -> Any:
        if flask.request.path == "/.well-known/openid-configuration":
            about = answer.get_json()
            about["device_authorization_endpoint"] = f"{flask.request.host_url}device"
            answer.set_data(json.dumps(about))
        return answer

    def issued(sub: str) -> Any:
        """Go through the package's own flow as that user; return what it gives."""
        with app.test_client() as client:
            base = flask.request.host_url
            query = urllib.parse.urlencode(
                {
                    "client_id": CLIENT,
                    "redirect_uri": REDIRECT,
                    "response_type": "code",
                    "scope": "openid profile",
                }
            )
            came = client.post(f"/oauth2/authorize?{query}", data={"sub": sub}, base_url=base)
            code = urllib.parse.parse_qs(urllib.parse.urlsplit(came.location).query)["code"][0]
            given = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
            made = client.post("/oauth2/token", data=given, auth=(CLIENT, "secret"), base_url=base)
            return made.get_json()

    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
