//! How a secret lies in Postgres and on the wire between control and the
//! proxies: enveloped.
//!
//! A fresh data key encrypts the secret (AES-256-GCM); the data key itself is
//! there only wrapped, by KMS or by the local key. Both layers are bound to the
//! id of the access key that the secret is for, so that none is opened for
//! another one by mistake. Which id that is stands beside the secret, because
//! rotation carries secrets over unopened: who can write to the table can move
//! both, as they can give themselves anybody's access key.
//!
//! ```text
//! byte 0      version, 1
//! byte 1      who wrapped the data key: 1 KMS, 2 the local key
//! bytes 2-3   length of the wrapped data key, big-endian
//! …           the wrapped data key
//! 12 bytes    nonce
//! …           ciphertext and tag
//! ```

use std::fmt;

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Nonce, Payload},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The name under which KMS is told the access key's id (its encryption
/// context).
pub const CONTEXT: &str = "access_key_id";

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;

/// A key that encrypts one secret. Wiped when dropped.
pub type DataKey = Zeroizing<[u8; 32]>;

/// Who can unwrap the data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapper {
    /// KMS (`PROXY_KMS_KEY_ID`).
    Kms,
    /// The local key (`PROXY_LOCAL_ENCRYPTION_KEY`).
    Local,
}

/// A secret that nobody can read without its data key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub wrapper: Wrapper,
    pub wrapped_key: Vec<u8>,
    nonce: [u8; NONCE_BYTES],
    ciphertext: Vec<u8>,
}

/// The local key, with which data keys are wrapped where there is no KMS.
#[derive(Clone)]
pub struct LocalKey(DataKey);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("the sealed secret is cut off")]
    CutOff,
    #[error("version {0} of the layout is unknown")]
    Version(u8),
    #[error("wrapper {0} is unknown")]
    Wrapper(u8),
    #[error("the wrapped data key is longer than 65535 bytes")]
    WrappedKeyTooLong,
    #[error("it was changed, belongs to another access key, or was sealed with another key")]
    Refused,
}

impl Wrapper {
    fn byte(self) -> u8 {
        match self {
            Self::Kms => 1,
            Self::Local => 2,
        }
    }
}

impl TryFrom<u8> for Wrapper {
    type Error = Error;

    fn try_from(byte: u8) -> Result<Self, Error> {
        match byte {
            1 => Ok(Self::Kms),
            2 => Ok(Self::Local),
            unknown => Err(Error::Wrapper(unknown)),
        }
    }
}

impl Sealed {
    /// Seals a secret with a data key whose wrapped form is given, for one
    /// access key.
    ///
    /// # Errors
    ///
    /// The wrapped key is too long for the layout.
    pub fn seal(
        secret: &[u8],
        access_key_id: &str,
        data_key: &DataKey,
        wrapper: Wrapper,
        wrapped_key: Vec<u8>,
    ) -> Result<Self, Error> {
        if u16::try_from(wrapped_key.len()).is_err() {
            return Err(Error::WrappedKeyTooLong);
        }
        let (nonce, ciphertext) = encrypt(data_key, secret, &associated(wrapper, access_key_id))?;
        Ok(Self {
            wrapper,
            wrapped_key,
            nonce,
            ciphertext,
        })
    }

    /// The secret, with the unwrapped data key.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] when anything does not belong together.
    pub fn open(
        &self,
        access_key_id: &str,
        data_key: &DataKey,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let associated = associated(self.wrapper, access_key_id);
        decrypt(data_key, self.nonce, &self.ciphertext, &associated)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let length = u16::try_from(self.wrapped_key.len()).unwrap_or(u16::MAX);
        [
            &[VERSION, self.wrapper.byte()],
            &length.to_be_bytes()[..],
            &self.wrapped_key,
            &self.nonce,
            &self.ciphertext,
        ]
        .concat()
    }
}

impl TryFrom<&[u8]> for Sealed {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        let (&[version, wrapper, high, low], rest) =
            bytes.split_first_chunk().ok_or(Error::CutOff)?;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let wrapper = Wrapper::try_from(wrapper)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (wrapped_key, rest) = rest.split_at_checked(length).ok_or(Error::CutOff)?;
        let (nonce, ciphertext) = rest.split_first_chunk().ok_or(Error::CutOff)?;
        Ok(Self {
            wrapper,
            wrapped_key: wrapped_key.to_vec(),
            nonce: *nonce,
            ciphertext: ciphertext.to_vec(),
        })
    }
}

impl LocalKey {
    /// The key that a text of any length stands for.
    #[expect(clippy::expect_used, reason = "the message says why it cannot fail")]
    pub fn new(text: &str) -> Self {
        // A key for one purpose is not the key for another, though the text is.
        let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(text.as_bytes())
            .expect("HMAC takes keys of every length");
        mac.update(b"claude-code-proxy: wraps data keys, version 1");
        Self(Zeroizing::new(mac.finalize().into_bytes().into()))
    }

