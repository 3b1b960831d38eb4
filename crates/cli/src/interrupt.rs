//! Ctrl-C: the first asks the work to stop, the second ends the process.

use std::{
    process,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
};

use pellucid::Error;

static FLAG: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    let handler = move || {
        if set.swap(true, Ordering::Relaxed) {
            process::exit(130);
        }
    };
    // Where it cannot be set, Ctrl-C ends the process at once, as it would without us.
    let _ = ctrlc::set_handler(handler);
    flag
});

/// Becomes true when the person asks to stop. From the first call on; before it Ctrl-C ends the process (a prompt that is being typed).
pub(crate) fn flag() -> Arc<AtomicBool> {
    FLAG.clone()
}

/// What went wrong, unless it went wrong because the person stopped it: Ctrl-C also reaches the programs that we started, and they fail first.
pub(crate) fn or(error: Error) -> Error {
    if flag().load(Ordering::Relaxed) { Error::Interrupted } else { error }
}
