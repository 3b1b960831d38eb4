//! Progress bars on standard error: only on terminals, and only for work that takes longer than a moment.

use std::{
    io::{self, IsTerminal},
    sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use pellucid::{core, models::source};

use crate::interrupt;

/// What is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A bar that shows itself when it is needed.
pub(crate) struct Bar {
    watched: bool,
    work: Mutex<Option<Work>>,
}

struct Work {
    what: String,
    total: Option<u64>,
    bytes: bool,
    done: u64,
    since: Instant,
    shown: Option<ProgressBar>,
}

impl Bar {
    pub(crate) fn new() -> Self {
        Self { watched: io::stderr().is_terminal(), work: Mutex::new(None) }
    }

    fn work(&self) -> MutexGuard<'_, Option<Work>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, what: &str, total: Option<u64>, bytes: bool) {
        self.finish();
        if self.watched {
            *self.work() = Some(Work { what: what.into(), total, bytes, done: 0, since: Instant::now(), shown: None });
        }
    }

    fn more(&self, amount: u64) {
        if let Some(work) = &mut *self.work() {
            work.done += amount;
            match &work.shown {
                Some(bar) => bar.set_position(work.done),
                None if work.since.elapsed() > PATIENCE => work.shown = Some(work.show()),
                None => {}
            }
        }
    }

    fn finish(&self) {
        if let Some(Work { shown: Some(bar), .. }) = self.work().take() {
            bar.finish_and_clear();
        }
    }
}

impl Work {
    fn show(&self) -> ProgressBar {
        let bar = self.total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = match (self.total, self.bytes) {
            (Some(_), true) => "{msg}  {bar:30}  {bytes} of {total_bytes}, {eta} left",
            (Some(_), false) => "{msg}  {bar:30}  {percent} %, {eta} left",
            (None, true) => "{msg}  {spinner} {bytes}",
            (None, false) => "{msg}  {spinner} {elapsed}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the templates above are well formed").progress_chars("█▌ "));
        bar.set_message(self.what.clone());
        bar.set_position(self.done);
        let bar = bar.with_elapsed(self.since.elapsed());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

impl core::Progress for Bar {
    fn begin(&self, what: &str, total: u64) {
        self.start(what, Some(total), false);
    }

    fn advance(&self, amount: u64) {
        self.more(amount);
    }

    fn end(&self) {
        self.finish();
    }
}

impl source::Progress for Bar {
    fn begin(&self, name: &str, total: Option<u64>) {
        self.start(name, total, true);
    }

    fn advance(&self, bytes: u64) {
        self.more(bytes);
    }

    fn end(&self) {
        self.finish();
    }

    fn interrupted(&self) -> bool {
        interrupt::flag().load(Ordering::Relaxed)
    }
}
