//! The contract of [`ObjectStorage`](crate::ObjectStorage) as a list of promises, each a test.
//!
//! The promises are those of the trait's documentation. [`conformance_tests!`](crate::testing::conformance_tests!)
//! makes a `#[test]` of each for the store that it is given.
//!
//! What a store says it cannot do ([`Capabilities`](crate::Capabilities)) is not skipped: the promise then is that
//! it refuses. What the server behind a store is known to do otherwise stands in a [`Dialect`], with the reason.

// A promise is one async function whose name is a sentence. The list below is the only one: the tests of every store
// are made from it, and a promise that is written and not listed is dead code, which the build refuses.
mod context;

mod attributes;
mod cancellation;
mod conditions;
mod copies;
mod deletes;
mod gets;
mod keys;
mod listing;
mod multipart;
mod puts;
mod races;
mod ranges;
mod resolving;
mod short_forms;
mod sleep;
mod uploads_left;

pub use context::{Context, Dialect, Promise, Quirk, Subject, run};

/// Hands the list of all promises, by area, to another macro: `callback! { (arguments) area { promise, } }`.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_promises {
    ($($callback:ident)::+ ! $arguments:tt) => {
        $($callback)::+ ! { $arguments
            puts {
                a_put_object_comes_back,
                an_object_without_bytes_is_an_object,
                a_second_put_replaces_the_first_whole,
                a_shorter_object_leaves_nothing_of_a_longer_one,
                a_payload_in_many_chunks_is_stored_in_order,
                twenty_mebibytes_are_streamed_back,
                every_method_tells_the_same_size_tag_and_time,
                the_tag_changes_when_the_bytes_change,
                more_than_five_gibibytes_in_one_put_are_refused,
                many_objects_can_be_written_and_read_at_once,
                an_object_and_keys_beneath_its_name_live_side_by_side,
            }
            conditions {
                create_stores_where_nothing_is,
                create_refuses_where_something_is,
                create_works_again_after_a_delete,
                create_refuses_an_object_without_bytes_too,
                match_replaces_the_version_it_names,
                match_refuses_another_version,
                match_refuses_a_version_that_was_replaced,
                match_finds_nothing_where_nothing_is,
                match_finds_nothing_after_a_delete,
                a_tag_works_with_quotes_and_without,
                a_star_is_a_tag_like_any_other,
                a_refused_write_changes_neither_bytes_nor_attributes,
            }
            races {
                of_many_creators_exactly_one_wins,
                of_many_writers_matching_one_version_exactly_one_wins,
                a_counter_kept_by_compare_and_swap_loses_nothing,
                of_many_completions_that_create_exactly_one_wins,
                a_reader_never_sees_half_of_a_write,
            }
            resolving {
                a_put_is_found_by_its_id,
                another_id_is_told_what_is_there,
                an_id_under_a_key_without_object_is_not_there,
                an_id_is_gone_with_the_version_it_was_on,
                a_create_driven_again_is_what_it_was,
                a_match_driven_again_is_what_it_was,
                an_id_is_no_attribute,
                a_copy_shows_no_id_and_with_attributes_of_its_own_has_another,
                a_completed_upload_bears_the_id_it_was_begun_with,
                an_upload_driven_again_is_what_it_was,
            }
            gets {
                a_get_of_nothing_says_not_found,
                a_head_of_nothing_says_not_found,
                an_error_names_the_operation_and_the_key,
                a_get_matching_the_version_gives_it,
                a_get_matching_another_version_is_refused,
                a_get_of_what_the_caller_has_says_not_modified,
                a_get_of_what_the_caller_has_not_gives_it,
                a_head_keeps_the_same_conditions,
                conditions_on_nothing_say_not_found,
                a_body_knows_its_length_and_what_is_left,
                a_body_fills_the_callers_buffer,
                bodies_can_be_read_side_by_side,
                a_body_dropped_early_harms_nobody,
                a_body_gives_one_version_though_it_is_replaced,
                a_body_gives_one_version_though_it_is_deleted,
            }
            ranges {
                a_bounded_range_gives_just_its_bytes,
                an_open_range_gives_the_rest,
                a_suffix_gives_the_last_bytes,
                an_exact_range_beyond_the_end_is_refused,
                a_clamped_range_gives_what_exists,
                a_range_wholly_outside_is_refused,
                no_range_fits_an_object_without_bytes,
                a_range_without_bytes_is_a_mistake_of_the_caller,
                a_range_keeps_conditions,
                a_range_that_wraps_past_every_size_is_refused,
                every_range_of_a_small_object_is_right,
            }
            listing {
                a_listing_without_keys_is_empty,
                a_listing_shows_each_key_once,
                a_listing_shows_sizes_and_tags,
                keys_come_in_byte_order,
                a_prefix_is_a_plain_string,
                a_prefix_may_hold_any_character,
                a_key_that_is_the_prefix_is_listed,
                a_delimiter_rolls_up_what_lies_beneath,
                a_delimiter_may_be_any_string,
                an_empty_delimiter_is_none,
                start_after_leaves_out_what_comes_before,
                pages_of_one_entry_give_the_whole_listing,
                a_common_prefix_is_counted_once_across_pages,
                a_full_last_page_is_the_last,
                a_listing_goes_on_when_the_last_key_shown_is_deleted,
                a_page_size_outside_one_to_a_thousand_is_refused,
                a_token_of_no_listing_is_refused,
                what_was_just_written_or_deleted_shows_so,
                more_than_a_thousand_keys_come_in_pages_and_go_in_one_call,
            }
            deletes {
                a_deleted_object_is_gone,
                deleting_nothing_succeeds,
                a_delete_matching_the_version_deletes_it,
                a_delete_matching_another_version_is_refused,
                a_delete_matching_nothing_says_not_found,
                a_delete_takes_no_neighbour_along,
                many_deletes_tell_of_each_key_in_order,
                many_deletes_of_no_key_do_nothing,
                many_deletes_may_name_a_key_twice,
            }
            copies {
                a_copy_has_the_bytes_of_its_source,
                a_copy_lives_apart_from_its_source,
                a_copy_of_nothing_says_not_found,
                a_copy_replaces_what_is_there,
                a_copy_keeps_attributes_or_takes_new_ones,
                a_copy_of_the_version_named_is_made,
                a_copy_of_another_version_is_refused,
                a_copy_that_creates_refuses_what_is_there,
                a_copy_that_matches_replaces_that_version_only,
                a_copy_that_matches_nothing_says_not_found,
                a_copy_onto_itself_can_change_attributes,
                an_object_without_bytes_can_be_copied,
            }
            multipart {
                parts_sent_out_of_order_are_joined_by_number,
                nothing_is_visible_before_completion,
                one_small_part_is_enough,
                part_numbers_may_have_gaps,
                a_part_sent_again_replaces_the_first,
                parts_that_are_not_named_are_dropped,
                a_completed_object_replaces_what_was_there,
                a_handle_knows_its_key_and_id,
                an_upload_is_resumed_by_its_id,
                two_uploads_to_one_key_do_not_mix,
                the_parts_of_an_upload_are_listed,
                more_than_a_thousand_parts_are_listed_in_pages,
                an_upload_left_behind_is_found,
                uploads_are_listed_in_pages,
                a_page_of_uploads_has_one_to_a_thousand_entries,
                a_page_token_of_no_listing_of_uploads_or_parts_is_refused,
                a_part_below_five_mebibytes_is_refused_unless_it_is_last,
                more_than_five_gibibytes_in_one_part_are_refused,
                completing_without_parts_is_refused,
                completing_out_of_order_is_refused,
                completing_with_a_part_twice_is_refused,
                completing_with_a_part_never_sent_is_refused,
                completing_with_a_part_replaced_since_is_refused,
                completing_can_create,
                completing_refuses_to_create_over_an_object_and_can_be_done_otherwise,
                completing_can_match,
                completing_refuses_to_match_another_version,
                completing_to_match_nothing_says_not_found,
                an_aborted_upload_leaves_nothing,
                aborting_twice_succeeds,
                an_aborted_upload_leaves_the_old_object_alone,
                a_completed_upload_is_over,
                an_upload_that_never_was_says_not_found,
            }
            keys {
                a_key_with_space_plus_percent_and_emoji_is_kept,
                punctuation_is_kept,
                what_looks_encoded_is_kept,
                dots_and_tildes_are_kept,
                spaces_are_kept,
                foreign_scripts_are_kept,
                the_longest_keys_are_kept,
                upper_and_lower_case_are_two_keys,
                composed_and_decomposed_are_two_keys,
                encoded_and_decoded_are_two_keys,
                a_key_only_s3_can_hold_is_kept_or_refused,
                a_dot_segment_is_kept_or_refused_and_never_resolved,
                a_key_with_control_characters_is_never_written,
            }
            attributes {
                a_put_keeps_headers_and_metadata,
                a_multipart_upload_keeps_headers_and_metadata,
                attributes_left_out_are_not_invented,
                a_new_version_has_only_its_own_attributes,
                metadata_up_to_the_limit_is_kept,
                values_that_look_special_are_kept,
                an_encoded_body_is_not_decoded,
            }
            cancellation {
                a_put_dropped_at_any_poll_is_applied_whole_or_not,
                a_create_dropped_at_any_poll_can_be_made_again,
                a_delete_dropped_at_any_poll_takes_effect_or_not,
                a_copy_dropped_at_any_poll_is_applied_whole_or_not,
                a_part_dropped_at_any_poll_can_be_sent_again,
                a_completion_dropped_at_any_poll_is_joined_or_pending,
                reads_dropped_at_any_poll_harm_nobody,
            }
            uploads_left {
                a_tied_upload_goes_with_its_handle,
                a_tied_upload_that_was_completed_stays_an_object,
                an_upload_that_is_not_tied_outlives_its_handle_and_the_store,
                a_creation_dropped_at_any_poll_leaves_no_upload,
                a_store_that_was_shut_down_refuses_what_is_new,
                a_shutdown_waits_for_what_is_under_way,
                a_shutdown_aborts_what_is_tied_to_a_handle_in_use,
                a_shutdown_without_time_tells_what_it_leaves,
                a_sweep_takes_what_is_old_and_spares_what_is_young,
                a_sweep_of_no_age_takes_every_upload_and_no_object,
            }
            short_forms {
                put_if_absent_refuses_what_is_there,
                put_if_match_replaces_what_it_knows,
                get_range_gives_just_those_bytes,
                get_ranges_gives_each_range_in_the_order_asked,
                get_ranges_fails_when_one_lies_outside,
                exists_tells_whether_it_is_there,
                delete_if_match_deletes_what_it_knows,
                a_lister_pulls_every_page,
            }
        }
    };
}