    /// A fresh data key and its wrapped form.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub fn generate(&self, access_key_id: &str) -> Result<(DataKey, Vec<u8>), Error> {
        let data_key = DataKey::new(rand::random());
        let associated = associated(Wrapper::Local, access_key_id);
        let (nonce, ciphertext) = encrypt(&self.0, data_key.as_slice(), &associated)?;
        Ok((data_key, [&nonce[..], &ciphertext].concat()))
    }

    /// The data key from its wrapped form.
    ///
    /// # Errors
    ///
    /// It was wrapped by another key or for another access key, or changed.
    pub fn unwrap_key(&self, wrapped: &[u8], access_key_id: &str) -> Result<DataKey, Error> {
        let (nonce, ciphertext) = wrapped.split_first_chunk().ok_or(Error::CutOff)?;
        let associated = associated(Wrapper::Local, access_key_id);
        data_key(&decrypt(&self.0, *nonce, ciphertext, &associated)?)
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKey")
    }
}

/// The data key from its bytes.
///
/// # Errors
///
/// There are not 32 of them.
pub fn data_key(bytes: &[u8]) -> Result<DataKey, Error> {
    let mut key = DataKey::default();
    if bytes.len() != key.len() {
        return Err(Error::CutOff);
    }
    key.copy_from_slice(bytes);
    Ok(key)
}

/// What the ciphertext is bound to. Ids have no zero byte, so nothing can be
/// shifted between the parts.
fn associated(wrapper: Wrapper, access_key_id: &str) -> Vec<u8> {
    [
        &[VERSION, wrapper.byte()],
        CONTEXT.as_bytes(),
        &[0],
        access_key_id.as_bytes(),
    ]
    .concat()
}

fn encrypt(key: &DataKey, msg: &[u8], aad: &[u8]) -> Result<([u8; NONCE_BYTES], Vec<u8>), Error> {
    let nonce: [u8; NONCE_BYTES] = rand::random();
    let ciphertext = cipher(key)?
        .encrypt(&Nonce::<Aes256Gcm>::from(nonce), Payload { msg, aad })
        .map_err(|aes_gcm::aead::Error| Error::Refused)?;
    Ok((nonce, ciphertext))
}

fn decrypt(
    key: &DataKey,
    nonce: [u8; NONCE_BYTES],
    msg: &[u8],
    aad: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    cipher(key)?
        .decrypt(&Nonce::<Aes256Gcm>::from(nonce), Payload { msg, aad })
        .map(Zeroizing::new)
        .map_err(|aes_gcm::aead::Error| Error::Refused)
}

fn cipher(key: &DataKey) -> Result<Aes256Gcm, Error> {
    Aes256Gcm::new_from_slice(key.as_slice()).map_err(|_length| Error::CutOff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(access_key_id: &str) -> (LocalKey, Sealed) {
        let local = LocalKey::new("a local key");
        let (data_key, wrapped) = local.generate(access_key_id).unwrap();
        let sealed =
            Sealed::seal(b"secret", access_key_id, &data_key, Wrapper::Local, wrapped).unwrap();
        (local, sealed)
    }

    fn open(local: &LocalKey, bytes: &[u8], access_key_id: &str) -> Result<Vec<u8>, Error> {
        let sealed = Sealed::try_from(bytes)?;
        let data_key = local.unwrap_key(&sealed.wrapped_key, access_key_id)?;
        Ok(sealed.open(access_key_id, &data_key)?.to_vec())
    }

    #[test]
    fn what_was_sealed_opens_for_the_same_access_key() {
        let (local, sealed) = sealed("key-1");
        let bytes = sealed.to_bytes();
        assert_eq!(Sealed::try_from(&bytes[..]).unwrap(), sealed);
        assert_eq!(open(&local, &bytes, "key-1").unwrap(), b"secret");
        assert_eq!(open(&local, &bytes, "key-2"), Err(Error::Refused));
        let other = LocalKey::new("another local key");
        assert_eq!(open(&other, &bytes, "key-1"), Err(Error::Refused));
    }

    #[test]
    fn the_data_key_alone_does_not_move_a_secret_to_another_access_key() {
        let (local, sealed) = sealed("key-1");
        let data_key = local.unwrap_key(&sealed.wrapped_key, "key-1").unwrap();
        assert_eq!(sealed.open("key-2", &data_key), Err(Error::Refused));
    }

    #[test]
    fn a_change_of_any_byte_is_noticed() {
        let (local, sealed) = sealed("key-1");
        let bytes = sealed.to_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(open(&local, &changed, "key-1").is_err(), "byte {at}");
        }
        for length in 0..bytes.len() {
            assert!(open(&local, &bytes[..length], "key-1").is_err(), "{length}");
        }
    }

    #[test]
    fn no_two_seals_are_alike() {
        assert_ne!(sealed("key-1").1.to_bytes(), sealed("key-1").1.to_bytes());
        assert!(
            !sealed("key-1")
                .1
                .to_bytes()
                .windows(6)
                .any(|it| it == b"secret")
        );
    }
}
