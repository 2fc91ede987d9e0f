-- One claim as one transaction, in the fewest statements that read and write what Linli does for it.
\set person random(1, :people)
\set n random(1, 9000000000000)
BEGIN;
SELECT 1 FROM registrations WHERE person_id = md5('person' || :person)::uuid AND status = 'active';
UPDATE product_offers SET claim_taken = claim_taken + 1
 WHERE product_id = :product AND open AND claim_policy = 'first_come' AND claim_taken < claim_limit
 RETURNING area_id, title, lease_hours;
INSERT INTO claims (id, product_id, area_id, title, claimant_type, claimant_id, person_id, status, lease_until,
                    created_at, version)
VALUES (gen_random_uuid(), :product, md5('area')::uuid, '为独居老人送餐', 'member', md5(:n::text)::uuid,
        md5(:n::text)::uuid, 'accepted', now() + interval '72 hours', now(), 1)
ON CONFLICT DO NOTHING;
INSERT INTO idempotency_keys (person_id, route, key, fingerprint, answer, created_at)
VALUES (md5(:n::text)::uuid, 'POST /api/v1/products/{product_id}/claims', md5(:n::text), md5(:n::text),
        jsonb_build_object('id', md5(:n::text), 'status', 'accepted', 'claimant', md5(:n::text)), now());
INSERT INTO outbox (event_id, routing_key, document, next_at)
VALUES (gen_random_uuid(), 'orders.claim_accepted.v1', repeat('x', 600), now());
COMMIT;
