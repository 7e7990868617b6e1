//! What the engine gets from the machine: clocks, randomness, and the vault that seals secrets with
//! the data folder's key. Knows no job and no table.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use holdfast_engine::{Clock, Entropy, Vault};
use jiff::{Timestamp, tz::TimeZone};

/// The machine's clocks, with the time zone of the environment (`TZ`, else the system's).
pub(crate) struct SystemClock {
    start: Instant,
    zone: TimeZone,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            zone: TimeZone::system(),
        }
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }

    fn mono_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn utc_offset_seconds(&self, wall_ms: u64) -> i32 {
        i64::try_from(wall_ms)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .map_or(0, |at| self.zone.to_offset(at).seconds())
    }
}

/// `yyyy-MM-dd HH:mm:ss.SSS` in the clock's zone, for tools.
pub(crate) fn time_text(clock: &dyn Clock, wall_ms: u64) -> String {
    let local = i64::try_from(wall_ms)
        .unwrap_or(i64::MAX)
        .saturating_add(i64::from(clock.utc_offset_seconds(wall_ms)) * 1000);
    match Timestamp::from_millisecond(local) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
        Err(_) => format!("{wall_ms} ms"),
    }
}

/// Randomness of the operating system.
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn random(&self) -> u128 {
        let mut bytes = [0_u8; 16];
        if let Err(error) = getrandom::fill(&mut bytes) {
            // The engine asks once in the life of a folder. Time and process id still tell
            // folders apart, which is all that is asked of the number.
            log::warn!("the system gives no random bytes: {error}");
            let seed = format!("{:?} {}", SystemTime::now(), std::process::id());
            bytes.copy_from_slice(&blake3::hash(seed.as_bytes()).as_bytes()[..16]);
        }
        u128::from_le_bytes(bytes)
    }
}

/// Length of the key in bytes.
pub(crate) const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const ID_BYTES: usize = 8;
/// First byte of what [`KeyVault`] seals, so that another cipher can follow one day.
const FORMAT: u8 = 1;

/// Seals with XChaCha20-Poly1305 under the folder's key. Layout: format, key id, nonce, text.
pub(crate) struct KeyVault {
    cipher: XChaCha20Poly1305,
    id: [u8; ID_BYTES],
}

impl KeyVault {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut id = [0_u8; ID_BYTES];
        let digest = blake3::derive_key("holdfast data folder key id", key);
        id.copy_from_slice(&digest[..ID_BYTES]);
        Self {
            cipher: XChaCha20Poly1305::new(&Key::from(*key)),
            id,
        }
    }

    /// As a seam of the engine.
    pub(crate) fn shared(key: &[u8; KEY_BYTES]) -> Arc<dyn Vault> {
        Arc::new(Self::new(key))
    }
}

impl Vault for KeyVault {
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String> {
        let mut nonce = [0_u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| format!("no random bytes: {error}"))?;
        let mut sealed = vec![FORMAT];
        sealed.extend_from_slice(&self.id);
        let payload = Payload {
            msg: plain,
            aad: &sealed,
        };
        let text = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| "the secret is too long to be sealed".to_owned())?;
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (head, rest) = sealed
            .split_at_checked(1 + ID_BYTES)
            .ok_or_else(|| format!("sealed secret of {} bytes is cut short", sealed.len()))?;
        if head[0] != FORMAT {
            return Err(format!(
                "sealed secret has format {}, expected {FORMAT}",
                head[0]
            ));
        }
        if head[1..] != self.id {
            return Err(
                "secret was sealed with another key: put the data folder's file 'key' \
                        back, or drop the repository and create it again"
                    .to_owned(),
            );
        }
        let (nonce, text) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or_else(|| format!("sealed secret of {} bytes is cut short", sealed.len()))?;
        self.cipher
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: text,
                    aad: head,
                },
            )
            .map_err(|_| "sealed secret was changed since it was sealed".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_secret_opens_with_its_key_only() {
        let vault = KeyVault::new(&[7; KEY_BYTES]);
        let sealed = vault.seal(b"password").unwrap();
        assert!(!sealed.windows(8).any(|part| part == b"password"));
        assert_eq!(vault.open(&sealed).unwrap(), b"password");
        let other = KeyVault::new(&[8; KEY_BYTES]).open(&sealed).unwrap_err();
        assert!(other.contains("another key"), "{other}");
    }

    #[test]
    fn a_changed_or_cut_secret_is_refused() {
        let vault = KeyVault::new(&[7; KEY_BYTES]);
        let sealed = vault.seal(b"password").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(vault.open(&changed).is_err(), "byte {at}");
            assert!(vault.open(&sealed[..at]).is_err(), "cut at {at}");
        }
    }
}
