-- name: add_token
INSERT INTO token (digest, name) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: tokens
SELECT no, digest FROM token ORDER BY no

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
