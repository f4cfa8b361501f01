"""How a relay starts pilots at a site: one contract, one adapter per scheduler."""
