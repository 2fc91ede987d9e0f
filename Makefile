# Everything starts here; `make help` lists it. Each target sets up what it needs, inside this folder.

PYTHON ?= python3
PY := .venv/bin/python
ASYNCAPI := docs/asyncapi-parser
export UV_PYTHON_DOWNLOADS := never
# Every start would compile the packages anew where Python may not write beside them.
export UV_COMPILE_BYTECODE := 1

.PHONY: help run up down restart test test-distributed simulate chaos soak bench check demo generate migration format lock clean asyncapi
.DEFAULT_GOAL := help

help:      ## List these targets
	@sed -n 's/^\([a-z-]*\): .*## /  make \1	/p' Makefile | expand -t 25

run: .venv/.ready      ## Run every service in one process, with an embedded PostgreSQL
	@$(PY) standalone.py

up:      ## Run every part as a process of its own, in Docker; DEV=1, EDGE=1 for TLS, TELEMETRY=1, SCALE="--scale orders=3"
	@$(COMPOSE) version >/dev/null 2>&1 || { echo '$(NO_DOCKER)' >&2; exit 1; }
	@$(if $(and $(DEV),$(filter-out 127.0.0.1,$(EDGE_ADDRESS))),echo '$(NOT_IN_DEV)' >&2; exit 1)
	@echo 'linli: building the image'
	@$(COMPOSE) build --quiet
	@(umask 077 && mkdir -p "$$LINLI_SECRETS")
	@told=$$($(MAKE_SECRETS)) || exit; \
	$(SET_UP) && $(COMPOSE) up --wait $(SCALE); code=$$?; \
	[ -z "$$told" ] || echo "$$told"; \
	[ $$code != 0 ] || echo "linli: ready on $(READY_AT)"; \
	exit $$code

restart:      ## Restart a part in Docker, one copy after another: PART=orders
	@deploy/restart.sh "$(PART)" $(COMPOSE)

# With the edge's network, if there is one.
down: EDGE := 1
down: TELEMETRY := 1
down:      ## Stop what `make up` started; WIPE=1 removes its data and secrets too
	@$(COMPOSE) down --remove-orphans $(if $(WIPE),--volumes)
	@$(if $(WIPE),[ ! -e "$$LINLI_SECRETS/linli_environment" ] || rm -rf "$$LINLI_SECRETS")

backup:  ## Save all databases and secrets to TO=backups/…, while all runs; CONTAINERS=1 those of `make up`
	@$(MAKE) --no-print-directory $(if $(CONTAINERS),backup-containers,backup-standalone)

restore: ## Restore a backup, FROM=backups/…, where nothing is yet; CONTAINERS=1 (and DEV=1) as it was made
	@[ -n "$(FROM)" ] || { echo 'make restore needs FROM=, the folder of a backup' >&2; exit 2; }
	@$(MAKE) --no-print-directory $(if $(CONTAINERS),restore-containers,restore-standalone)

test: .venv/.ready      ## Run the tests; ARGS="..." goes to pytest
	@$(PY) -m pytest -n 2 $(ARGS)

test-distributed: .venv/.ready      ## Run the tests that need Docker: on PostgreSQL 17, and on Linli in containers
	@$(PY) -m pytest -n 2 --postgres postgres:17 -k 'not rabbit and not embedded and not process' \
	  tests/services tests/chassis tests/test_migrations.py
	@$(PY) -m pytest -n 2 --dist loadgroup --distributed tests/journeys tests/distributed $(ARGS)

chaos: .venv/.ready      ## Make Linli in Docker fail in every way and count what is lost; SEED=7 repeats, ONLY="broker,poison" picks
	@$(PY) -m pytest --distributed --chaos tests/distributed/test_dependencies.py
	@$(PY) -m pytest --chaos tests/chaos $(ARGS)

soak: .venv/.ready      ## The same for as long as told: MINUTES=60 ORDERS=50000 FAULTS=20
	@$(PY) -m pytest --chaos tests/chaos/soak.py $(ARGS)

simulate: .venv/.ready      ## Run the services step by step from seeds; SEED=7 replays one, COUNT=200, CONTROLS=1
	@SEED='$(SEED)' SKIP='$(SKIP)' START='$(START)' COUNT='$(COUNT)' CONTROLS='$(CONTROLS)' $(PY) -m tests.simulation

bench: .venv/.ready      ## Measure speed against limits taken in the same run; ONLY=claims for one group
	@$(PY) -m bench $(ONLY)

