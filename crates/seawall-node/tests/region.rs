//! A region and its client over real TCP on the loopback.
