//! The matrix as a person reads it: `MATRIX.md`.

use std::fmt::Write as _;

use super::{ATTEMPTS, Cell, Ends, FAULTS, OPS, Said, cells, plays};

const OPENING: &str = "\
# Faults and operations

Generated from `tests/src/matrix/`; `cargo test -p tests --lib matrix` says when it is out of date, and with
`WRITE_MATRIX=1` writes it anew. Every cell below is played by `cargo test -p tests --test matrix`, through a proxy that
commits the fault, before the in-process server and SeaweedFS, over both transports. Rows, columns and symbols are those of
the catalogue of failures.

**What must be in the store afterwards** follows from what the caller got and is the same in every cell, because it is the
promise of the library. It is looked up without the proxy, once at the end and once more after everything that the proxy
held back was carried out:

| the caller got | in the store |
|---|---|
| `Ok` of a write | the write, byte for byte |
| `Ok` of a read | unchanged, and what was read is what is there |
| an error other than `Indeterminate` | unchanged, also later |
| `Indeterminate` | the write, whole, or unchanged |

**Legend.** R try again. R0 try again at once on a new connection, without counting. RT try again after the pause that
throttling asks for. D resume the rest of the range from the same version. E error, final. T certificate refused, not tried
again. X a redirect is not followed. K correct the clock once. C, C1 ask for credentials anew, once. P protocol violation.
I integrity: never accept the bytes. Q tags are normalised. OK counts as success. B10, N, A12: see the plays. W the
condition is never lost silently. A1 to A11 an attempt may have been carried out: overwrites, deletions and parts are sent
again; of conditional writes the operation id decides. Z a late arrival is harmless. U dropped: nothing goes on. `-` the
fault cannot meet the operation.

";

/// The document.
#[must_use]
pub fn document() -> String {
    let cells = cells();
    let applicable: Vec<&Cell> = cells.iter().filter(|cell| cell.is_applicable()).collect();
    let elsewhere = applicable.iter().filter(|cell| cell.elsewhere().is_some()).count();
    let mut out = OPENING.to_owned();
    let (all, applicable) = (cells.len(), applicable.len());
    writeln!(
        out,
        "{all} cells, {applicable} applicable, {} played here and {elsewhere} elsewhere. An operation makes at most \
         {ATTEMPTS} attempts here.\n",
        applicable - elsewhere
    )
    .expect("a String takes everything");
    let heads: Vec<&str> = OPS.iter().map(|op| op.name()).collect();
    out.push_str(&format!(
        "| fault \\ operation | {} |\n|---|{}\n",
        heads.join(" | "),
        "---|".repeat(heads.len())
    ));
    for fault in &FAULTS {
        let symbols: Vec<&str> = fault.symbols.split_whitespace().collect();
        out.push_str(&format!("| {} {} | {} |\n", fault.id, fault.name, symbols.join(" | ")));
    }
    out.push_str(
        "\n# Plays\n\nHow each fault is played, what the caller may get, and how many requests of the operation may be \
         sent. \"For now\" is what is accepted besides: true, and less than what is meant.\n",
    );
    for fault in &FAULTS {
        out.push_str(&format!("\n## {} {}\n\n", fault.id, fault.name));
        let of_fault: Vec<&Cell> = cells.iter().filter(|cell| cell.fault.id == fault.id).collect();
        let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
        let mut note = |line: String, op| match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, ops)) => ops.push(op),
            None => lines.push((line, vec![op])),
        };
        for cell in of_fault.iter().filter(|cell| cell.is_applicable()) {
            if let Some(why) = cell.elsewhere() {
                note(format!("{why} | | | |"), cell.op.name());
            }
            for play in plays(cell) {
                for (times, ends) in [("first attempt", &play.once), ("every attempt", &play.always)] {
                    if let Some(ends) = ends {
                        note(format!("{} | {times} | {}", play.name, said(ends)), cell.op.name());
                    }
                }
            }
        }
        out.push_str("| operations | what happens | to | the caller gets | for now | requests |\n|---|---|---|---|---|---|\n");
        for (line, ops) in lines {
            out.push_str(&format!("| {} | {line} |\n", ops.join(" ")));
        }
    }
    out
}

fn said(ends: &Ends) -> String {
    let names = |said: &[Said]| {
        let names = said.iter().map(|said| said.map_or("Ok".to_owned(), |kind| format!("{kind:?}")));
        names.collect::<Vec<_>>().join(", ")
    };
    let (least, most) = (ends.requests.start(), ends.requests.end());
    let requests = if least == most { least.to_string() } else { format!("{least} to {most}") };
    format!("{} | {} | {requests}", names(&ends.meant), names(&ends.today))
}

#[cfg(test)]
mod tests {
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test that reads, and on demand writes, a file of the repository"
    )]
    fn the_document_is_up_to_date() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/MATRIX.md");
        let document = super::document();
        if std::env::var("WRITE_MATRIX").is_ok() {
            std::fs::write(file, &document).expect("the document is written");
        }
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert!(written == document, "MATRIX.md is out of date: run this test with WRITE_MATRIX=1");
    }
}
