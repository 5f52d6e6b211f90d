"""The API's description for programs that read such: OpenAPI 3.1."""

from __future__ import annotations

import flask

from gpumon.roles import Role
from webui.access import needs
from webui.answers import answer
from webui.openapi import describe

blueprint = flask.Blueprint("api_description", __name__, url_prefix="/api/v1")


@blueprint.get("/openapi.json")
@needs(Role.VIEWER)
def openapi() -> flask.Response:
    """Return the description of this API."""
    return answer(describe(flask.current_app))
