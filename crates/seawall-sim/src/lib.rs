//! Seeded fault injection behind the capabilities of seawall-base: a disk that loses power, a clock that jumps.
