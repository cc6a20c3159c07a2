# syntax=docker/dockerfile:1

# The embedded server. Its data is in the volume /data, unless HUMANLOOP_DATABASE names another place.

FROM python:3.13-slim AS build
# The compiler, of whichever version the base image has, is only in this stage.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY LICENSE README.md hatch_build.py pyproject.toml ./
COPY humanloop ./humanloop
ENV HUMANLOOP_BUILD=require
RUN python -m venv /opt/humanloop \
    && /opt/humanloop/bin/pip install --no-cache-dir '.[fast,postgres,server]'

FROM python:3.13-slim
RUN groupadd --gid 10001 humanloop \
    && useradd --uid 10001 --gid humanloop --no-create-home --home-dir /data humanloop \
    && install --directory --owner=humanloop --group=humanloop --mode=0700 /data
COPY --from=build /opt/humanloop /opt/humanloop
ENV PATH=/opt/humanloop/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HUMANLOOP_DATABASE=/data/humanloop.db
WORKDIR /data
VOLUME /data
# By number, by which Kubernetes can tell that it is not root.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["humanloop"]
CMD ["serve", "--host", "0.0.0.0"]
