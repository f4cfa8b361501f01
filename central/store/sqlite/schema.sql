-- The index over the archive. Keys of tasks are (dataset, step, job) in integers; digests are 32
-- bytes. Whatever stands here can be made again from the archive and the trust file, but for
-- audit, tally and some of remembered and meta.
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;

CREATE TABLE person (
    no INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, role TEXT NOT NULL, member_of TEXT NOT NULL,
    site TEXT NOT NULL, limits TEXT NOT NULL, issuer TEXT NOT NULL, subject TEXT NOT NULL,
    made_us INTEGER NOT NULL, closed_us INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX person_of_issuer ON person (issuer, subject) WHERE issuer <> '';

CREATE TABLE token (
    no INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
    person INTEGER NOT NULL, scopes TEXT NOT NULL, made_us INTEGER NOT NULL,
    expires_us INTEGER NOT NULL, revoked_us INTEGER NOT NULL, made_by INTEGER NOT NULL
) STRICT;
CREATE INDEX token_of_person ON token (person);

CREATE TABLE access (
    dataset TEXT PRIMARY KEY, owner TEXT NOT NULL, team TEXT NOT NULL, visibility TEXT NOT NULL,
    told BLOB NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE audit (
    no INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, person TEXT NOT NULL, token INTEGER NOT NULL,
    action TEXT NOT NULL, resource TEXT NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_of_person ON audit (person, no);
CREATE INDEX audit_of_resource ON audit (resource, no);

CREATE TABLE remembered (
    token INTEGER NOT NULL, key TEXT NOT NULL, request BLOB NOT NULL, answer BLOB NOT NULL,
    PRIMARY KEY (token, key)
) WITHOUT ROWID, STRICT;

CREATE TABLE tally (name TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID, STRICT;

CREATE TABLE site (
    name TEXT PRIMARY KEY, key BLOB NOT NULL DEFAULT x'', enrolled_us INTEGER NOT NULL DEFAULT 0,
    report BLOB NOT NULL DEFAULT x'', report_marks BLOB NOT NULL DEFAULT x'',
    received BLOB NOT NULL DEFAULT x'', received_marks BLOB NOT NULL DEFAULT x'',
    told INTEGER NOT NULL DEFAULT 0, news INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID, STRICT;

CREATE TABLE bundle (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, producer TEXT NOT NULL,
    audience TEXT NOT NULL, stream BLOB NOT NULL, sequence INTEGER NOT NULL,
    epoch_counter INTEGER NOT NULL, epoch_nonce BLOB NOT NULL, commit_no INTEGER NOT NULL,
    created_us INTEGER NOT NULL, size_bytes INTEGER NOT NULL, leases INTEGER NOT NULL,
    outcome TEXT NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL, safe INTEGER NOT NULL,
    missing TEXT NOT NULL
) STRICT;
CREATE INDEX bundle_by_stream ON bundle (stream, sequence);
CREATE INDEX bundle_unsafe ON bundle (no) WHERE outcome = 'merged' AND safe = 0;
CREATE INDEX bundle_of_epoch ON bundle (epoch_counter, epoch_nonce, commit_no)
WHERE epoch_counter > 0;
CREATE INDEX bundle_parked ON bundle (no) WHERE outcome = 'parked';

CREATE TABLE stream (
    stream BLOB PRIMARY KEY, producer TEXT NOT NULL, receipt BLOB NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX stream_by_producer ON stream (producer);

CREATE TABLE document (digest BLOB PRIMARY KEY, raw BLOB NOT NULL) STRICT;

CREATE TABLE dataset (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, digest BLOB NOT NULL, name TEXT NOT NULL,
    jobs INTEGER NOT NULL, steps INTEGER NOT NULL, tasks INTEGER NOT NULL,
    submitted_us INTEGER NOT NULL, touched BLOB NOT NULL, crossed INTEGER NOT NULL DEFAULT 0
) STRICT;

-- user: removed ones stay, for what they signed lies in the archive
CREATE TABLE user (
    key BLOB PRIMARY KEY, name TEXT NOT NULL, added_us INTEGER NOT NULL,
    removed_us INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX user_by_name ON user (name) WHERE removed_us = 0;

CREATE TABLE submitter (dataset INTEGER PRIMARY KEY, key BLOB NOT NULL) STRICT;

CREATE TABLE cosignature (
    document BLOB NOT NULL, key BLOB NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY (document, key)
) WITHOUT ROWID, STRICT;

CREATE TABLE control (
    dataset INTEGER NOT NULL, epoch_counter INTEGER NOT NULL, epoch_nonce BLOB NOT NULL,
    commit_no INTEGER NOT NULL, word TEXT NOT NULL, regions BLOB NOT NULL,
    document BLOB NOT NULL DEFAULT x'',
    PRIMARY KEY (dataset, epoch_counter, epoch_nonce, commit_no, word, regions)
) WITHOUT ROWID, STRICT;
CREATE INDEX control_tombstone ON control (dataset) WHERE word = 'tombstone';

CREATE TABLE work (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, site TEXT NOT NULL,
    created_us INTEGER NOT NULL, lifetime_ms INTEGER NOT NULL, chunks BLOB NOT NULL
) STRICT;

-- lease: raw is what its chunk says, or how that differs from what the lease numbered alike says
CREATE TABLE lease (
    no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, dataset INTEGER NOT NULL, digest BLOB NOT NULL,
    work INTEGER NOT NULL, site TEXT NOT NULL, deadline_us INTEGER NOT NULL, state TEXT NOT NULL,
    raw BLOB NOT NULL, tasks INTEGER NOT NULL, answered INTEGER NOT NULL, alike INTEGER NOT NULL
) STRICT;
CREATE INDEX lease_of_site ON lease (site) WHERE state = 'live';
CREATE INDEX lease_of_dataset ON lease (dataset) WHERE state = 'live';
CREATE INDEX lease_deadline ON lease (deadline_us) WHERE state = 'live';

-- segment: the unit that counts exactly once; its attempts lie in the archive
CREATE TABLE segment (
    no INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, dataset INTEGER NOT NULL,
    bundle INTEGER NOT NULL, place INTEGER NOT NULL, lease INTEGER NOT NULL,
    pilot_run BLOB NOT NULL, batch_id TEXT NOT NULL, attempts INTEGER NOT NULL,
    unsuccessful INTEGER NOT NULL, local_min INTEGER NOT NULL, local_max INTEGER NOT NULL,
    generation_max INTEGER NOT NULL, complete INTEGER NOT NULL, salvaged INTEGER NOT NULL
) STRICT;
CREATE INDEX segment_of_run ON segment (lease, pilot_run);
CREATE INDEX segment_of_dataset ON segment (dataset, no);
CREATE INDEX segment_unsuccessful ON segment (dataset, no) WHERE unsuccessful > 0;
CREATE INDEX segment_of_reset ON segment (dataset, generation_max) WHERE generation_max > 0;

-- span: in which blocks a segment has attempts
CREATE TABLE span (
    dataset INTEGER NOT NULL, step INTEGER NOT NULL, block INTEGER NOT NULL,
    segment INTEGER NOT NULL, job_min INTEGER NOT NULL, job_max INTEGER NOT NULL,
    PRIMARY KEY (dataset, step, block, segment, job_min)
) WITHOUT ROWID, STRICT;
CREATE INDEX span_of_segment ON span (segment);

-- block: one byte for each of 65,536 jobs of a step, packed. With a rowid: states of many kilobytes
-- are found and replaced five times as fast as in WITHOUT ROWID, small ones a fifth slower.
CREATE TABLE block (
    dataset INTEGER NOT NULL, step INTEGER NOT NULL, block INTEGER NOT NULL, state BLOB NOT NULL,
    ready INTEGER NOT NULL, failed INTEGER NOT NULL,
    has_ready INTEGER NOT NULL GENERATED ALWAYS AS (ready > 0) VIRTUAL,
    has_failed INTEGER NOT NULL GENERATED ALWAYS AS (failed > 0) VIRTUAL,
    PRIMARY KEY (dataset, step, block)
) STRICT;
CREATE INDEX block_ready ON block (dataset, block, step) WHERE has_ready;
CREATE INDEX block_failed ON block (dataset, block, step) WHERE has_failed;

-- step: counters over all touched tasks and over the attempts that count
CREATE TABLE step (
    dataset INTEGER NOT NULL, step INTEGER NOT NULL,
    held INTEGER NOT NULL DEFAULT 0, ready INTEGER NOT NULL DEFAULT 0,
    leased INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0, cancelled INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0, known INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0, wall_ms INTEGER NOT NULL DEFAULT 0,
    cpu_ms INTEGER NOT NULL DEFAULT 0, read_bytes INTEGER NOT NULL DEFAULT 0,
    written_bytes INTEGER NOT NULL DEFAULT 0, memory_peak_mib INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (dataset, step)
) WITHOUT ROWID, STRICT;

-- task: rows of those whose facts don't fit a byte; verdict is its place in the order of Verdict
CREATE TABLE task (
    dataset INTEGER NOT NULL, step INTEGER NOT NULL, job INTEGER NOT NULL,
    generation INTEGER NOT NULL, verdict INTEGER NOT NULL, outcome BLOB NOT NULL,
    failures INTEGER NOT NULL, lease INTEGER NOT NULL,
    PRIMARY KEY (dataset, step, job)
) WITHOUT ROWID, STRICT;

CREATE TABLE spec (no INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE) STRICT;

CREATE TABLE attempt (
    no INTEGER PRIMARY KEY, dataset INTEGER NOT NULL, step INTEGER NOT NULL, job INTEGER NOT NULL,
    generation INTEGER NOT NULL, lease INTEGER NOT NULL, pilot_run BLOB NOT NULL,
    local INTEGER NOT NULL, fate INTEGER NOT NULL, spec INTEGER NOT NULL, lineage BLOB NOT NULL,
    outcome BLOB NOT NULL, content BLOB NOT NULL, wall_ms INTEGER NOT NULL, cpu_ms INTEGER NOT NULL,
    memory_peak_mib INTEGER NOT NULL, disk_peak_bytes INTEGER NOT NULL, read_bytes INTEGER NOT NULL,
    written_bytes INTEGER NOT NULL, ended_us INTEGER NOT NULL, segment INTEGER NOT NULL,
    UNIQUE (dataset, step, job, content)
) STRICT;

-- Columns of a key stand first and in its order: integrity_check of SQLite 3.40 misreads others.
CREATE TABLE pin (
    dataset INTEGER NOT NULL, step INTEGER NOT NULL, job INTEGER NOT NULL,
    generation INTEGER NOT NULL, epoch_counter INTEGER NOT NULL, epoch_nonce BLOB NOT NULL,
    commit_no INTEGER NOT NULL, attempt TEXT NOT NULL, outcome BLOB NOT NULL,
    PRIMARY KEY (dataset, step, job, generation, epoch_counter, epoch_nonce, commit_no, attempt)
) WITHOUT ROWID, STRICT;

CREATE TABLE outcome (digest BLOB PRIMARY KEY, outputs BLOB NOT NULL) WITHOUT ROWID, STRICT;

CREATE TABLE file (
    digest BLOB PRIMARY KEY, bundle INTEGER NOT NULL, place INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE contradiction (
    dataset INTEGER NOT NULL, step INTEGER NOT NULL, job INTEGER NOT NULL, attempt TEXT NOT NULL,
    bundle INTEGER NOT NULL, PRIMARY KEY (dataset, step, job, attempt)
) WITHOUT ROWID, STRICT;
