-- name: known
SELECT s.digest FROM {digests} JOIN segment AS s ON s.digest = w.digest

-- name: numbers
SELECT s.digest, s.no FROM {digests} JOIN segment AS s ON s.digest = w.digest

-- name: add bytea bigint bigint bigint bigint bytea text bigint bigint bigint bigint bigint bigint bigint
INSERT INTO segment (digest, dataset, bundle, place, lease, pilot_run, batch_id, attempts,
    unsuccessful, local_min, local_max, generation_max, complete, salvaged)
{rows}

-- name: add_spans bigint bigint bigint bigint bigint bigint
INSERT INTO span (dataset, step, block, segment, job_min, job_max) {rows}

-- name: touching
SELECT s.digest, s.dataset, s.bundle, s.place, s.lease, s.pilot_run, s.batch_id, s.attempts,
    s.unsuccessful, s.local_min, s.local_max, s.generation_max, s.complete, s.salvaged, s.no,
    p.step, p.block, p.job_min, p.job_max
FROM {pairs}
JOIN span AS p ON p.dataset = ? AND p.step = w.a AND p.block = w.b
JOIN segment AS s ON s.no = p.segment
WHERE p.job_max >= ? AND p.job_min <= ?
ORDER BY s.no, p.step, p.block, p.job_min

-- name: of_leases
SELECT s.digest, s.dataset, s.bundle, s.place, s.lease, s.pilot_run, s.batch_id, s.attempts,
    s.unsuccessful, s.local_min, s.local_max, s.generation_max, s.complete, s.salvaged, s.no
FROM {numbers} JOIN segment AS s ON s.lease = w.n ORDER BY s.no

-- name: after
SELECT digest, dataset, bundle, place, lease, pilot_run, batch_id, attempts, unsuccessful,
    local_min, local_max, generation_max, complete, salvaged, no
FROM segment WHERE dataset = ? AND no > ? ORDER BY no LIMIT ?

-- name: unsuccessful_after
SELECT digest, dataset, bundle, place, lease, pilot_run, batch_id, attempts, unsuccessful,
    local_min, local_max, generation_max, complete, salvaged, no
FROM segment WHERE dataset = ? AND no > ? AND unsuccessful > 0 ORDER BY no LIMIT ?

-- name: spans
SELECT p.segment, p.step, p.block, p.job_min, p.job_max
FROM {numbers} JOIN span AS p ON p.segment = w.n ORDER BY p.segment, p.step, p.block, p.job_min

-- name: generation_max
SELECT coalesce(
    (SELECT max(generation_max) FROM segment WHERE dataset = ? AND generation_max > 0),
    (SELECT 0 FROM segment WHERE dataset = ? LIMIT 1), -1)
