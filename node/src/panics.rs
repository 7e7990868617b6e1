//! What a panic prints. The journal's index (sled) may panic on a damaged folder; the journal
//! catches that and builds the index anew, so it is no news for stderr.

/// Installs the hook; any other panic prints as ever.
pub(crate) fn install() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |about| {
        if about
            .location()
            .is_some_and(|at| at.file().contains("/sled-"))
        {
            log::debug!("caught in the journal's index: {about}");
        } else {
            usual(about);
        }
    }));
}
