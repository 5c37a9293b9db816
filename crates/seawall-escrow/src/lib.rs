//! Escrow groups, TDH2 capsules, share files, and the cryptography of requests and approvals.
