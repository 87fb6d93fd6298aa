//! The scenarios, one to a file, in the order of the table. A new one is a file and a line in [`ALL`].

mod abort_leaves_nothing;
mod awkward_keys;
mod bulk_delete;
mod compare_and_swap;
mod conditional_complete;
mod conditional_copy;
mod conditional_delete;
mod copy;
mod create_if_absent;
mod etag_quoting;
mod every_shard;
mod foreign_keys;
mod hostile_keys;
mod list_many_keys;
mod multipart_writer;
mod put_and_get;
mod ranged_get;
mod small_object;

use crate::scenario::Scenario;

/// Every scenario.
pub(crate) const ALL: &[Scenario] = &[
    put_and_get::SCENARIO,
    ranged_get::SCENARIO,
    multipart_writer::SCENARIO,
    small_object::SCENARIO,
    abort_leaves_nothing::SCENARIO,
    list_many_keys::SCENARIO,
    bulk_delete::SCENARIO,
    create_if_absent::SCENARIO,
    compare_and_swap::SCENARIO,
    conditional_complete::SCENARIO,
    conditional_delete::SCENARIO,
    copy::SCENARIO,
    conditional_copy::SCENARIO,
    etag_quoting::SCENARIO,
    awkward_keys::SCENARIO,
    hostile_keys::SCENARIO,
    foreign_keys::SCENARIO,
    every_shard::SCENARIO,
];

/// How many operations a scenario has under way at once where it has many: enough to fill a pool of connections,
/// few enough not to be throttled.
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn every_scenario_has_a_name_of_its_own_that_fits_the_table() {
        for (index, scenario) in ALL.iter().enumerate() {
            assert!(scenario.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", scenario.name);
            assert!(scenario.name.len() <= 20, "{}", scenario.name);
            assert!(ALL[..index].iter().all(|other| other.name != scenario.name), "{}", scenario.name);
        }
    }
}
