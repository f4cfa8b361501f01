-- When attempts ended, for the back-off of what is tried again; 0 of those that came before.
ALTER TABLE attempt ADD COLUMN ended_us INTEGER NOT NULL DEFAULT 0;
