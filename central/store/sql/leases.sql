-- name: work
SELECT id, site, created_us, lifetime_ms, chunks FROM work WHERE id = ?

-- name: add_work
INSERT INTO work (id, site, created_us, lifetime_ms, chunks) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING

-- name: lease
SELECT no, id, dataset, digest, work, site, deadline_us, state, raw, tasks, answered
FROM lease WHERE id = ?

-- name: leases_by_no
SELECT l.no, l.id, l.dataset, l.digest, l.work, l.site, l.deadline_us, l.state, l.raw, l.tasks,
    l.answered
FROM {numbers} JOIN lease AS l ON l.no = w.n ORDER BY l.no

-- name: leases_by_id
SELECT l.no, l.id, l.dataset, l.digest, l.work, l.site, l.deadline_us, l.state, l.raw, l.tasks,
    l.answered
FROM {digests} JOIN lease AS l ON l.id = w.digest ORDER BY l.no

-- name: live_on
SELECT no, id, dataset, digest, work, site, deadline_us, state, raw, tasks, answered
FROM lease WHERE state = 'live' AND dataset = ? ORDER BY no

-- name: lease_numbers
SELECT l.id, l.no FROM {digests} JOIN lease AS l ON l.id = w.digest

-- name: add_leases bytea bigint bytea text text bigint text bytea bigint bigint
INSERT INTO lease (id, dataset, digest, work, site, deadline_us, state, raw, tasks, answered) {rows}

-- name: answer
UPDATE lease SET answered = answered + w.b FROM {pairs} WHERE lease.no = w.a

-- name: leased_at
SELECT dataset, CAST(sum(CASE WHEN tasks > answered THEN tasks - answered ELSE 0 END) AS bigint)
FROM lease WHERE state = 'live' AND site = ? GROUP BY dataset ORDER BY dataset

-- name: leased_by
SELECT CAST(coalesce(sum(CASE WHEN tasks > answered THEN tasks - answered ELSE 0 END), 0) AS bigint)
FROM lease WHERE state = 'live' AND site = ?

-- name: expired
SELECT no FROM lease WHERE state = 'live' AND deadline_us <= ? ORDER BY deadline_us, no

-- name: live_of_site
SELECT l.no, l.work, b.stream, b.sequence FROM lease AS l LEFT JOIN bundle AS b ON b.id = l.work
WHERE l.state = 'live' AND l.site = ? ORDER BY l.no

-- name: end_leases
UPDATE lease SET state = ? WHERE state = 'live' AND no IN (SELECT n FROM {numbers})
