-- Users, who submitted a dataset, and who co-signed its document.
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

ALTER TABLE site RENAME COLUMN report_word TO report_marks;
ALTER TABLE site RENAME COLUMN received_word TO received_marks;
UPDATE site SET report_marks = x'', received_marks = x'';
