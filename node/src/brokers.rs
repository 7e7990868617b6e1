//! Which brokers this program has, by name and by scheme, and the properties that they take. Moves
//! no bytes itself.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use holdfast_broker::{
    Bandwidth, BandwidthLimits, Broker, Calls, LocalBroker, Location, Record, Recorder, Request,
    Retry, RetryPolicy, location,
};
use holdfast_engine::Brokers;
use parking_lot::Mutex;

/// Repository properties that every adapter of this program takes.
const UPLOAD_BANDWIDTH: &str = "upload_bandwidth";
const DOWNLOAD_BANDWIDTH: &str = "download_bandwidth";

/// Short retries below the engine's own: they heal a hiccup without costing a task its attempt.
const RETRIES: RetryPolicy = RetryPolicy {
    tries: 3,
    base: Duration::from_millis(50),
    cap: Duration::from_secs(1),
    seed: 0,
};

/// Whether requests are counted, for those who show figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    Counted,
    Ignored,
}

/// The adapters of this program.
pub(crate) struct Adapters {
    traffic: Traffic,
    recorders: Mutex<Vec<Recorder>>,
}

impl Adapters {
    pub(crate) fn new(traffic: Traffic) -> Self {
        Self {
            traffic,
            recorders: Mutex::default(),
        }
    }

    /// `broker`, counted where that was asked for.
    pub(crate) fn counted(&self, broker: Arc<dyn Broker>) -> Arc<dyn Broker> {
        match self.traffic {
            Traffic::Ignored => broker,
            Traffic::Counted => {
                let record = Record::new(broker, Calls::Counted);
                self.recorders.lock().push(record.recorder());
                Arc::new(record)
            }
        }
    }

    /// Requests of one kind so far, over all brokers.
    pub(crate) fn requests(&self, request: Request) -> u64 {
        self.recorders
            .lock()
            .iter()
            .map(|recorder| recorder.figures().requests(request))
            .sum()
    }
}

impl Brokers for Adapters {
    fn connect(
        &self,
        broker: Option<&str>,
        location: &str,
        properties: &BTreeMap<String, String>,
    ) -> Result<Arc<dyn Broker>, String> {
        if let Some(name) = broker {
            return Err(format!(
                "broker '{name}' is not registered, expected WITH BROKER without a name: this \
                 build reaches a location by its scheme"
            ));
        }
        let limits = bandwidth(properties)?;
        let local = open_local(location)?;
        let local = self.counted(local);
        let retried: Arc<dyn Broker> = match limits {
            Some(limits) => Arc::new(Retry::new(Bandwidth::new(local, limits), RETRIES)),
            None => Arc::new(Retry::new(local, RETRIES)),
        };
        Ok(retried)
    }
}

fn open_local(text: &str) -> Result<Arc<dyn Broker>, String> {
    match location::parse(text).map_err(|error| error.to_string())? {
        Location::Local(path) => match LocalBroker::open(&path) {
            Ok(broker) => Ok(Arc::new(broker)),
            Err(error) => Err(error.to_string()),
        },
        Location::Remote { scheme, .. } => Err(format!(
            "location '{text}' has the scheme '{scheme}', expected file:///absolute/path or an \
             absolute path: no other adapter is in this build"
        )),
    }
}

/// The bounds that the properties set; `None` where they set none.
fn bandwidth(properties: &BTreeMap<String, String>) -> Result<Option<BandwidthLimits>, String> {
    let unknown: Vec<&str> = properties
        .keys()
        .map(String::as_str)
        .filter(|key| ![UPLOAD_BANDWIDTH, DOWNLOAD_BANDWIDTH].contains(key))
        .collect();
    if !unknown.is_empty() {
        return Err(format!(
            "unknown property '{}', a local repository takes '{UPLOAD_BANDWIDTH}' and \
             '{DOWNLOAD_BANDWIDTH}'",
            unknown.join("', '")
        ));
    }
    let rate = |key: &str| {
        properties
            .get(key)
            .map(|text| bytes_per_second(text).map_err(|why| format!("property '{key}' {why}")))
            .transpose()
    };
    let (up, down) = (rate(UPLOAD_BANDWIDTH)?, rate(DOWNLOAD_BANDWIDTH)?);
    Ok((up.is_some() || down.is_some()).then(|| BandwidthLimits::new(up, down)))
}

/// Reads `10485760` or `10 MB`: decimal units as disks and networks have them; `MiB` and its kin
/// are powers of two.
fn bytes_per_second(text: &str) -> Result<NonZeroU64, String> {
    let refuse =
        || format!("is '{text}', expected bytes per second above 0, such as 10485760 or \"10 MB\"");
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let unit = unit.trim().to_ascii_uppercase();
    let unit = unit.strip_suffix("/S").unwrap_or(&unit);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "K" | "KB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "KIB" => 1 << 10,
        "MIB" => 1 << 20,
        "GIB" => 1 << 30,
        _ => return Err(refuse()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .and_then(NonZeroU64::new)
        .ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(
        broker: Option<&str>,
        location: &str,
        properties: &[(&str, &str)],
    ) -> Result<Arc<dyn Broker>, String> {
        let properties = properties
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Adapters::new(Traffic::Ignored).connect(broker, location, &properties)
    }

    fn refusal(broker: Option<&str>, location: &str, properties: &[(&str, &str)]) -> String {
        match connect(broker, location, properties) {
            Ok(_) => panic!("{location} was accepted"),
            Err(text) => text,
        }
    }

    #[test]
    fn a_folder_is_reached_by_uri_and_by_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert!(connect(None, path, &[]).is_ok());
        assert!(
            connect(
                None,
                &format!("file://{path}"),
                &[("upload_bandwidth", "10 MB")]
            )
            .is_ok()
        );
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        assert!(refusal(Some("hdfs_b"), "/tmp", &[]).contains("broker 'hdfs_b'"));
        let text = refusal(None, "s3://bucket/x", &[]);
        assert!(text.contains("'s3'") && text.contains("file:///"), "{text}");
        let text = refusal(None, "/tmp", &[("username", "x")]);
        assert!(
            text.contains("'username'") && text.contains("upload_bandwidth"),
            "{text}"
        );
    }

    #[test]
    fn rates_have_units() {
        let of = |text| bytes_per_second(text).map(NonZeroU64::get);
        assert_eq!(of("1048576"), Ok(1_048_576));
        assert_eq!(of("10 MB"), Ok(10_000_000));
        assert_eq!(of("10mib/s"), Ok(10 << 20));
        for bad in [
            "",
            "0",
            "-1",
            "ten",
            "10 PB",
            "1.5 MB",
            "99999999999999999999",
            "99999999999 GB",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
