//! The custodian: checks a request before answering it with an encrypted partial.
