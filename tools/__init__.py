"""Commands for those who work on Linli: write a migration, generate the documents."""
