-- name: blocks
SELECT b.step, b.block, b.state
FROM {pairs} JOIN block AS b ON b.dataset = ? AND b.step = w.a AND b.block = w.b

-- name: every_block
SELECT step, block, state, ready, failed FROM block
WHERE dataset = ? AND (step, block) > (?, ?) ORDER BY step, block LIMIT ?

-- name: blocks_ready
SELECT step, block FROM block WHERE dataset = ? AND has_ready AND (block, step) > (?, ?)
ORDER BY block, step LIMIT ?

-- name: blocks_failed
SELECT step, block FROM block WHERE dataset = ? AND has_failed AND (block, step) > (?, ?)
ORDER BY block, step LIMIT ?

-- name: save_blocks bigint bigint bigint bytea bigint bigint
INSERT INTO block (dataset, step, block, state, ready, failed) {rows}
ON CONFLICT (dataset, step, block) DO UPDATE SET state = excluded.state, ready = excluded.ready,
    failed = excluded.failed

-- name: steps_of
SELECT s.dataset, s.step, s.held, s.ready, s.leased, s.done, s.failed, s.cancelled, s.removed,
    s.known, s.attempts, s.wall_ms, s.cpu_ms, s.read_bytes, s.written_bytes, s.memory_peak_mib
FROM {numbers} JOIN step AS s ON s.dataset = w.n ORDER BY s.dataset, s.step

-- name: add_to_steps bigint bigint bigint bigint bigint bigint bigint bigint bigint bigint bigint bigint bigint bigint bigint bigint
INSERT INTO step (dataset, step, held, ready, leased, done, failed, cancelled, removed, known,
    attempts, wall_ms, cpu_ms, read_bytes, written_bytes, memory_peak_mib)
{rows}
ON CONFLICT (dataset, step) DO UPDATE SET held = step.held + excluded.held,
    ready = step.ready + excluded.ready, leased = step.leased + excluded.leased,
    done = step.done + excluded.done, failed = step.failed + excluded.failed,
    cancelled = step.cancelled + excluded.cancelled, removed = step.removed + excluded.removed,
    known = step.known + excluded.known, attempts = step.attempts + excluded.attempts,
    wall_ms = step.wall_ms + excluded.wall_ms, cpu_ms = step.cpu_ms + excluded.cpu_ms,
    read_bytes = step.read_bytes + excluded.read_bytes,
    written_bytes = step.written_bytes + excluded.written_bytes,
    memory_peak_mib = CASE WHEN excluded.memory_peak_mib > step.memory_peak_mib
        THEN excluded.memory_peak_mib ELSE step.memory_peak_mib END

-- name: set_steps bigint bigint bigint bigint bigint bigint bigint bigint bigint bigint
INSERT INTO step (dataset, step, held, ready, leased, done, failed, cancelled, removed, known)
{rows}
ON CONFLICT (dataset, step) DO UPDATE SET held = excluded.held, ready = excluded.ready,
    leased = excluded.leased, done = excluded.done, failed = excluded.failed,
    cancelled = excluded.cancelled, removed = excluded.removed, known = excluded.known
