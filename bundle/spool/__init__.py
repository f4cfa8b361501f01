"""The spool: the folder a relay and its pilots share; files published and claimed by rename."""
