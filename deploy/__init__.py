"""Deploying: what an installation in containers needs before its parts run. Owns its secrets, rights and set-up."""
