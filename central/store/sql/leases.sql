-- name: work
SELECT id, site, created_us, lifetime_ms, chunks FROM work WHERE id = ?

-- name: add_work
INSERT INTO work (id, site, created_us, lifetime_ms, chunks) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING

-- name: lease
SELECT l.no, l.id, l.dataset, l.digest, o.id, l.site, l.deadline_us, l.state, l.raw, l.tasks,
    l.answered, l.alike, p.raw
FROM lease AS l JOIN work AS o ON o.no = l.work
    LEFT JOIN lease AS p ON p.no = l.alike
WHERE l.id = ?

-- name: leases_by_no
SELECT l.no, l.id, l.dataset, l.digest, o.id, l.site, l.deadline_us, l.state, l.raw, l.tasks,
    l.answered, l.alike, p.raw
FROM {numbers} JOIN lease AS l ON l.no = w.n JOIN work AS o ON o.no = l.work
    LEFT JOIN lease AS p ON p.no = l.alike
ORDER BY l.no

-- name: leases_by_id
SELECT l.no, l.id, l.dataset, l.digest, o.id, l.site, l.deadline_us, l.state, l.raw, l.tasks,
    l.answered, l.alike, p.raw
FROM {digests} JOIN lease AS l ON l.id = w.digest JOIN work AS o ON o.no = l.work
    LEFT JOIN lease AS p ON p.no = l.alike
ORDER BY l.no

-- name: live_on
SELECT l.no, l.id, l.dataset, l.digest, o.id, l.site, l.deadline_us, l.state, l.raw, l.tasks,
    l.answered, l.alike, p.raw
FROM lease AS l JOIN work AS o ON o.no = l.work
    LEFT JOIN lease AS p ON p.no = l.alike
WHERE l.state = 'live' AND l.dataset = ? ORDER BY l.no

-- name: unanswered_on
SELECT l.no FROM lease AS l
WHERE l.no > (SELECT coalesce(max(no), 0) FROM lease) - ? AND l.dataset = ?
    AND l.state IN ('expired', 'gone') AND l.answered < l.tasks
ORDER BY l.no DESC LIMIT ?

-- name: work_number
SELECT no FROM work WHERE id = ?

-- name: lease_numbers
SELECT l.id, l.no FROM {digests} JOIN lease AS l ON l.id = w.digest

-- name: add_leases bytea bigint bytea bigint text bigint text bytea bigint bigint bigint
INSERT INTO lease (id, dataset, digest, work, site, deadline_us, state, raw, tasks, answered, alike)
{rows}

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
SELECT l.no, o.id, b.stream, b.sequence
FROM lease AS l JOIN work AS o ON o.no = l.work LEFT JOIN bundle AS b ON b.id = o.id
WHERE l.state = 'live' AND l.site = ? ORDER BY l.no

-- name: end_leases
UPDATE lease SET state = ? WHERE state = 'live' AND no IN (SELECT n FROM {numbers})
