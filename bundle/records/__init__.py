"""The records that bundles carry: leases, attempts in segments, seals, reports, receipts."""
