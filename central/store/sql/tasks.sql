-- name: rows
SELECT t.step, t.job, t.generation, t.verdict, t.outcome, t.failures, t.lease
FROM wanted AS w JOIN task AS t ON t.dataset = ? AND t.step = w.step AND t.job = w.job

-- name: attempts
SELECT a.step, a.job, a.generation, l.id, a.pilot_run, a.local, a.fate, s.hash, a.lineage,
    a.outcome, a.content, a.wall_ms, a.cpu_ms, a.memory_peak_mib, a.disk_peak_bytes,
    a.read_bytes, a.written_bytes, a.ended_us
FROM wanted AS w
JOIN attempt AS a ON a.dataset = ? AND a.step = w.step AND a.job = w.job
JOIN lease AS l ON l.no = a.lease
JOIN spec AS s ON s.no = a.spec

-- name: every_attempt
SELECT a.step, a.job, a.generation, l.id, a.pilot_run, a.local, a.fate, s.hash, a.lineage,
    a.outcome, a.content, a.wall_ms, a.cpu_ms, a.memory_peak_mib, a.disk_peak_bytes,
    a.read_bytes, a.written_bytes, a.ended_us
FROM attempt AS a
JOIN lease AS l ON l.no = a.lease
JOIN spec AS s ON s.no = a.spec
WHERE a.dataset = ? ORDER BY a.step, a.job, a.content

-- name: pins
SELECT p.step, p.job, p.generation, p.attempt, p.outcome, p.epoch_counter, p.epoch_nonce,
    p.commit_no
FROM wanted AS w JOIN pin AS p ON p.dataset = ? AND p.step = w.step AND p.job = w.job

-- name: every_pin
SELECT step, job, generation, attempt, outcome, epoch_counter, epoch_nonce, commit_no
FROM pin WHERE dataset = ?

-- name: outcomes_of_step
SELECT job, outcome FROM task WHERE dataset = ? AND step = ? AND outcome <> x''

-- name: step_counts
SELECT s.step, s.held, s.ready, s.leased, s.done, s.failed, s.cancelled, s.removed, s.known
FROM wanted AS w JOIN step AS s ON s.dataset = ? AND s.step = w.step

-- name: steps
SELECT step, held, ready, leased, done, failed, cancelled, removed, known, attempts, wall_ms,
    cpu_ms, read_bytes, written_bytes, memory_peak_mib
FROM step WHERE dataset = ? ORDER BY step

-- name: save_row
INSERT INTO task (dataset, step, job, generation, verdict, outcome, failures, lease)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (dataset, step, job) DO UPDATE SET generation = excluded.generation,
    verdict = excluded.verdict, outcome = excluded.outcome, failures = excluded.failures,
    lease = excluded.lease

-- name: save_step
INSERT INTO step (dataset, step, held, ready, leased, done, failed, cancelled, removed, known,
    attempts, wall_ms, cpu_ms, read_bytes, written_bytes, memory_peak_mib)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (dataset, step) DO UPDATE SET held = held + excluded.held,
    ready = ready + excluded.ready, leased = leased + excluded.leased, done = done + excluded.done,
    failed = failed + excluded.failed, cancelled = cancelled + excluded.cancelled,
    removed = removed + excluded.removed, known = known + excluded.known,
    attempts = attempts + excluded.attempts, wall_ms = wall_ms + excluded.wall_ms,
    cpu_ms = cpu_ms + excluded.cpu_ms, read_bytes = read_bytes + excluded.read_bytes,
    written_bytes = written_bytes + excluded.written_bytes,
    memory_peak_mib = max(memory_peak_mib, excluded.memory_peak_mib)

-- name: add_attempt
INSERT INTO attempt (dataset, step, job, generation, lease, pilot_run, local, fate, spec, lineage,
    outcome, content, wall_ms, cpu_ms, memory_peak_mib, disk_peak_bytes, read_bytes, written_bytes,
    ended_us, segment)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_pin
INSERT INTO pin (dataset, step, job, generation, attempt, outcome, epoch_counter, epoch_nonce,
    commit_no)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: add_contradiction
INSERT INTO contradiction (dataset, step, job, attempt, bundle) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING

-- name: every_row
SELECT step, job, generation, verdict, outcome, failures, lease FROM task
WHERE dataset = ? ORDER BY step, job

-- name: rows_of_lease
SELECT dataset, step, job, generation FROM task WHERE lease = ?

-- name: leased_by_site
SELECT count(*) FROM lease AS l JOIN task AS t ON t.lease = l.no AND t.lease > 0
WHERE l.state = 'live' AND l.site = ? AND t.verdict = 2

-- name: leased_at
SELECT t.dataset, count(*) FROM lease AS l JOIN task AS t ON t.lease = l.no AND t.lease > 0
WHERE l.state = 'live' AND l.site = ? AND t.verdict = 2 GROUP BY t.dataset

-- name: ready_of
SELECT t.step, t.job FROM task AS t
WHERE t.dataset = ? AND t.verdict = 1 AND t.step IN (SELECT value FROM json_each(?))
ORDER BY t.job, t.step LIMIT ?

-- name: ready_jobs
SELECT t.step, t.job FROM task AS t
WHERE t.dataset = ? AND t.verdict = 1 ORDER BY t.job, t.step LIMIT ?

-- name: done_spans
SELECT step, min(job), max(job) - min(job) + 1 FROM (
    SELECT step, job, job - row_number() OVER (PARTITION BY step ORDER BY job) AS run
    FROM task WHERE dataset = ? AND verdict = 3
) GROUP BY step, run ORDER BY step, 2

-- name: outcomes
SELECT o.digest, o.outputs FROM wanted_digest AS w JOIN outcome AS o ON o.digest = w.digest

-- name: add_outcome
INSERT INTO outcome (digest, outputs) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: files
SELECT f.digest, f.bundle, f.place, f.size_bytes
FROM wanted_digest AS w JOIN file AS f ON f.digest = w.digest

-- name: add_file
INSERT INTO file (digest, bundle, place, size_bytes) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: successes
SELECT a.step, a.job, a.generation, l.id, a.pilot_run, a.local, a.outcome
FROM wanted AS w
JOIN attempt AS a ON a.dataset = ? AND a.step = w.step AND a.job = w.job
JOIN lease AS l ON l.no = a.lease WHERE a.outcome <> x''

-- name: page
SELECT a.no, a.step, a.job, a.generation, l.id, a.pilot_run, a.local, a.fate, a.wall_ms, a.cpu_ms,
    a.memory_peak_mib, a.disk_peak_bytes, a.read_bytes, a.written_bytes, l.site, a.outcome,
    a.lineage, s.digest, s.bundle, s.place
FROM attempt AS a JOIN lease AS l ON l.no = a.lease JOIN segment AS s ON s.no = a.segment
WHERE a.dataset = :dataset AND a.no > :after
    AND (:step IS NULL OR a.step = :step) AND (:job IS NULL OR a.job = :job)
    AND (:fate IS NULL OR a.fate = :fate)
ORDER BY a.no LIMIT :limit
