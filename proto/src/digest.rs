//! One number for a whole state, so that drift is found whatever its cause.
//!
//! The digest of a state is the XOR of [`of`] over its resources; the empty
//! state has digest 0. Control computes it in SQL, the proxy adds up as it
//! applies; a test holds the two together.

use sha2::{Digest, Sha256};

/// The first 8 bytes, big-endian, of SHA-256 over `"{kind}/{id}@{version}"`,
/// where kind is the enum's number in decimal, also of a kind that this version
/// does not know.
pub fn of(kind: impl Into<i32>, id: &str, version: u64) -> u64 {
    let kind: i32 = kind.into();
    let hash = Sha256::digest(format!("{kind}/{id}@{version}"));
    hash.iter()
        .take(8)
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Kind;

    /// `printf '1/a@7' | sha256sum` begins with these digits.
    #[test]
    fn is_the_head_of_sha256() {
        let expected = u64::from_str_radix("da8395894fbc76a8", 16).unwrap();
        assert_eq!(of(Kind::AccessKey, "a", 7), expected);
    }
}
