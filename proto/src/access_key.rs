//! How an access key looks, and the only form in which it is kept.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Every raw access key begins with this.
pub const PREFIX: &str = "ak_";

/// Characters of a raw key that may be shown to recognise it: the prefix and six
/// of its own (36 of 256 bits).
pub const SHOWN_LEN: usize = 9;

/// The random part: 32 bytes, 43 characters of unpadded base64url.
const SECRET_BYTES: usize = 32;
const SECRET_CHARS: usize = 43;

/// HMAC-SHA256 of a raw access key. This is what Postgres, the wire and the
/// proxy's index hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash([u8; 32]);

/// A hash must have 32 bytes.
#[derive(Debug, thiserror::Error)]
#[error("an access key hash has 32 bytes, not {0}")]
pub struct WrongLength(usize);

/// Hashes raw keys under the deployment's secret (`PROXY_KEY_HASHER_SECRET`).
#[derive(Clone)]
pub struct Hasher(Hmac<Sha256>);

/// Makes the raw key of 32 random bytes: `ak_` and 43 base64url characters.
pub fn raw(random: &[u8; SECRET_BYTES]) -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}

/// Tells whether a text has the shape of a raw key. Anything else need not be
/// hashed.
pub fn is_well_formed(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|secret| {
        secret.len() == SECRET_CHARS
            && secret
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

impl KeyHash {
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<&[u8]> for KeyHash {
    type Error = WrongLength;

    fn try_from(bytes: &[u8]) -> Result<Self, WrongLength> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_length| WrongLength(bytes.len()))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

impl Hasher {
    /// Takes a secret of any length; settings refuse an empty one.
    pub fn new(secret: &[u8]) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
        let mac = Hmac::new_from_slice(secret).expect("HMAC takes keys of every length");
        Self(mac)
    }

    pub fn hash(&self, raw_key: &str) -> KeyHash {
        let mut mac = self.0.clone();
        mac.update(raw_key.as_bytes());
        KeyHash(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_is_well_formed() {
        let key = raw(&[0xfb; 32]);
        assert_eq!(key.len(), 46);
        assert!(is_well_formed(&key), "{key}");
    }

    #[test]
    fn other_texts_are_not() {
        for text in [
            "",
            "ak_",
            "ak_short",
            &"a".repeat(46),
            &format!("ak_{}", "a".repeat(42)),
            &format!("ak_{}", "a".repeat(44)),
            &format!("ak_{}=", "a".repeat(42)),
            &format!("ak_{}é", "a".repeat(41)),
            &format!("sk_{}", "a".repeat(43)),
        ] {
            assert!(!is_well_formed(text), "{text:?}");
        }
    }

    /// RFC 4231, test case 2, so that other tools can compute the same hash.
    #[test]
    fn the_hash_is_hmac_sha256() {
        let hash = Hasher::new(b"Jefe").hash("what do ya want for nothing?");
        assert_eq!(
            hash.as_bytes()[..8],
            [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]
        );
    }

    #[test]
    fn debug_shows_neither_secret_nor_hash() {
        let hasher = Hasher::new(b"secret-of-the-hasher");
        assert_eq!(format!("{hasher:?}"), "Hasher");
        assert!(format!("{:?}", hasher.hash("ak_x")).len() < 20);
    }
}
