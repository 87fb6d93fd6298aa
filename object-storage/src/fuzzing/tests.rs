//! Replays the corpora of the fuzz targets.

use std::path::PathBuf;

use super::*;

#[path = "../../../credentials/fuzz/replay.rs"]
mod replay;

fn replay(target: &str, files_min: usize, check: fn(&[u8])) {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target].iter().collect();
    replay::replay(&folder, files_min, check);
}

#[test]
fn any_configuration_is_one_that_works_or_a_complaint_in_one_line() {
    replay("config", 40, config);
}

#[test]
fn any_words_are_refused_or_mean_themselves() {
    replay("words", 40, words);
}

#[cfg(feature = "memory")]
#[test]
fn any_page_token_gives_the_rest_of_its_listing_or_nothing() {
    replay("listing", 20, listing);
}

#[cfg(feature = "fs")]
#[test]
fn any_file_is_ours_as_we_wrote_it_or_damaged() {
    replay("footer", 15, footer);
}

#[cfg(feature = "fs")]
#[test]
fn any_name_on_disk_has_one_meaning() {
    replay("names", 20, names);
}
