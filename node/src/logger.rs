//! The program's logger: lines on stderr, level by `HOLDFAST_LOG`. Libraries only use the facade.

use log::{LevelFilter, Log, Metadata, Record};

use crate::out;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_lowercase();
            out::note(format_args!(
                "{level}: {}: {}",
                record.target(),
                record.args()
            ));
        }
    }

    fn flush(&self) {}
}

/// Installs the logger. An unknown level is said and taken for `warn`.
pub(crate) fn install() {
    let wanted = std::env::var("HOLDFAST_LOG").unwrap_or_default();
    let level = match wanted.trim().to_ascii_lowercase().as_str() {
        "" | "warn" => LevelFilter::Warn,
        "off" => LevelFilter::Off,
        "error" => LevelFilter::Error,
        "info" => LevelFilter::Info,
        "debug" => LevelFilter::Debug,
        "trace" => LevelFilter::Trace,
        other => {
            out::note(format_args!(
                "warn: HOLDFAST_LOG is '{other}', expected off, error, warn, info, debug or trace"
            ));
            LevelFilter::Warn
        }
    };
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}
