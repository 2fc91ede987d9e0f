"""Backups: all databases as of one moment, with the secrets that make them readable; restored where nothing is yet.

moment.py     the moment: relays held up, queues empty, a snapshot of each database
archives.py   a database as an archive and back, by pg_dump and pg_restore
contents.py   what is in a database: rows and checksums of each table, the ledger's sums
manifest.py   what is in a backup's folder, and whether it still is
places.py     where an installation has its databases and secrets
taking.py, restoring.py
"""
