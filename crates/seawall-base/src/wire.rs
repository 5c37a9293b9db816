//! The byte encoding of every binary format of the house.
//!
//! Integers are little-endian and of fixed width; a byte string is its length as `u32` and its
//! bytes. There is one encoding for each value: [`Reader::finish`] refuses trailing bytes, and
//! every length is checked against a limit *and* against what is really there before anything
//! is allocated, so a hostile length costs nothing.

/// Why bytes were refused. The offset is where in the input the reader stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The input ended early.
    #[error("truncated at byte {offset}: {wanted} more bytes expected")]
    Truncated {
        /// Where the reader stood.
        offset: usize,
        /// How many bytes the next field needs.
        wanted: usize,
    },
    /// A length is above the limit its format sets.
    #[error("length {found} at byte {offset} is above the limit of {limit}")]
    TooLong {
        /// Where the reader stood.
        offset: usize,
        /// The length found.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A field holds a value its format does not allow.
    #[error("{what} at byte {offset} is not valid")]
    Invalid {
        /// Where the reader stood.
        offset: usize,
        /// The field's name.
        what: &'static str,
    },
    /// Bytes follow the end of the value.
    #[error("{extra} bytes follow the end of the value")]
    Trailing {
        /// How many.
        extra: usize,
    },
}

/// Reads a value from a byte slice, front to back.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// How many bytes have been read.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// The next `n` bytes as they stand.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        if n > self.remaining() {
            return Err(WireError::Truncated { offset: self.offset, wanted: n - self.remaining() });
        }
        let out = &self.bytes[self.offset..self.offset + n];
        self.offset += n;
        Ok(out)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[b]| b)
    }

    /// A little-endian `u16`.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    /// A little-endian `u32`.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    /// A little-endian `u64`.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A little-endian `i64`.
    pub fn i64(&mut self) -> Result<i64, WireError> {
        self.array().map(i64::from_le_bytes)
    }

    /// A `u32` count or length of at most `limit`.
    pub fn length(&mut self, limit: usize) -> Result<usize, WireError> {
        let offset = self.offset;
        let found = self.u32()? as usize;
        if found > limit {
            return Err(WireError::TooLong { offset, found, limit });
        }
        Ok(found)
    }

    /// A byte string of at most `limit` bytes.
    pub fn bytes(&mut self, limit: usize) -> Result<&'a [u8], WireError> {
        let n = self.length(limit)?;
        self.take(n)
    }

    /// An error that points at the field just read.
    pub const fn invalid(&self, what: &'static str) -> WireError {
        WireError::Invalid { offset: self.offset, what }
    }

    /// Refuses trailing bytes.
    pub const fn finish(self) -> Result<(), WireError> {
        match self.remaining() {
            0 => Ok(()),
            extra => Err(WireError::Trailing { extra }),
        }
    }
}

/// Appends values to a byte vector.
#[derive(Debug, Default, Clone)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Raw bytes, without a length.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// One byte.
    pub fn u8(&mut self, v: u8) -> &mut Self {
        self.raw(&[v])
    }

    /// A little-endian `u16`.
    pub fn u16(&mut self, v: u16) -> &mut Self {
        self.raw(&v.to_le_bytes())
    }

    /// A little-endian `u32`.
    pub fn u32(&mut self, v: u32) -> &mut Self {
        self.raw(&v.to_le_bytes())
    }

    /// A little-endian `u64`.
    pub fn u64(&mut self, v: u64) -> &mut Self {
        self.raw(&v.to_le_bytes())
    }

    /// A little-endian `i64`.
    pub fn i64(&mut self, v: i64) -> &mut Self {
        self.raw(&v.to_le_bytes())
    }

    /// A count or length as `u32`. Values above `u32::MAX` cannot occur: every limit is below it.
    pub fn length(&mut self, n: usize) -> &mut Self {
        self.u32(u32::try_from(n).expect("every length limit of the formats is below 2^32"))
    }

    /// A byte string: its length as `u32`, then its bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len()).raw(bytes)
    }

    /// How many bytes have been written.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been written.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What has been written.
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }

    /// What has been written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hostile_length_is_refused_before_allocation() {
        let input = [0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(
            Reader::new(&input).bytes(1_000),
            Err(WireError::TooLong { offset: 0, found: u32::MAX as usize, limit: 1_000 })
        );
        assert_eq!(
            Reader::new(&[4, 0, 0, 0, 1]).bytes(1_000),
            Err(WireError::Truncated { offset: 4, wanted: 3 })
        );
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut r = Reader::new(&[1, 2]);
        assert_eq!(r.u8(), Ok(1));
        assert_eq!(r.finish(), Err(WireError::Trailing { extra: 1 }));
    }

    proptest! {
        #[test]
        fn every_field_round_trips(a: u8, b: u16, c: u32, d: u64, e: i64, s: Vec<u8>) {
            let mut w = Writer::new();
            w.u8(a).u16(b).u32(c).u64(d).i64(e).bytes(&s);
            let bytes = w.into_vec();
            let mut r = Reader::new(&bytes);
            prop_assert_eq!(r.u8(), Ok(a));
            prop_assert_eq!(r.u16(), Ok(b));
            prop_assert_eq!(r.u32(), Ok(c));
            prop_assert_eq!(r.u64(), Ok(d));
            prop_assert_eq!(r.i64(), Ok(e));
            prop_assert_eq!(r.bytes(s.len()), Ok(&s[..]));
            prop_assert_eq!(r.finish(), Ok(()));
        }
    }
}
