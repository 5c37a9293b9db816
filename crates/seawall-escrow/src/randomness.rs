//! The base [`Rng`] as the two `rand_core` generations our dependencies ask for.
//!
//! FROST wants 0.6, HPKE wants 0.10. Both adapters only forward: no state, no buffering, so that
//! a seeded simulation stays reproducible.

use std::convert::Infallible;

use hpke::rand_core as core_0_10;
use seawall_base::Rng;

/// [`Rng`] as a cryptographic generator of either `rand_core` generation.
pub(crate) struct Adapted<'a>(pub(crate) &'a mut dyn Rng);

impl Adapted<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.0.fill(&mut out);
        out
    }
}

impl frost_ristretto255::rand_core::RngCore for Adapted<'_> {
    fn next_u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn next_u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        self.0.fill(dest);
    }

    fn try_fill_bytes(
        &mut self,
        dest: &mut [u8],
    ) -> Result<(), frost_ristretto255::rand_core::Error> {
        self.0.fill(dest);
        Ok(())
    }
}

impl frost_ristretto255::rand_core::CryptoRng for Adapted<'_> {}

impl core_0_10::TryRng for Adapted<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.array()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.array()))
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(dest);
        Ok(())
    }
}

impl core_0_10::TryCryptoRng for Adapted<'_> {}
