"""The one public door. Owns nothing durable: no table, no rule.

Verifies tokens, limits, routes by the committed OpenAPI document (`x-linli-service` names each route's owner),
completes a few pages with display names, and passes everything else through as it is, live streams too.
"""
