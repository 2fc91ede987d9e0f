-- One booking of one seat as one transaction: the rows that Linli reads and writes for it, in the fewest statements.
\set session random(1, :sessions)
\set n random(1, 9000000000000)
BEGIN;
UPDATE session_offers AS session SET seats_taken = seats_taken + 1
  FROM product_offers AS product
 WHERE session_id = md5('session' || :session)::uuid AND product.product_id = session.product_id AND product.open
   AND session.status = 'scheduled' AND session.book_until > now() AND session.seats_taken < session.seat_limit
 RETURNING session.area_id, session.title;
INSERT INTO bookings (id, session_id, product_id, area_id, person_id, seats, status, ticket, created_at, version)
VALUES (gen_random_uuid(), md5('session' || :session)::uuid, md5('product')::uuid, md5('area')::uuid,
        md5(:n::text)::uuid, 1, 'confirmed', md5(:n::text), now(), 1)
ON CONFLICT DO NOTHING;
INSERT INTO idempotency_keys (person_id, route, key, fingerprint, answer, created_at)
VALUES (md5(:n::text)::uuid, 'POST /api/v1/sessions/{session_id}/bookings', md5(:n::text), md5(:n::text),
        jsonb_build_object('id', md5(:n::text), 'status', 'confirmed', 'ticket', md5(:n::text)), now());
INSERT INTO outbox (event_id, routing_key, document, next_at)
VALUES (gen_random_uuid(), 'orders.booking_placed.v1', repeat('x', 600), now());
COMMIT;
