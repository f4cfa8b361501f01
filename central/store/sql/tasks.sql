-- name: rows
SELECT t.step, t.job, t.generation, t.verdict, t.outcome, t.failures, t.lease
FROM {pairs} JOIN task AS t ON t.dataset = ? AND t.step = w.a AND t.job = w.b

-- name: every_row
SELECT step, job, generation, verdict, outcome, failures, lease FROM task
WHERE dataset = ? AND (step, job) > (?, ?) ORDER BY step, job LIMIT ?

-- name: save_rows bigint bigint bigint bigint bigint bytea bigint bigint
INSERT INTO task (dataset, step, job, generation, verdict, outcome, failures, lease) {rows}
ON CONFLICT (dataset, step, job) DO UPDATE SET generation = excluded.generation,
    verdict = excluded.verdict, outcome = excluded.outcome, failures = excluded.failures,
    lease = excluded.lease

-- name: drop_rows
DELETE FROM task WHERE dataset = ? AND (step, job) IN (SELECT a, b FROM {pairs})

-- name: leases
SELECT l.id, l.no FROM {digests} JOIN lease AS l ON l.id = w.digest

-- name: specs
SELECT s.hash, s.no FROM {digests} JOIN spec AS s ON s.hash = w.digest

-- name: add_specs bytea
INSERT INTO spec (hash) {rows} ON CONFLICT DO NOTHING

-- name: attempts
SELECT a.step, a.job, a.generation, l.id, a.pilot_run, a.local, a.fate, s.hash, a.lineage,
    a.outcome, a.content, a.wall_ms, a.cpu_ms, a.memory_peak_mib, a.disk_peak_bytes,
    a.read_bytes, a.written_bytes, a.ended_us
FROM {pairs}
JOIN attempt AS a ON a.dataset = ? AND a.step = w.a AND a.job = w.b
JOIN lease AS l ON l.no = a.lease
JOIN spec AS s ON s.no = a.spec

-- name: every_attempt
SELECT a.step, a.job, a.generation, l.id, a.pilot_run, a.local, a.fate, s.hash, a.lineage,
    a.outcome, a.content, a.wall_ms, a.cpu_ms, a.memory_peak_mib, a.disk_peak_bytes,
    a.read_bytes, a.written_bytes, a.ended_us
FROM attempt AS a
JOIN lease AS l ON l.no = a.lease
JOIN spec AS s ON s.no = a.spec
WHERE a.dataset = ? AND (a.step, a.job, a.content) > (?, ?, ?)
ORDER BY a.step, a.job, a.content LIMIT ?

-- name: add_attempts bigint bigint bigint bigint bigint bytea bigint bigint bigint bytea bytea bytea bigint bigint bigint bigint bigint bigint bigint bigint
INSERT INTO attempt (dataset, step, job, generation, lease, pilot_run, local, fate, spec, lineage,
    outcome, content, wall_ms, cpu_ms, memory_peak_mib, disk_peak_bytes, read_bytes, written_bytes,
    ended_us, segment)
{rows} ON CONFLICT DO NOTHING

-- name: pins
SELECT p.step, p.job, p.generation, p.attempt, p.outcome, p.epoch_counter, p.epoch_nonce,
    p.commit_no
FROM {pairs} JOIN pin AS p ON p.dataset = ? AND p.step = w.a AND p.job = w.b

-- name: every_pin
SELECT step, job, generation, attempt, outcome, epoch_counter, epoch_nonce, commit_no
FROM pin WHERE dataset = ? ORDER BY step, job, generation, epoch_counter, epoch_nonce, commit_no

-- name: add_pins bigint bigint bigint bigint text bytea bigint bytea bigint
INSERT INTO pin (dataset, step, job, generation, attempt, outcome, epoch_counter, epoch_nonce,
    commit_no)
{rows} ON CONFLICT DO NOTHING

-- name: add_contradictions bigint bigint bigint text bigint
INSERT INTO contradiction (dataset, step, job, attempt, bundle) {rows} ON CONFLICT DO NOTHING

-- name: outcomes
SELECT o.digest, o.outputs FROM {digests} JOIN outcome AS o ON o.digest = w.digest

-- name: add_outcomes bytea bytea
INSERT INTO outcome (digest, outputs) {rows} ON CONFLICT DO NOTHING

-- name: files
SELECT f.digest, f.bundle, f.place, f.size_bytes
FROM {digests} JOIN file AS f ON f.digest = w.digest

-- name: add_files bytea bigint bigint bigint
INSERT INTO file (digest, bundle, place, size_bytes) {rows} ON CONFLICT DO NOTHING
