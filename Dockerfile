# gpumon's two images; docs/containers.md says how to run them.
#
#   docker build --target master -t gpumon-master .
#   docker build --target agent -t gpumon-agent .
#
# What goes in is locked with hashes (requirements/, made by `make lock`). Everything runs as user 10001 and writes
# /app/data and /tmp alone, so the root file system may be read-only.

# Docker's official Python; another image with Python 3.10 or later, venv, pip and apt-get serves as well.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie


# An init of 0.8 MB without libraries: it ends what runs on SIGTERM, and takes leave of what commands leave behind.
FROM ${PYTHON_IMAGE} AS tini
# The distribution's present version; it is the base image that says which distribution.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/*


# gpumon itself, as a wheel.
FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /src
COPY requirements/build.txt requirements/
RUN python3 -m venv /build \
    && /build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md ./
COPY gpumon gpumon
COPY broker broker
COPY agent agent
COPY master master
COPY webui webui
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheel .


# An environment for each image, without pip. Its byte code is made here, since nothing can be written later, and is
# trusted as it is: times of files may change on their way into the image.
FROM ${PYTHON_IMAGE} AS master-environment
COPY requirements/master.txt /requirements.txt
RUN python3 -m venv --without-pip /opt/gpumon \
    && python3 -m pip --python /opt/gpumon/bin/python3 install --no-cache-dir --no-compile --require-hashes -r /requirements.txt
COPY --from=wheel /wheel /wheel
RUN python3 -m pip --python /opt/gpumon/bin/python3 install --no-cache-dir --no-compile --no-deps --no-index /wheel/*.whl \
    && /opt/gpumon/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/gpumon/lib

FROM ${PYTHON_IMAGE} AS agent-environment
COPY requirements/agent.txt /requirements.txt
RUN python3 -m venv --without-pip /opt/gpumon \
    && python3 -m pip --python /opt/gpumon/bin/python3 install --no-cache-dir --no-compile --require-hashes -r /requirements.txt
COPY --from=wheel /wheel /wheel
# Master, page and broker could not run here.
RUN python3 -m pip --python /opt/gpumon/bin/python3 install --no-cache-dir --no-compile --no-deps --no-index /wheel/*.whl \
    && rm -r /opt/gpumon/lib/python3*/site-packages/master \
             /opt/gpumon/lib/python3*/site-packages/webui \
             /opt/gpumon/lib/python3*/site-packages/broker \
    && /opt/gpumon/bin/python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/gpumon/lib


# What both share. The user has the same number in both, so that the agent may read the join line that the master leaves; a
# new volume gets the owner and mode of the folder that it is mounted on.
FROM ${PYTHON_IMAGE} AS base
COPY --from=tini /usr/bin/tini-static /usr/bin/tini
RUN groupadd --gid 10001 gpumon \
    && useradd --uid 10001 --gid gpumon --home-dir /tmp --no-create-home --shell /usr/sbin/nologin gpumon \
    && install --directory --owner gpumon --group gpumon --mode 0700 \
        /app/data /app/join /app/secrets /app/secrets/postgres /app/secrets/mosquitto \
    && install --directory --owner gpumon --group gpumon --mode 0755 /app/secrets/grafana /app/scrape
ENV PATH=/opt/gpumon/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    GPUMON_DATA=/app/data
WORKDIR /app
USER 10001:10001
VOLUME /app/data
STOPSIGNAL SIGTERM
# -s: with --pid=host it is not process 1, and looks after orphans all the same.
ENTRYPOINT ["tini", "-s", "--", "gpumon"]


FROM base AS agent
ARG VERSION=unknown
LABEL org.opencontainers.image.title="gpumon agent" \
      org.opencontainers.image.description="Publishes the GPUs of this machine over MQTT and runs commands on it" \
      org.opencontainers.image.version="${VERSION}"
# What the NVIDIA container toolkit brings in: NVML and nvidia-smi, for all GPUs. The token's file is no secret by its name.
# hadolint ignore=DL3064
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=utility \
    GPUMON_AGENT_TOKEN_FILE=/app/data/token.txt
COPY --from=agent-environment /opt/gpumon /opt/gpumon
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["gpumon", "health", "agent"]
CMD ["agent"]


# The last target is what `docker build .` makes.
FROM base AS master
ARG VERSION=unknown
LABEL org.opencontainers.image.title="gpumon master" \
      org.opencontainers.image.description="Broker, fleet and page of gpumon, a GPU fleet monitor over MQTT" \
      org.opencontainers.image.version="${VERSION}"
# Within a container, everybody comes from another machine.
ENV GPUMON_HOST=0.0.0.0
COPY --from=master-environment /opt/gpumon /opt/gpumon
EXPOSE 5000 8883
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["gpumon", "health", "master"]
CMD ["up"]
