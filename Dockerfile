# syntax=docker/dockerfile:1
# One image for the web server, the worker, Celery beat and the migrations. docker-compose.yml sets the commands.
# It runs as an unprivileged user, and writes only to /data, /tmp and, if a volume is mounted there, /cold.

FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements/base.txt requirements/milvus.txt requirements/tracing.txt /tmp/
RUN /opt/venv/bin/pip install --require-hashes -r /tmp/base.txt -r /tmp/milvus.txt
# `docker build --build-arg TRACING=1` adds the packages for SOMA_TRACING_ENDPOINT.
ARG TRACING=0
RUN [ "$TRACING" = 0 ] || /opt/venv/bin/pip install --require-hashes -r /tmp/tracing.txt
WORKDIR /opt/somamemory
COPY manage.py ./
COPY deploy/gunicorn.conf.py deploy/
COPY somamemory somamemory
COPY api api
COPY tenants tenants
COPY memories memories
COPY graph graph
COPY conversations conversations
COPY operations operations
COPY console console
# For `docker exec CONTAINER python -m somamemory COMMAND`.
COPY clients/python/src clients/python/src
# Compile now, because the root file system is read-only at run time.
RUN /opt/venv/bin/python -m compileall -q .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin soma && install -d -o soma -m 700 /data /cold
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/somamemory /opt/somamemory
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=somamemory.settings SOMA_HOST=0.0.0.0 SOMA_DATA_DIR=/data
WORKDIR /opt/somamemory
USER 10001
VOLUME /data
EXPOSE 9595
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9595/readyz', timeout=4)"]
# The default command runs the embedded service, with all data in /data.
CMD ["python", "manage.py", "serve"]
