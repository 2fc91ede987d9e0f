"""Alembic's environment, shared by all services: each keeps its revisions in its own `migrations/` folder."""
