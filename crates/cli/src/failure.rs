//! What went wrong, in a line on standard error and an exit code.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anstyle::{AnsiColor, Style};
use pellucid::Error;

/// Prints the error and says what the process ends with.
pub(crate) fn report(error: &Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS; // whoever reads has seen enough
    }
    say(error);
    ExitCode::from(code(error))
}

/// `error: …` on standard error. Where even that cannot be written, nobody is left to tell.
pub(crate) fn say(error: &Error) {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    let _ = writeln!(anstream::AutoStream::auto(io::stderr()), "{red}error:{red:#} {error}");
}

/// Whether it is only that nobody reads standard output any more.
pub(crate) fn is_broken_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
}

fn code(error: &Error) -> u8 {
    match error {
        Error::Request(_) | Error::Unsupported(_) => 2,
        Error::Interrupted => 130,
        _ => 1,
    }
}
