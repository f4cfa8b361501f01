-- Leases name their work by its number; new ones are kept as what they differ in from another.
ALTER TABLE work RENAME TO work_3;
ALTER TABLE lease RENAME TO lease_3;
DROP INDEX lease_of_site;
DROP INDEX lease_of_dataset;
DROP INDEX lease_deadline;

CREATE TABLE work (
    no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, site TEXT NOT NULL,
    created_us INTEGER NOT NULL, lifetime_ms INTEGER NOT NULL, chunks BLOB NOT NULL
) STRICT;

CREATE TABLE lease (
    no INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, dataset INTEGER NOT NULL, digest BLOB NOT NULL,
    work INTEGER NOT NULL, site TEXT NOT NULL, deadline_us INTEGER NOT NULL, state TEXT NOT NULL,
    raw BLOB NOT NULL, tasks INTEGER NOT NULL, answered INTEGER NOT NULL, alike INTEGER NOT NULL
) STRICT;

INSERT INTO work (id, site, created_us, lifetime_ms, chunks)
SELECT id, site, created_us, lifetime_ms, chunks FROM work_3 ORDER BY created_us, id;
INSERT INTO lease
SELECT l.no, l.id, l.dataset, l.digest, w.no, l.site, l.deadline_us, l.state, l.raw, l.tasks,
    l.answered, 0
FROM lease_3 AS l JOIN work AS w ON w.id = l.work ORDER BY l.no;
DROP TABLE lease_3;
DROP TABLE work_3;
CREATE INDEX lease_of_site ON lease (site) WHERE state = 'live';
CREATE INDEX lease_of_dataset ON lease (dataset) WHERE state = 'live';
CREATE INDEX lease_deadline ON lease (deadline_us) WHERE state = 'live';
