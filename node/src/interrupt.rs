//! Ctrl-C: ends the program at once, except while a job is waited for: then the first one asks.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::exit::Exit;

/// Whether somebody polls [`taken`] now.
static ASKING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Installs the handler. A killed program leaves nothing that the next opening does not repair, so
/// leaving at once is safe.
pub(crate) fn install() {
    let handler = || {
        let earlier = COUNT.fetch_add(1, Ordering::SeqCst);
        if !ASKING.load(Ordering::SeqCst) || earlier > 0 {
            std::process::exit(i32::from(Exit::Interrupted.code()));
        }
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        log::warn!("no handler for Ctrl-C: {error}");
    }
}

/// While this lives, the first Ctrl-C is only counted; the second ends the program.
pub(crate) struct Asking(());

impl Asking {
    pub(crate) fn start() -> Self {
        COUNT.store(0, Ordering::SeqCst);
        ASKING.store(true, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASKING.store(false, Ordering::SeqCst);
    }
}

/// Whether Ctrl-C came since [`Asking::start`].
pub(crate) fn taken() -> bool {
    COUNT.load(Ordering::SeqCst) > 0
}