/// Makes one `#[test]` for every promise of the contract, in a module of this name.
///
/// - The first argument names the module.
/// - The second runs one test: a function that is given a future of `()` and drives it to its end, on a runtime
///   that the store can live on. It is called once per test.
/// - The third opens the store under test, inside of that runtime: a closure giving a future of a [`Subject`], or
///   of an `Option<Subject>`: `None` when the store cannot be had here, which whoever opens it must have said
///   aloud. All may open the same store, and it need not be empty: the tests run side by side, each under a prefix
///   of its own.
///
/// ```
/// use std::rc::Rc;
///
/// use object_storage::InMemoryStorage;
/// use object_storage::testing::conformance::Subject;
/// use object_storage::testing::conformance_tests;
///
/// conformance_tests!(
///     in_memory,
///     |test| compio::runtime::Runtime::new().expect("a runtime").block_on(test),
///     || async { Subject::new(Rc::new(InMemoryStorage::new())) },
/// );
/// # fn main() {}
/// ```
///
/// [`Subject`]: crate::testing::conformance::Subject
#[doc(hidden)] // Here; shown in the module `testing`.
#[macro_export]
macro_rules! conformance_tests {
    ($store:ident, $block_on:expr, $open:expr $(,)?) => {
        #[cfg(test)]
        mod $store {
            #[allow(
                clippy::wildcard_imports,
                unused_imports,
                reason = "what opens the store is written for the scope outside"
            )]
            use super::*;

            fn check(area: &str, promise: &str) {
                $crate::testing::conformance::run(area, promise, $block_on, $open);
            }

            $crate::conformance_promises! { $crate::conformance_tests_of_promises! () }
        }
    };
}

/// The tests of all promises; expects a function `check` around itself.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests_of_promises {
    (() $($area:ident { $($promise:ident,)* })*) => {
        $(mod $area {
            $(#[test]
            fn $promise() {
                super::check(stringify!($area), stringify!($promise));
            })*
        })*
    };
}

macro_rules! table_of_promises {
    (() $($area:ident { $($promise:ident,)* })*) => {
        /// Every promise, in the order of the list.
        pub const PROMISES: &[Promise] = &[$($(Promise {
            area: stringify!($area),
            name: stringify!($promise),
            keep: |ctx| Box::pin($area::$promise(ctx)),
        },)*)*];
    };
}

conformance_promises! { table_of_promises! () }
