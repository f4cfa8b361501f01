-- name: persons
SELECT no, name, role, member_of, site, limits, issuer, subject, made_us, closed_us FROM person
ORDER BY name

-- name: add_person
INSERT INTO person (no, name, role, member_of, site, limits, issuer, subject, made_us, closed_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING no

-- name: next_person
SELECT coalesce(max(no), 0) + 1 FROM person

-- name: change_person
UPDATE person SET role = ?, member_of = ?, site = ?, limits = ?, closed_us = ? WHERE no = ?

-- name: add_token
INSERT INTO token (no, digest, name, person, scopes, made_us, expires_us, revoked_us, made_by)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING no

-- name: next_token
SELECT coalesce(max(no), 0) + 1 FROM token

-- name: revoke_token
UPDATE token SET revoked_us = ? WHERE no = ?

-- name: tokens
SELECT no, digest, name, person, scopes, made_us, expires_us, revoked_us, made_by FROM token ORDER BY no

-- name: token
SELECT no, digest, name, person, scopes, made_us, expires_us, revoked_us, made_by FROM token
WHERE no = ?

-- name: token_by_digest
SELECT no, digest, name, person, scopes, made_us, expires_us, revoked_us, made_by FROM token
WHERE digest = ?

-- name: access
SELECT dataset, owner, team, visibility, told FROM access WHERE dataset = ?

-- name: accesses
SELECT dataset, owner, team, visibility, told FROM access

-- name: save_access
INSERT INTO access (dataset, owner, team, visibility, told) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (dataset) DO UPDATE SET owner = excluded.owner, team = excluded.team,
    visibility = excluded.visibility, told = excluded.told
WHERE excluded.told >= access.told

-- name: add_audit
INSERT INTO audit (at_us, person, token, action, resource, detail) VALUES (?, ?, ?, ?, ?, ?)

-- name: audit
SELECT no, at_us, person, token, action, resource, detail FROM audit
WHERE no < ? ORDER BY no DESC LIMIT ?

-- name: audit_of_person
SELECT no, at_us, person, token, action, resource, detail FROM audit
WHERE person = ? AND no < ? ORDER BY no DESC LIMIT ?

-- name: audit_of_resource
SELECT no, at_us, person, token, action, resource, detail FROM audit
WHERE resource = ? AND no < ? ORDER BY no DESC LIMIT ?

-- name: audit_of_resource_by_person
SELECT no, at_us, person, token, action, resource, detail FROM audit
WHERE resource = ? AND person = ? AND no < ? ORDER BY no DESC LIMIT ?

-- name: users
SELECT key, name, added_us, removed_us FROM "user" ORDER BY name, added_us, key

-- name: save_user
INSERT INTO "user" (key, name, added_us, removed_us) VALUES (?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET name = excluded.name, added_us = excluded.added_us,
    removed_us = excluded.removed_us

-- name: remembered
SELECT request, answer FROM remembered WHERE token = ? AND key = ?

-- name: remember
INSERT INTO remembered (token, key, request, answer) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: meta
SELECT value FROM meta WHERE name = ?

-- name: set_meta
INSERT INTO meta (name, value) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET value = excluded.value
