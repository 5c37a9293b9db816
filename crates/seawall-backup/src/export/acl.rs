//! POSIX ACLs as text, the only form in which archives carry them between programs.
//!
//! The kernel's form (Linux `posix_acl_xattr.h`) is a version (`u32`, 2) and entries of tag
//! (`u16`), rights (`u16`) and id (`u32`), little-endian.

/// The text of an ACL with numeric ids, such as `user::rw-,user:7:r--,…`; none if `value` is not
/// an ACL.
pub(super) fn text(value: &[u8]) -> Option<String> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != 2 || !rest.is_empty() {
        return None;
    }
    let lines: Option<Vec<_>> = entries.iter().map(entry).collect();
    Some(lines?.join(","))
}

fn entry(bytes: &[u8; 8]) -> Option<String> {
    let [tag_lo, tag_hi, rights, 0, id @ ..] = bytes else { return None };
    let id = u32::from_le_bytes(*id);
    let who = match u16::from_le_bytes([*tag_lo, *tag_hi]) {
        1 => "user:".to_owned(),
        2 => format!("user:{id}"),
        4 => "group:".to_owned(),
        8 => format!("group:{id}"),
        16 => "mask:".to_owned(),
        32 => "other:".to_owned(),
        _ => return None,
    };
    let right = |bit: u8, letter| if rights & bit != 0 { letter } else { '-' };
    let rights = (*rights < 8).then(|| [right(4, 'r'), right(2, 'w'), right(1, 'x')])?;
    Some(format!("{who}:{}", rights.iter().collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_acls_become_text_and_nothing_else_does() {
        let mut acl = vec![2, 0, 0, 0];
        for (tag, rights, id) in
            [(1u8, 6u8, u32::MAX), (2, 7, 77), (4, 4, u32::MAX), (8, 1, 5), (16, 7, 0), (32, 0, 0)]
        {
            acl.extend([tag, 0, rights, 0]);
            acl.extend(id.to_le_bytes());
        }
        let expected = "user::rw-,user:77:rwx,group::r--,group:5:--x,mask::rwx,other::---";
        assert_eq!(text(&acl).as_deref(), Some(expected));
        for (at, value) in [(0, 1), (4, 3), (6, 8), (7, 1)] {
            let mut bad = acl.clone();
            bad[at] = value;
            assert_eq!(text(&bad), None, "byte {at}");
        }
        assert_eq!(text(&acl[..acl.len() - 1]), None);
        assert_eq!(text(&[]), None);
    }
}