check: .venv/.ready      ## Formatting, lints, types, borders between packages, generated documents
	@$(call step,Formatting,$(PY) -m ruff format --check .)
	@$(call step,Lints,$(PY) -m ruff check .)
	@$(call step,Types,$(PY) -m mypy)
	@$(call step,Borders between packages,.venv/bin/lint-imports --no-logo)
	@$(call step,Revisions,$(PY) -m tools.revisions)
	@$(call step,Generated documents,$(PY) -m tools.generate --check)
	@$(MAKE) --no-print-directory asyncapi

demo: .venv/.ready      ## Walk the main journey through the public API
	@$(PY) -m demo

generate: .venv/.ready      ## Write the documents that are generated from the code
	@$(PY) -m tools.generate

migration: .venv/.ready      ## Write a migration: SERVICE=orders MESSAGE="add pledges"
	@$(PY) -m tools.migration "$(SERVICE)" "$(MESSAGE)"

format: .venv/.ready      ## Format the code, and mend what the lints can mend
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

# The locks name no package index: whichever this machine is set up for serves them.
LOCK := .venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

audit: .venv/.ready      ## Ask the package index for known advisories against what the locks pin
	@$(PY) -m tools.audit

sbom: .venv/.ready      ## Write the bill of materials of each image that `make up` and `make backup` build, into sbom/
	@$(PY) -m tools.sbom "$$LINLI_IMAGE" "sbom/$$LINLI_IMAGE.cdx.json"
	@! docker image inspect "$$LINLI_IMAGE-maintenance" >/dev/null 2>&1 \
	  || $(PY) -m tools.sbom "$$LINLI_IMAGE-maintenance" "sbom/$$LINLI_IMAGE-maintenance.cdx.json"

lock: .venv/.ready      ## Resolve requirements*.in into the locks; ARGS=--upgrade takes newer versions
	@$(LOCK) $(ARGS) requirements.in -o requirements.txt
	@$(LOCK) $(ARGS) requirements-dev.in -o requirements-dev.txt

clean:      ## Remove what these targets made, except data/
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis $(ASYNCAPI)/node_modules
	find . -name __pycache__ -type d -not -path './data/*' -not -path '*/node_modules/*' -prune -exec rm -rf {} +

asyncapi: .venv/.ready
	@if node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then \
	  $(call step,AsyncAPI,$(MAKE) -s $(ASYNCAPI)/node_modules/.package-lock.json \
	    && node $(ASYNCAPI)/validate.mjs); \
	else \
	  echo 'AsyncAPI: not validated, Node >= 20 is not installed'; \
	  [ "$$CI" != true ]; \
	fi

# One line for a step that passes; its whole output and exit code when it fails.
define step
printf '%-26s' '$(1)'; \
output=$$($(2) 2>&1) && echo ok || { code=$$?; printf 'failed\n%s\n' "$$output"; exit $$code; }
endef

# ---- Containers ---------------------------------------------------------------------------------------------------

# The containers' ports, image and secrets (PORT, LINLI_IMAGE, LINLI_SECRETS) are named in docker-compose.yml.
export LINLI_IMAGE ?= linli
export LINLI_SECRETS ?= ./secrets
COMPOSE = docker compose -f docker-compose.yml $(if $(DEV),-f docker-compose.dev.yml) \
	$(if $(EDGE),-f docker-compose.edge.yml) $(if $(TELEMETRY),-f docker-compose.telemetry.yml)
