//! The scope of deduplication and of have/want: one tenant of one fleet.

use seawall_base::{FleetId, Sha256, TenantId};

/// The id of the tenant `name` of `fleet`: SHA-256 of `seawall tenant 1`, a zero byte, the
/// fleet's id and the name. The fleet's id has a fixed length, so no two pairs hash alike.
pub fn tenant_id(fleet: FleetId, name: &str) -> TenantId {
    let mut input = b"seawall tenant 1\0".to_vec();
    input.extend_from_slice(fleet.as_bytes());
    input.extend_from_slice(name.as_bytes());
    TenantId(Sha256::of(&input).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_differ_by_fleet_and_name_and_are_pinned() {
        let id = tenant_id(FleetId([1; 32]), "acme");
        assert_ne!(id, tenant_id(FleetId([2; 32]), "acme"));
        assert_ne!(id, tenant_id(FleetId([1; 32]), "acmf"));
        assert_eq!(id.to_hex(), "455a9f50ddf2ab4bb96d4f2cf2ff565a990922ebbc9706978ec42c25134977a9");
    }
}
