"""`/metrics`: the fleet for Prometheus, as NVIDIA's dcgm-exporter would tell of each card, with gpumon's own beside.

Always in the text format: in OpenMetrics a counter's series must end in `_total`, which would give
`DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION` another name than dashboards ask for.
"""

from __future__ import annotations

from typing import Any

import flask

from gpumon.roles import Role
from webui.access import needs
from webui.context import context
from webui.guard import METRICS
from webui.metrics_exposition import unpacked
from webui.metrics_text import CONTENT_TYPE

blueprint = flask.Blueprint("metrics", __name__)


@blueprint.get(METRICS)
@needs(Role.VIEWER)
def metrics() -> Any:
    """Return all metrics."""
    made = context().exposition.gzipped()
    if flask.request.accept_encodings.quality("gzip") > 0:
        response = flask.Response(made, content_type=CONTENT_TYPE)
        response.headers["Content-Encoding"] = "gzip"
    else:
        response = flask.Response(unpacked(made), content_type=CONTENT_TYPE)
    response.headers["Vary"] = "Accept-Encoding"
    return response
