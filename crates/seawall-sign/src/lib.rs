//! Keys, short-lived signing subkeys, DSSE envelopes and in-toto statements.
