"""Who may ask for what, written by hand, apart from the declarations in the code."""

from __future__ import annotations

from gpumon.roles import Role

# Who comes, and with what. `P` are people with a session, `T` programs with a user's API token.
VIEWERS = {"P viewer", "P operator", "P limited", "P admin"}
COMMANDERS = {"P operator", "P limited", "P admin"}
TOKENS = {"T viewer", "T operator", "T limited", "T admin", "T integration", "T granted"}
TOKEN_COMMANDERS = {"T operator", "T limited", "T admin", "T granted"}
NOBODIES = {
    "nobody",
    "worker token",
    "ended session",
    "logged out",
    "forged cookie",
    "revoked token",
    "expired token",
    "made-up token",
    "wrong token beside a good session",
    "P integration",  # cannot log in on the page
}
EVERYBODY = VIEWERS | TOKENS | NOBODIES

ANYBODY = EVERYBODY
READ = VIEWERS | TOKENS
PERSON = VIEWERS
COMMAND = COMMANDERS | TOKEN_COMMANDERS
ADMIN = {"P admin", "T admin"}
ADMIN_PERSON = {"P admin"}

# Method and route: who gets further than the guard, and a body that makes no change where that succeeds.
ROUTES: dict[tuple[str, str], set[str]] = {
    ("GET", "/"): PERSON,
    ("GET", "/commands"): PERSON,
    ("GET", "/account"): PERSON,
    ("GET", "/usage"): PERSON,
    ("GET", "/alerts"): PERSON,
    ("GET", "/alerts/<path:_name>"): PERSON,
    ("GET", "/workers/<path:_name>"): PERSON,
    ("GET", "/commands/<path:_name>"): PERSON,
    ("GET", "/users"): ADMIN_PERSON,
    ("GET", "/audit"): ADMIN_PERSON,
    ("GET", "/login"): ANYBODY,
    ("POST", "/login"): ANYBODY,
    ("POST", "/logout"): PERSON,
    ("GET", "/metrics"): READ,
    ("GET", "/healthz"): ANYBODY,
    ("GET", "/ca.crt"): ANYBODY,
    ("GET", "/favicon.ico"): ANYBODY,
    ("GET", "/static/<version>/<path:name>"): ANYBODY,
    ("GET", "/api/v1/openapi.json"): READ,
    ("GET", "/api/v1/session"): READ,
    ("GET", "/api/v1/workers"): READ,
    ("GET", "/api/v1/workers/<worker_id>"): READ,
    ("GET", "/api/v1/workers/<worker_id>/gpus"): READ,
    ("GET", "/api/v1/workers/<worker_id>/gpus/<uuid>/history"): READ,
    ("GET", "/api/v1/workers/<worker_id>/gpus/<uuid>/history.csv"): READ,
    ("GET", "/api/v1/workers/<worker_id>/gpus/<uuid>/history.json"): READ,
    ("GET", "/api/v1/workers/<worker_id>/history"): READ,
    ("GET", "/api/v1/workers/<worker_id>/history.csv"): READ,
    ("GET", "/api/v1/workers/<worker_id>/history.json"): READ,
    ("GET", "/api/v1/commands"): READ,
    ("POST", "/api/v1/commands"): COMMAND,
    ("GET", "/api/v1/commands/<command_id>"): READ,
    ("POST", "/api/v1/commands/<command_id>/cancel"): COMMAND,
    ("GET", "/api/v1/commands/<command_id>/output"): READ,
    ("GET", "/api/v1/commands/<command_id>/output.txt"): READ,
    ("GET", "/api/v1/commands/<command_id>/gathered"): READ,
    ("GET", "/api/v1/alerts"): READ,
    ("GET", "/api/v1/alerts/past"): READ,
    ("GET", "/api/v1/alerts/<alert_id>"): READ,
    ("POST", "/api/v1/alerts/acknowledge"): COMMAND,
    ("POST", "/api/v1/alerts/<alert_id>/acknowledge"): COMMAND,
    ("POST", "/api/v1/alerts/<alert_id>/unacknowledge"): COMMAND,
    ("GET", "/api/v1/alerts/<alert_id>/actions"): READ,
    ("POST", "/api/v1/alerts/<alert_id>/actions"): COMMAND,
    ("GET", "/api/v1/alerts/silences"): READ,
    ("POST", "/api/v1/alerts/silences"): COMMAND,
    ("DELETE", "/api/v1/alerts/silences/<silence_id>"): COMMAND,
    ("GET", "/api/v1/alerts/rules"): READ,
    ("POST", "/api/v1/alerts/rules/check"): ADMIN,
    ("PUT", "/api/v1/alerts/rules/<name>"): ADMIN,
    ("DELETE", "/api/v1/alerts/rules/<name>"): ADMIN,
    ("GET", "/api/v1/usage"): READ,
    ("GET", "/api/v1/usage.csv"): READ,
    ("GET", "/api/v1/usage.json"): READ,
    ("GET", "/api/v1/usage/series"): READ,
    ("GET", "/api/v1/alerts/channels"): ADMIN,
    ("POST", "/api/v1/alerts/channels/<name>/test"): ADMIN,
    ("GET", "/api/v1/account"): PERSON,
    ("POST", "/api/v1/account/password"): PERSON,
    ("DELETE", "/api/v1/account/sessions/<session_id>"): PERSON,
    ("POST", "/api/v1/account/tokens"): PERSON,
    ("DELETE", "/api/v1/account/tokens/<token_id>"): PERSON,
    ("GET", "/api/v1/users"): ADMIN_PERSON,
    ("POST", "/api/v1/users"): ADMIN_PERSON,
    ("PATCH", "/api/v1/users/<name>"): ADMIN_PERSON,
    ("DELETE", "/api/v1/users/<name>"): ADMIN_PERSON,
    ("POST", "/api/v1/users/<name>/password"): ADMIN_PERSON,
    ("DELETE", "/api/v1/users/<name>/sessions"): ADMIN_PERSON,
    ("GET", "/api/v1/join-keys"): ADMIN_PERSON,
    ("POST", "/api/v1/join-keys"): ADMIN_PERSON,
    ("DELETE", "/api/v1/join-keys/<key_id>"): ADMIN_PERSON,
    ("GET", "/api/v1/audit"): ADMIN,
    ("GET", "/api/v1/audit.csv"): ADMIN,
    ("GET", "/api/v1/audit.jsonl"): ADMIN,
}
EVENTS: dict[str, set[str]] = {
    "connect": VIEWERS,
    "disconnect": VIEWERS,
    "watch": VIEWERS,
    "unwatch": VIEWERS,
    "run": COMMANDERS,
    "cancel": COMMANDERS,
}
REFUSED = {401, 403}
ACCOUNTS = {
    "viewer": (Role.VIEWER, None),
    "operator": (Role.OPERATOR, None),
    "limited": (Role.OPERATOR, "rack=3"),
    "integration": (Role.INTEGRATION, None),
    "granted": (Role.INTEGRATION, "rack=3"),
    "admin": (Role.ADMIN, None),
}
PASSWORD = "correct horse for all"
