"""Run schedules: `make simulate SEED=7` for one of them, `COUNT=200` for many, `CONTROLS=1` for the controls."""
