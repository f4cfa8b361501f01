"""The relay: carries bundles past the border, keeps custody, offers shards, starts pilots."""
