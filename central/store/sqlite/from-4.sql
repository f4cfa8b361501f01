-- People beside tokens: the tokens there were are the administrator's, who is person 1.
ALTER TABLE token RENAME TO token_4;
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

INSERT INTO person SELECT 1, 'admin', 'admin', '[]', '', '{}', '', '', 0, 0
WHERE EXISTS (SELECT 1 FROM token_4);
INSERT INTO token SELECT no, digest, name, 1, 'admin control read submit', 0, 0, 0, 0
FROM token_4;
DROP TABLE token_4;
INSERT INTO person (name, role, member_of, site, limits, issuer, subject, made_us, closed_us)
SELECT name, 'user', '[]', '', '{}', '', '', added_us, 0 FROM "user" WHERE removed_us = 0
ON CONFLICT DO NOTHING;
