//! Making another tier hold what this one holds: have and want, leases, receipts, possession, scrub. Sans-I/O.