READY_AT = $(if $(EDGE),https://$$($(COMPOSE) port edge 8443),http://$$($(COMPOSE) port gateway 8000))
NO_DOCKER = make up needs Docker with Compose 2: https://docs.docker.com/engine/install/
NOT_IN_DEV = EDGE_ADDRESS: development mode, in which codes can be read, is published on loopback only

# Made in the image, which has the Python for it, by whoever calls: the files are to be theirs.
MAKE_SECRETS = docker run --rm --network none --user "$$(id -u):$$(id -g)" \
	--volume "$$(cd "$$LINLI_SECRETS" && pwd):/secrets" "$$LINLI_IMAGE" \
	python -m deploy.secrets /secrets --environment $(if $(DEV),development,production)

# By itself before all is brought up: where it fails, an installation that runs goes on as it is.
SET_UP = $(COMPOSE) run --rm --no-TTY setup

# ---- Backups ------------------------------------------------------------------------------------------------------

TO := $(or $(TO),backups/$(shell date -u +%Y%m%dT%H%M%SZ))
LINLI_DATA ?= ./data
RELEASE = $(shell git describe --always --dirty 2>/dev/null || echo unknown)

# By whoever calls, so that the files are theirs; it reaches databases and broker, which have no port outside.
MAINTENANCE = $(COMPOSE) --profile maintenance run --rm --no-deps --no-TTY --user "$$(id -u):$$(id -g)"
SECRETS_PATH = $$(cd "$$LINLI_SECRETS" && pwd)

.PHONY: audit sbom backup restore backup-containers backup-standalone restore-containers restore-standalone maintenance-image

backup-standalone: .venv/.ready
	@$(PY) -m deploy.backup "$(TO)" --data "$(LINLI_DATA)" --release "$(RELEASE)"

backup-containers: maintenance-image
	@[ -e "$$LINLI_SECRETS/linli_environment" ] || { echo 'there is no installation: make up makes one' >&2; exit 1; }
	@(umask 077 && mkdir -p "$$(dirname "$(TO)")")
	@$(MAINTENANCE) --volume "$(SECRETS_PATH):/secrets:ro" --volume "$$(cd "$$(dirname "$(TO)")" && pwd):/backups" \
	  maintenance python -m deploy.backup "/backups/$$(basename "$(TO)")" --secrets /secrets --release "$(RELEASE)"

restore-standalone: .venv/.ready
	@$(PY) -m deploy.restore "$(FROM)" --data "$(LINLI_DATA)"

# Its secrets first: the containers of the second step are made with them.
restore-containers: maintenance-image
	@(umask 077 && mkdir -p "$$LINLI_SECRETS")
	@docker run --rm --network none --user "$$(id -u):$$(id -g)" --volume "$(SECRETS_PATH):/secrets" \
	  --volume "$$(cd "$(FROM)" && pwd):/backup:ro" "$$LINLI_IMAGE-maintenance" python -m deploy.restore /backup \
	  --secrets /secrets --only-secrets --environment $(if $(DEV),development,production)
	@$(COMPOSE) up --detach --wait postgres rabbitmq
	@$(MAINTENANCE) --volume "$(SECRETS_PATH):/secrets:ro" --volume "$$(cd "$(FROM)" && pwd):/backup:ro" \
	  maintenance python -m deploy.restore /backup --secrets /secrets

maintenance-image:
	@$(COMPOSE) --profile maintenance build --quiet setup maintenance

# ---- Set-up -------------------------------------------------------------------------------------------------------

NO_PYTHON = Linli needs Python 3.11 or newer with its venv module: install it \
	(on Debian and Ubuntu: python3 and python3-venv), or name it: make PYTHON=/path/to/python3

# uv installs the lock in two seconds. Where it cannot be had or cannot reach the packages, pip does, in half a minute.
# uv does not read pip's settings, so the index and certificate set up for pip are handed to it. The lock alone decides
# versions: constraints set up for pip do not count.
.venv/.ready: requirements-dev.txt
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo '$(strip $(NO_PYTHON))' >&2; exit 1; }
	@echo 'Setting up .venv'
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@sed -n '/^uv==/,/# via/p' requirements-dev.txt >.venv/uv.txt
	@sed '/^uv==/,/# via/d' requirements-dev.txt >.venv/packages.txt
	@export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0 PIP_CONSTRAINT=; \
	setting() { $(PY) -m pip config list | sed -n "s/^[a-z:]*\\.$$1='\\(.*\\)'\$$/\\1/p" | head -n 1; }; \
	index=$${UV_DEFAULT_INDEX:-$$(setting index-url)}; \
	cert=$${SSL_CERT_FILE:-$$(setting cert)}; \
	if $(PY) -m pip install -qq --require-hashes --no-deps -r .venv/uv.txt \
	  && env $${index:+"UV_DEFAULT_INDEX=$$index"} $${cert:+"SSL_CERT_FILE=$$cert"} UV_LINK_MODE=copy \
	    .venv/bin/uv pip sync --quiet --python $(PY) --require-hashes .venv/packages.txt; then :; else \
	  echo 'Setting up .venv with pip, since uv did not serve'; \
	  $(PY) -m pip install -qq --require-hashes -r .venv/packages.txt; \
	fi
	@touch $@

$(ASYNCAPI)/node_modules/.package-lock.json: $(ASYNCAPI)/package-lock.json
	@cd $(ASYNCAPI) && npm ci --loglevel=error
	@touch $@
