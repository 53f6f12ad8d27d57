//! The administrator's password: only its hash is known here.

use std::{fmt, str::FromStr};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc},
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A hash that a password can be compared with.
#[derive(Clone)]
pub enum PasswordHash {
    Argon2(Box<phc::PasswordHash>),
    /// The older form: fast to compute, hence fast to guess.
    Sha256([u8; 32]),
}

/// Neither form.
#[derive(Debug, thiserror::Error)]
#[error("is no Argon2 hash; make one with `claude-code-control hash-password`")]
pub struct Malformed;

/// Hashes a new password; the result is a PHC string.
///
/// # Errors
/// When the system has no randomness for the salt.
pub fn hash(password: &SecretString) -> anyhow::Result<String> {
    argon2()?
        .hash_password(password.expose_secret().as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| anyhow::anyhow!("cannot hash the password: {error}"))
}

/// Hashes a password that is kept elsewhere as it is, always to the same: every
/// replica and every start must agree, because sessions are tied to the hash.
/// Such a hash is not written down, so that it needs no salt of its own.
///
/// # Errors
/// Never in practice.
pub fn hash_of_known(password: &SecretString) -> anyhow::Result<String> {
    let password = password.expose_secret().as_bytes();
    let salt = Sha256::new_with_prefix("claude-code-proxy: salt")
        .chain_update(password)
        .finalize();
    argon2()?
        .hash_password_with_salt(password, &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| anyhow::anyhow!("cannot hash the password: {error}"))
}

/// OWASP's first choice of parameters that need little memory.
fn argon2() -> anyhow::Result<Argon2<'static>> {
    let params = Params::new(19_456, 2, 1, None).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

impl PasswordHash {
    /// Takes tens of milliseconds and megabytes on purpose: not for async
    /// threads.
    pub fn verify(&self, password: &SecretString) -> bool {
        let password = password.expose_secret().as_bytes();
        match self {
            Self::Argon2(hash) => Argon2::default()
                .verify_password(password, hash.as_ref())
                .is_ok(),
            Self::Sha256(hash) => Sha256::digest(password).ct_eq(hash).into(),
        }
    }

    pub fn is_weak(&self) -> bool {
        matches!(self, Self::Sha256(_))
    }
}

impl FromStr for PasswordHash {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.starts_with("$argon2") {
            return phc::PasswordHash::new(text)
                .map(|hash| Self::Argon2(Box::new(hash)))
                .map_err(|_format| Malformed);
        }
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_format| Malformed)?;
        Ok(Self::Sha256(hash))
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argon2(hash) => hash.fmt(f),
            Self::Sha256(hash) => f.write_str(&hex::encode(hash)),
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_password_verifies_and_another_does_not() {
        let text = hash(&SecretString::from("correct horse")).unwrap();
        assert!(text.starts_with("$argon2id$"), "{text}");
        let hash: PasswordHash = text.parse().unwrap();
        assert!(hash.verify(&SecretString::from("correct horse")));
        assert!(!hash.verify(&SecretString::from("correct horse ")));
        assert!(!hash.is_weak());
    }

    /// `printf secret | sha256sum`.
    #[test]
    fn a_sha256_is_understood_and_weak() {
        let hash: PasswordHash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
            .parse()
            .unwrap();
        assert!(hash.verify(&SecretString::from("secret")));
        assert!(!hash.verify(&SecretString::from("Secret")));
        assert!(hash.is_weak());
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "secret", "$argon2id$v=19$nonsense", "2bb8"] {
            assert!(text.parse::<PasswordHash>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn debug_shows_no_hash() {
        let hash = PasswordHash::Sha256([7; 32]);
        assert_eq!(format!("{hash:?}"), "PasswordHash");
    }
}
