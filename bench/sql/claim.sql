-- One claim as one transaction, by the statements that services/orders/claims.py has for a batch, with a batch of one.
\set person random(1, :people)
\set n random(1, 9000000000000)
BEGIN;
SELECT * FROM product_offers WHERE product_id = ANY (ARRAY[:product]::uuid[]) ORDER BY product_id FOR UPDATE;
SELECT kept.person_id, kept.route, kept.key, kept.fingerprint, kept.answer
  FROM idempotency_keys AS kept
  JOIN unnest(ARRAY[md5(:n::text)]::uuid[], ARRAY['POST /api/v1/products/{product_id}/claims'], ARRAY[md5(:n::text)])
    AS asked (person_id, route, key) USING (person_id, route, key);
SELECT claims.product_id, claims.claimant_id
  FROM claims
  JOIN unnest(ARRAY[:product]::uuid[], ARRAY[md5(:n::text)]::uuid[]) AS asked (product_id, claimant_id)
 USING (product_id, claimant_id)
 WHERE claims.status <> 'released';
SELECT DISTINCT person_id FROM registrations
 WHERE person_id = ANY (ARRAY[md5('person' || :person)]::uuid[]) AND status = 'active';
INSERT INTO claims (id, product_id, area_id, title, claimant_type, claimant_id, person_id, status, lease_until,
                    created_at, version)
SELECT * FROM unnest(ARRAY[gen_random_uuid()], ARRAY[:product]::uuid[], ARRAY[md5('area')]::uuid[],
                     ARRAY['为独居老人送餐'], ARRAY['member'], ARRAY[md5(:n::text)]::uuid[], ARRAY[md5(:n::text)]::uuid[],
                     ARRAY['accepted'], ARRAY[now() + interval '72 hours'], ARRAY[now()], ARRAY[1])
ON CONFLICT DO NOTHING RETURNING id;
UPDATE product_offers SET claim_taken = claim_taken + 1
 WHERE product_id = :product AND claim_taken + 1 <= claim_limit RETURNING product_id;
INSERT INTO idempotency_keys (person_id, route, key, fingerprint, answer, created_at)
SELECT * FROM unnest(ARRAY[md5(:n::text)]::uuid[], ARRAY['POST /api/v1/products/{product_id}/claims'],
                     ARRAY[md5(:n::text)], ARRAY[md5(:n::text)], ARRAY[jsonb_build_object('id', md5(:n::text))],
                     ARRAY[now()])
ON CONFLICT DO NOTHING RETURNING key;
INSERT INTO outbox (event_id, routing_key, document, next_at)
SELECT * FROM unnest(ARRAY[gen_random_uuid()], ARRAY['orders.claim_accepted.v1'], ARRAY[repeat('x', 600)],
                     ARRAY[now()]);
COMMIT;
