-- name: document
SELECT raw FROM document WHERE digest = ?

-- name: has_document
SELECT 1 FROM document WHERE digest = ?

-- name: add_document
INSERT INTO document (digest, raw) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: datasets
SELECT no, id, digest, name, jobs, steps, tasks, submitted_us, touched FROM dataset ORDER BY submitted_us, id

-- name: dataset
SELECT no, id, digest, name, jobs, steps, tasks, submitted_us, touched FROM dataset WHERE id = ?

-- name: dataset_by_no
SELECT no, id, digest, name, jobs, steps, tasks, submitted_us, touched FROM dataset WHERE no = ?

-- name: add_dataset
INSERT INTO dataset (id, digest, name, jobs, steps, tasks, submitted_us, touched)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: set_submitted
UPDATE dataset SET submitted_us = ? WHERE no = ?

-- name: submitter
SELECT key FROM submitter WHERE dataset = ?

-- name: set_submitter
INSERT INTO submitter (dataset, key) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: cosignatures
SELECT key, signature FROM cosignature WHERE document = ? ORDER BY key

-- name: add_cosignature
INSERT INTO cosignature (document, key, signature) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- name: controls
SELECT word, regions, epoch_counter, epoch_nonce, commit_no FROM control WHERE dataset = ?

-- name: add_control
INSERT INTO control (dataset, epoch_counter, epoch_nonce, commit_no, word, regions)
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: tombstones
SELECT DISTINCT d.id FROM control AS c JOIN dataset AS d ON d.no = c.dataset
WHERE c.word = 'tombstone' ORDER BY d.id

-- name: work
SELECT id, site, created_us, lifetime_ms, chunks FROM work WHERE id = ?

-- name: add_work
INSERT INTO work (id, site, created_us, lifetime_ms, chunks) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING

-- name: lease
SELECT no, id, dataset, digest, work, site, deadline_us, state, raw FROM lease WHERE id = ?

-- name: add_lease
INSERT INTO lease (id, dataset, digest, work, site, deadline_us, state, raw)
VALUES (?, ?, ?, ?, ?, ?, 'live', ?)

-- name: expired
SELECT no FROM lease WHERE state = 'live' AND deadline_us <= ?

-- name: live_of_site
SELECT l.no, l.work, coalesce(b.stream, x''), coalesce(b.sequence, 0)
FROM lease AS l LEFT JOIN bundle AS b ON b.id = l.work
WHERE l.state = 'live' AND l.site = ?

-- name: end_lease
UPDATE lease SET state = ? WHERE no = ? AND state = 'live'

-- name: segments
SELECT s.digest FROM wanted_digest AS w JOIN segment AS s ON s.digest = w.digest

-- name: add_segment
INSERT INTO segment (digest, bundle, place, lease, pilot_run, batch_id, attempts, complete, salvaged)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)

