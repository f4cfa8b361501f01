-- name: bundle
SELECT id, kind, producer, audience, stream, sequence, epoch_counter, epoch_nonce, commit_no,
    created_us, size_bytes, leases, outcome, code, text, safe, missing, no
FROM bundle WHERE id = ?

-- name: page
SELECT id, kind, producer, audience, stream, sequence, epoch_counter, epoch_nonce, commit_no,
    created_us, size_bytes, leases, outcome, code, text, safe, missing, no
FROM bundle
WHERE no < ? AND (? = '' OR producer = ? OR audience = ?) AND (? = '' OR kind = ?)
    AND (? = '' OR outcome = ?)
ORDER BY no DESC LIMIT ?

-- name: bundle_by_no
SELECT id FROM bundle WHERE no = ?

-- name: add_bundle
INSERT INTO bundle (id, kind, producer, audience, stream, sequence, epoch_counter, epoch_nonce,
    commit_no, created_us, size_bytes, leases, outcome, code, text, safe,
    missing)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING no

-- name: set_outcome
UPDATE bundle SET outcome = ?, code = ?, text = ?, safe = ?, missing = ? WHERE no = ?

-- name: ids
SELECT id FROM bundle WHERE outcome = 'merged'

-- name: parked
SELECT id, kind, producer, audience, stream, sequence, epoch_counter, epoch_nonce, commit_no,
    created_us, size_bytes, leases, outcome, code, text, safe, missing, no
FROM bundle WHERE outcome = 'parked' ORDER BY no

-- name: merged
SELECT id, kind, producer, audience, stream, sequence, epoch_counter, epoch_nonce, commit_no,
    created_us, size_bytes, leases, outcome, code, text, safe, missing, no
FROM bundle WHERE outcome = 'merged' AND no > ? ORDER BY no LIMIT ?

-- name: unsafe
SELECT id, kind, producer, audience, stream, sequence, epoch_counter, epoch_nonce, commit_no,
    created_us, size_bytes, leases, outcome, code, text, safe, missing, no
FROM bundle WHERE outcome = 'merged' AND safe = 0 ORDER BY no

-- name: kinds
SELECT kind, leases > 0, outcome, count(*) FROM bundle GROUP BY 1, 2, 3 ORDER BY 1, 2, 3

-- name: head
SELECT coalesce(max(commit_no), 0) FROM bundle
WHERE epoch_counter = ? AND epoch_nonce = ? AND epoch_counter > 0

-- name: commits_to
SELECT id, kind, producer, audience, stream, sequence, epoch_counter, epoch_nonce, commit_no,
    created_us, size_bytes, leases, outcome, code, text, safe, missing, no
FROM bundle
WHERE epoch_counter = ? AND epoch_nonce = ? AND epoch_counter > 0 AND commit_no <= ?
ORDER BY commit_no DESC, no LIMIT 2

-- name: epoch_max
SELECT coalesce(max(epoch_counter), 0) FROM bundle WHERE epoch_counter > 0

-- name: last_of_stream
SELECT sequence, id FROM bundle WHERE stream = ? ORDER BY sequence DESC, no LIMIT 1

-- name: rivals
SELECT id FROM bundle WHERE stream = ? AND sequence = ? AND id <> ? ORDER BY no

-- name: of_commit
SELECT id FROM bundle
WHERE epoch_counter = ? AND epoch_nonce = ? AND commit_no = ? AND epoch_counter > 0 ORDER BY no

-- name: receipts
SELECT stream, receipt FROM stream WHERE producer = ? ORDER BY stream

-- name: receipt
SELECT receipt FROM stream WHERE stream = ?

-- name: save_receipt
INSERT INTO stream (stream, producer, receipt) VALUES (?, ?, ?)
ON CONFLICT (stream) DO UPDATE SET receipt = excluded.receipt

-- name: tally
INSERT INTO tally (name, count) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET count = tally.count + 1

-- name: tallies
SELECT name, count FROM tally

-- name: site
SELECT name, key, enrolled_us, report, report_marks, received, received_marks, told, news
FROM site WHERE name = ?

-- name: sites
SELECT name, key, enrolled_us, report, report_marks, received, received_marks, told, news
FROM site ORDER BY name

-- name: enrol
INSERT INTO site (name, key, enrolled_us) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET key = excluded.key, enrolled_us = excluded.enrolled_us

-- name: meet
INSERT INTO site (name) VALUES (?) ON CONFLICT DO NOTHING

-- name: set_report
UPDATE site SET report = ?, report_marks = ? WHERE name = ?

-- name: set_received
UPDATE site SET received = ?, received_marks = ? WHERE name = ?

-- name: add_news
UPDATE site SET news = news + 1 WHERE name = ?

-- name: set_told
UPDATE site SET told = news WHERE name = ?
