//! Ready-made twins of the small seams, for a host that has nothing better: the machine's clocks in UTC, a number that
//! tells clusters apart, and a vault that takes no secrets. A node with time zones or secrets brings its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use holdfast_broker::Broker;
use holdfast_journal::Journal;
use holdfast_storage::Storage;

use crate::blobs::BrokerBlobs;
use crate::engine::{Options, Parts};
use crate::event::Event;
use crate::seams::{Brokers, Clock, Entropy, Vault};

/// The machine's clocks; times are shown in UTC.
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Monotonic time begins now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the real side of the `Clock` seam"
    )]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the real side of the `Clock` seam"
    )]
    fn wall_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the real side of the `Clock` seam"
    )]
    fn mono_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn utc_offset_seconds(&self, _wall_ms: u64) -> i32 {
        0
    }
}

/// A number made of the time, the process and an address: enough to tell clusters apart, no secret.
#[derive(Default)]
pub struct ProcessEntropy;

impl Entropy for ProcessEntropy {
    #[expect(
        clippy::disallowed_methods,
        reason = "the real side of the `Entropy` seam"
    )]
    fn random(&self) -> u128 {
        let here = std::ptr::from_ref(self).addr();
        let seed = format!("{:?} {} {here}", SystemTime::now(), std::process::id());
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&blake3::hash(seed.as_bytes()).as_bytes()[..16]);
        u128::from_le_bytes(bytes)
    }
}

/// A vault without a key: it passes an empty set of properties and refuses any other, so that no secret can reach
/// the journal in the clear.
#[derive(Default)]
pub struct NoSecrets;

impl Vault for NoSecrets {
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String> {
        if plain == b"{}" {
            return Ok(plain.to_vec());
        }
        Err("this node has no key to seal properties with; give the engine a vault".to_owned())
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        self.seal(sealed)
    }
}

impl<F> Brokers for F
where
    F: Fn(&str) -> Result<Arc<dyn Broker>, String> + Send + Sync,
{
    /// A function from location to broker is a finder for hosts without named brokers and properties.
    fn connect(
        &self,
        broker: Option<&str>,
        location: &str,
        properties: &BTreeMap<String, String>,
    ) -> Result<Arc<dyn Broker>, String> {
        if let Some(name) = broker {
            return Err(format!(
                "broker '{name}' is not registered; this node knows none by name"
            ));
        }
        if let Some(key) = properties.keys().next() {
            return Err(format!(
                "unknown property '{key}': this node's repositories take none"
            ));
        }
        self(location)
    }
}

impl Parts {
    /// Parts with the twins of this module and default sizes. `work` is where plans go: a broker on a local folder.
    pub fn new(
        journal: Arc<dyn Journal<Event>>,
        storage: Arc<dyn Storage>,
        work: Arc<dyn Broker>,
        brokers: Arc<dyn Brokers>,
    ) -> Self {
        Self {
            journal,
            storage,
            blobs: Arc::new(BrokerBlobs::new(work)),
            brokers,
            vault: Arc::new(NoSecrets),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(ProcessEntropy),
            options: Options::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_without_a_key_refuses_any_property() {
        assert_eq!(NoSecrets.seal(b"{}").unwrap(), b"{}");
        assert!(
            NoSecrets
                .seal(br#"{"password":"x"}"#)
                .unwrap_err()
                .contains("vault")
        );
    }

    #[test]
    fn two_numbers_differ() {
        let (one, two) = (ProcessEntropy, ProcessEntropy);
        assert_ne!(one.random(), two.random());
    }
}
