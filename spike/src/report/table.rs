//! [`Table`]: rows that line up, printed one by one as they are known, within the width of a page.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use credentials::Host;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Entry, Summary};

/// The widths of scenario, store, result and time. The last column takes the rest of [`WIDTH`].
const COLUMNS: [usize; 4] = [20, 8, 11, 7];
const GAP: usize = 2;
/// A terminal on half a screen, and a code block on the web.
const WIDTH: usize = 120;
const INDENT: usize = COLUMNS[0] + COLUMNS[1] + COLUMNS[2] + COLUMNS[3] + COLUMNS.len() * GAP;

/// Prints to standard output; what is a terminal gets colours, unless `NO_COLOR` asks for none.
#[derive(Debug)]
pub(crate) struct Table {
    colours: bool,
}

impl Table {
    pub(crate) fn new(host: &Host) -> Table {
        let unwanted = host.var("NO_COLOR").is_some_and(|value| !value.is_empty());
        Table { colours: std::io::stdout().is_terminal() && !unwanted }
    }

    /// A line by itself.
    pub(crate) fn line(&self, text: &str) {
        // A reader that went away (`spike | head`) is no reason not to finish and clean up.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    pub(crate) fn head(&self) {
        self.line(&row(["scenario", "store", "result", "time"], "what was checked", str::to_owned));
        self.line(&"-".repeat(WIDTH));
    }

    pub(crate) fn entry(&self, entry: &Entry) {
        let time = seconds(entry.took);
        let cells = [entry.scenario, &entry.store, entry.result(), &time];
        self.line(&row(cells, entry.detail(), |result| self.coloured(result)));
    }

    pub(crate) fn summary(&self, summary: Summary, took: Duration) {
        let Summary { passed, failed, unsupported } = summary;
        let mut text = format!("\n{passed} passed, {failed} failed, {unsupported} unsupported");
        if unsupported > 0 {
            text.push_str(" (not promised by the store, and refused as it must be)");
        }
        self.line(&format!("{text} in {}", seconds(took)));
    }

    fn coloured(&self, result: &str) -> String {
        let colour = match result.trim_end() {
            _ if !self.colours => return result.to_owned(),
            "passed" => 32,
            "FAILED" => 31,
            _ => 33,
        };
        format!("\x1b[{colour}m{result}\x1b[0m")
    }
}

fn row(cells: [&str; 4], text: &str, colour: impl Fn(&str) -> String) -> String {
    let mut row = String::new();
    for (index, (cell, width)) in cells.iter().zip(COLUMNS).enumerate() {
        // Pad by columns of the terminal, not by characters: some take two, some none.
        let padding = " ".repeat(width.saturating_sub(cell.width()));
        match index {
            2 => row.push_str(&colour(&format!("{cell}{padding}"))),
            3 => row.push_str(&format!("{padding}{cell}")),
            _ => row.push_str(&format!("{cell}{padding}")),
        }
        row.push_str(&" ".repeat(GAP));
    }
    let lines = wrap(&printable(text), WIDTH - INDENT);
    row.push_str(&lines.join(&format!("\n{}", " ".repeat(INDENT))));
    row.trim_end().to_owned()
}

/// A time, as precise as it is useful.
pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        short if short < 10.0 => format!("{short:.3} s"),
        long => format!("{long:.1} s"),
    }
}

/// What a store said must not move the cursor.
fn printable(text: &str) -> String {
    let mut printable = String::new();
    for c in text.chars() {
        if c.is_control() { printable.extend(c.escape_default()) } else { printable.push(c) }
    }
    printable
}

/// Lines of at most `width` columns, broken at blanks where there are any.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() {
            if line.width() + 1 + word.width() > width {
                lines.push(std::mem::take(&mut line));
            } else {
                line.push(' ');
            }
        }
        for c in word.chars() {
            if line.width() + c.width().unwrap_or(0) > width {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_line_up_whatever_the_characters_and_no_line_is_wider_than_the_page() {
        let long = "é/😀 日本語 ".repeat(20) + &"x".repeat(300);
        for text in ["short", &long] {
            let row = row(["put-and-get", "日本", "passed", "0.001 s"], text, str::to_owned);
            for (index, line) in row.lines().enumerate() {
                assert!(line.width() <= WIDTH, "{} columns: {line}", line.width());
                if index == 0 {
                    let before = line.find(&text[..2]).expect("the text begins on the first line");
                    assert_eq!(line[..before].width(), INDENT, "{line}");
                } else {
                    assert!(line.starts_with(&" ".repeat(INDENT)), "{line}");
                }
            }
        }
    }

    #[test]
    fn what_a_store_said_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }
}
