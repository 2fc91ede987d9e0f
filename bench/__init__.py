"""Linli's speed, measured on the machine it runs on: every figure beside its limit, taken in the same run.

    make bench                 all figures, as a table and as bench/results.json
    make bench ONLY=claims     one group of them

A limit is what the same machine does without Linli: PostgreSQL with the same SQL, the broker without our code, nginx as
the proxy. Ratios to them hold on any machine; the figures themselves are this machine's.
"""
