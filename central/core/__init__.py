"""Pure decisions of central: verdicts, merging, planning, receipts, the state hash."""
