//! The region: keeps sealed objects, mirrors and cosigns logs, signs receipts. Links no code that could open anything.
