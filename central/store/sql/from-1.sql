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
