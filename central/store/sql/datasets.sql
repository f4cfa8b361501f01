-- name: document
SELECT raw FROM document WHERE digest = ?

-- name: has_document
SELECT 1 FROM document WHERE digest = ?

-- name: add_document
INSERT INTO document (digest, raw) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: datasets
SELECT no, id, digest, name, jobs, steps, tasks, submitted_us, touched, crossed
FROM dataset ORDER BY submitted_us, id

-- name: dataset
SELECT no, id, digest, name, jobs, steps, tasks, submitted_us, touched, crossed
FROM dataset WHERE id = ?

-- name: dataset_by_no
SELECT no, id, digest, name, jobs, steps, tasks, submitted_us, touched, crossed
FROM dataset WHERE no = ?

-- name: add_dataset
INSERT INTO dataset (id, digest, name, jobs, steps, tasks, submitted_us, touched, crossed)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING no

-- name: set_submitted
UPDATE dataset SET submitted_us = ? WHERE no = ?

-- name: set_touched
UPDATE dataset SET touched = ? WHERE no = ?

-- name: set_crossed
UPDATE dataset SET crossed = 1 WHERE no = ?

-- name: set_document
UPDATE dataset SET digest = ?, name = ?, jobs = ?, tasks = ? WHERE no = ?

-- name: submitter
SELECT key FROM submitter WHERE dataset = ?

-- name: submitters
SELECT dataset, key FROM submitter

-- name: set_submitter
INSERT INTO submitter (dataset, key) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: cosignatures
SELECT key, signature FROM cosignature WHERE document = ? ORDER BY key

-- name: add_cosignatures bytea bytea bytea
INSERT INTO cosignature (document, key, signature) {rows} ON CONFLICT DO NOTHING

-- name: controls
SELECT dataset, word, regions, epoch_counter, epoch_nonce, commit_no, document FROM control
WHERE dataset = ? ORDER BY epoch_counter, epoch_nonce, commit_no, word, regions

-- name: controls_of
SELECT c.dataset, c.word, c.regions, c.epoch_counter, c.epoch_nonce, c.commit_no, c.document
FROM {numbers} JOIN control AS c ON c.dataset = w.n
ORDER BY c.dataset, c.epoch_counter, c.epoch_nonce, c.commit_no, c.word, c.regions

-- name: add_control
INSERT INTO control (dataset, epoch_counter, epoch_nonce, commit_no, word, regions, document)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: tombstones
SELECT DISTINCT d.id FROM control AS c JOIN dataset AS d ON d.no = c.dataset
WHERE c.word = 'tombstone' ORDER BY d.id
