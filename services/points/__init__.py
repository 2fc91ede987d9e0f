"""Owns the double-entry ledger of points and positive energy, holds, rules, scores and leaderboards.

Emits: points awarded (or reversed), hold placed, refused, captured, released.
Consumes: areas; claims, attendance, reviews, redemptions.
"""
