//! [`Progress`]: one line at the bottom of a terminal that says what is going on, and is gone before anything else
//! is printed.

use std::cell::RefCell;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::stopwatch;

/// Faster than this nobody can read.
const STEP: Duration = Duration::from_millis(100);

/// The line is cut here, so that it never wraps in a terminal of 80 columns: what wraps cannot be taken back.
const CHARS_MAX: usize = 78;

/// Writes to standard error if that is a terminal, and else nothing. Clones share one line.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Option<Rc<RefCell<Line>>>);

#[derive(Debug, Default)]
struct Line {
    task: String,
    shown: bool,
    changed: Option<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress(std::io::stderr().is_terminal().then(Rc::default))
    }

    /// Names what is being done now.
    pub(crate) fn begin(&self, task: fmt::Arguments<'_>) {
        if let Some(line) = &self.0 {
            let mut line = line.borrow_mut();
            line.task = task.to_string();
            line.show("");
            line.changed = None;
        }
    }

    /// Says how far it is.
    pub(crate) fn say(&self, detail: fmt::Arguments<'_>) {
        if let Some(line) = &self.0 {
            let mut line = line.borrow_mut();
            if line.changed.is_none_or(|changed| stopwatch::now() - changed >= STEP) {
                line.show(&format!(": {detail}"));
            }
        }
    }

    /// Takes the line back.
    pub(crate) fn clear(&self) {
        if let Some(line) = &self.0 {
            let mut line = line.borrow_mut();
            if std::mem::take(&mut line.shown) {
                put("\r\x1b[2K");
            }
        }
    }
}

impl Line {
    fn show(&mut self, detail: &str) {
        let text: String = format!("{}{detail}", self.task).chars().take(CHARS_MAX).collect();
        put(&format!("\r\x1b[2K{text}"));
        self.shown = true;
        self.changed = Some(stopwatch::now());
    }
}

/// A terminal that is gone is no reason to stop.
fn put(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
