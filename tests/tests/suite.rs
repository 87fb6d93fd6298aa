//! The suite itself: it has a promise for every flaw, and holds a store to refusing what it says it cannot do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use object_storage::testing::conformance::{PROMISES, Subject, run};
use object_storage::testing::conformance_tests;
use object_storage::{
    Capabilities, CompleteOptions, CopyOptions, DeleteOptions, Error, ErrorKind, GetOptions, GetOutcome,
    HeadOptions, HeadOutcome, InMemoryStorage, Key, ListOptions, ListPage, ListUploadsOptions,
    LocalBoxFuture, MultipartOptions, MultipartUpload, ObjectStorage, Operation, OperationId, PageToken,
    Part, PartNumber, PartsPage, Payload, PutMode, PutOptions, PutOutcome, RangePolicy, Resolution, Result,
    ShutdownReport, UploadId, UploadsPage,
};

conformance_tests!(refusing, tests::on_compio, || async {
    Subject::new(Rc::new(Odd::new(Flaw::RefusesAllItMay)))
});

/// How a store differs from the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// Not a flaw: it says that it honours nothing, refuses that, and lists in another order.
    RefusesAllItMay,
    CreateOverwrites,
    MatchOverwrites,
    DeleteIgnoresItsCondition,
    CopyIgnoresConditions,
    CopyForgetsNewAttributes,
    CompleteIgnoresConditions,
    PutForgetsAttributes,
    KeysIgnoreCase,
    ReadsIgnoreConditions,
    RangesAreClamped,
    DeletingNothingFails,
    BulkDeleteStopsAtAThousand,
    ListingsEndAfterOnePage,
    DelimiterIsAlwaysASlash,
    AbortKeepsTheUpload,
    SaysItCannotCreate,
    EveryIdIsApplied,
    ForgetsIds,
    ShutdownDoesNothing,
    TiesNothing,
    UploadsAreDatedYesterday,
}

/// Every flaw, and a promise that must notice it.
const FLAWS: [(Flaw, &str, &str); 21] = [
    (Flaw::CreateOverwrites, "races", "of_many_creators_exactly_one_wins"),
    (Flaw::MatchOverwrites, "races", "a_counter_kept_by_compare_and_swap_loses_nothing"),
    (Flaw::DeleteIgnoresItsCondition, "deletes", "a_delete_matching_another_version_is_refused"),
    (Flaw::CopyIgnoresConditions, "copies", "a_copy_that_creates_refuses_what_is_there"),
    (Flaw::CopyForgetsNewAttributes, "copies", "a_copy_onto_itself_can_change_attributes"),
    (Flaw::CompleteIgnoresConditions, "races", "of_many_completions_that_create_exactly_one_wins"),
    (Flaw::PutForgetsAttributes, "attributes", "a_put_keeps_headers_and_metadata"),
    (Flaw::KeysIgnoreCase, "keys", "upper_and_lower_case_are_two_keys"),
    (Flaw::ReadsIgnoreConditions, "ranges", "a_range_keeps_conditions"),
    (Flaw::RangesAreClamped, "ranges", "every_range_of_a_small_object_is_right"),
    (Flaw::DeletingNothingFails, "deletes", "deleting_nothing_succeeds"),
    (
        Flaw::BulkDeleteStopsAtAThousand,
        "listing",
        "more_than_a_thousand_keys_come_in_pages_and_go_in_one_call",
    ),
    (Flaw::ListingsEndAfterOnePage, "listing", "pages_of_one_entry_give_the_whole_listing"),
    (Flaw::DelimiterIsAlwaysASlash, "listing", "a_delimiter_may_be_any_string"),
    (Flaw::AbortKeepsTheUpload, "multipart", "an_aborted_upload_leaves_nothing"),
    (Flaw::SaysItCannotCreate, "conditions", "create_stores_where_nothing_is"),
    (Flaw::EveryIdIsApplied, "resolving", "another_id_is_told_what_is_there"),
    (Flaw::ForgetsIds, "resolving", "a_create_driven_again_is_what_it_was"),
    (Flaw::ShutdownDoesNothing, "uploads_left", "a_store_that_was_shut_down_refuses_what_is_new"),
    (Flaw::TiesNothing, "uploads_left", "a_tied_upload_goes_with_its_handle"),
    (Flaw::UploadsAreDatedYesterday, "uploads_left", "a_sweep_takes_what_is_old_and_spares_what_is_young"),
];

#[test]
fn every_flaw_breaks_the_promise_about_it() {
    for (flaw, area, promise) in FLAWS {
        let open = move || async move {
            let odd = Odd::new(flaw);
            let second = odd.inner.clone();
            Subject::new(Rc::new(odd)).with_second(Rc::new(second))
        };
        let broken = catch_unwind(AssertUnwindSafe(|| run(area, promise, tests::on_compio, open))).is_err();
        assert!(broken, "{area}::{promise} does not notice {flaw:?}");
    }
}

#[test]
fn no_promise_is_listed_twice() {
    let mut names: Vec<_> = PROMISES.iter().map(|promise| promise.name).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}

/// The reference, with one flaw.
#[derive(Debug)]
struct Odd {
    inner: InMemoryStorage,
    flaw: Flaw,
}

impl Odd {
    fn new(flaw: Flaw) -> Odd {
        Odd { inner: InMemoryStorage::new(), flaw }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// Whether a condition or key is one that is refused.
    fn check(&self, condition: bool, keys: &[&Key]) -> Result<()> {
        let refused = condition || keys.iter().any(|key| key.is_verbatim());
        if self.is(Flaw::RefusesAllItMay) && refused {
            return Err(Error::new(ErrorKind::Unsupported, Operation::Open, "refused as it was said"));
        }
        Ok(())
    }

    fn key(&self, key: &Key) -> Key {
        match self.flaw {
            Flaw::KeysIgnoreCase => Key::verbatim(&key.as_str().to_lowercase()).expect("as short"),
            _ => key.clone(),
        }
    }
}

fn conditional(mode: &PutMode) -> bool {
    *mode != PutMode::Overwrite
}

impl ObjectStorage for Odd {
    fn put<'a>(
        &'a self,
        key: &'a Key,
        payload: Payload,
        mut options: PutOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move {
            self.check(conditional(&options.mode), &[key])?;
            match (&options.mode, self.flaw) {
                (PutMode::Create, Flaw::CreateOverwrites) | (PutMode::Match(_), Flaw::MatchOverwrites) => {
                    options.mode = PutMode::Overwrite;
                }
                _ => {}
            }
            if self.is(Flaw::ForgetsIds) {
                options.operation_id = None;
            }
            if self.is(Flaw::PutForgetsAttributes) {
                options.attributes = Default::default();
            }
            self.inner.put(&self.key(key), payload, options).await
        })
    }

    fn get<'a>(&'a self, key: &'a Key, mut options: GetOptions) -> LocalBoxFuture<'a, Result<GetOutcome>> {
        Box::pin(async move {
            self.check(false, &[key])?;
            if self.is(Flaw::ReadsIgnoreConditions) {
                options.conditions = Default::default();
            }
            if self.is(Flaw::RangesAreClamped) {
                options.range_policy = RangePolicy::Clamped;
            }
            self.inner.get(&self.key(key), options).await
        })
    }

    fn head<'a>(&'a self, key: &'a Key, options: HeadOptions) -> LocalBoxFuture<'a, Result<HeadOutcome>> {
        Box::pin(async move {
            self.check(false, &[key])?;
            self.inner.head(&self.key(key), options).await
        })
    }

    fn list_page<'a>(
        &'a self,
        options: &'a ListOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<ListPage>> {
        Box::pin(async move {
            let mut options = options.clone();
            if self.is(Flaw::DelimiterIsAlwaysASlash) {
                options.delimiter = options.delimiter.map(|_| "/".to_owned());
            }
            let mut listed = self.inner.list_page(&options, page).await?;
            if self.is(Flaw::RefusesAllItMay) {
                listed.objects.reverse();
                listed.common_prefixes.reverse();
            }
            if self.is(Flaw::ListingsEndAfterOnePage) {
                listed.next = None;
            }
            Ok(listed)
        })
    }

    fn delete<'a>(&'a self, key: &'a Key, mut options: DeleteOptions) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.check(options.if_match.is_some(), &[key])?;
            if self.is(Flaw::DeletingNothingFails) {
                self.inner.head(key, HeadOptions::default()).await?;
            }
            if self.is(Flaw::DeleteIgnoresItsCondition) {
                options.if_match = None;
            }
            self.inner.delete(&self.key(key), options).await
        })
    }

    fn delete_many<'a>(&'a self, keys: &'a [Key]) -> LocalBoxFuture<'a, Result<Vec<Result<()>>>> {
        Box::pin(async move {
            let most = if self.is(Flaw::BulkDeleteStopsAtAThousand) { 1000 } else { usize::MAX };
            let mut results = Vec::new();
            for key in keys.iter().take(most) {
                let checked = self.check(false, &[key]);
                results.push(match checked {
                    Ok(()) => self.inner.delete(&self.key(key), DeleteOptions::default()).await,
                    refused => refused,
                });
            }
            Ok(results)
        })
    }

    fn copy<'a>(
        &'a self,
        from: &'a Key,
        to: &'a Key,
        mut options: CopyOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        Box::pin(async move {
            self.check(conditional(&options.mode), &[from, to])?;
            if self.is(Flaw::CopyIgnoresConditions) {
                options.mode = PutMode::Overwrite;
            }
            if self.is(Flaw::CopyForgetsNewAttributes) {
                options.attributes = None;
            }
            self.inner.copy(&self.key(from), &self.key(to), options).await
        })
    }

    fn create_multipart_upload<'a>(
        &'a self,
        key: &'a Key,
        options: MultipartOptions,
    ) -> LocalBoxFuture<'a, Result<Rc<dyn MultipartUpload>>> {
        Box::pin(async move {
            self.check(false, &[key])?;
            let inner = self.inner.create_multipart_upload(key, options).await?;
            Ok(Rc::new(OddUpload { inner, flaw: self.flaw }) as Rc<dyn MultipartUpload>)
        })
    }

    fn resume_multipart_upload(&self, key: &Key, upload_id: &UploadId) -> Result<Rc<dyn MultipartUpload>> {
        let inner = self.inner.resume_multipart_upload(key, upload_id)?;
        Ok(Rc::new(OddUpload { inner, flaw: self.flaw }))
    }

    fn list_multipart_uploads_page<'a>(
        &'a self,
        options: &'a ListUploadsOptions,
        page: Option<&'a PageToken>,
    ) -> LocalBoxFuture<'a, Result<UploadsPage>> {
        Box::pin(async move {
            let mut listed = self.inner.list_multipart_uploads_page(options, page).await?;
            if self.is(Flaw::UploadsAreDatedYesterday) {
                listed.as_of = listed.as_of.map(|as_of| as_of + Duration::from_secs(24 * 3600));
            }
            Ok(listed)
        })
    }

    fn resolve<'a>(&'a self, key: &'a Key, id: OperationId) -> LocalBoxFuture<'a, Result<Resolution>> {
        Box::pin(async move {
            let resolution = self.inner.resolve(&self.key(key), id).await?;
            Ok(match resolution {
                Resolution::NotThere { current: Some(meta) } if self.is(Flaw::EveryIdIsApplied) => {
                    Resolution::Applied(PutOutcome::new(meta.etag.expect("memory gives tags")))
                }
                resolution => resolution,
            })
        })
    }

    fn shutdown(&self, deadline: Duration) -> LocalBoxFuture<'_, ShutdownReport> {
        match self.flaw {
            Flaw::ShutdownDoesNothing => Box::pin(async { ShutdownReport::default() }),
            _ => self.inner.shutdown(deadline),
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.inner.capabilities();
        if self.is(Flaw::RefusesAllItMay) {
            capabilities.put_match = false;
            capabilities.complete_create = false;
            capabilities.complete_match = false;
            capabilities.copy_conditions = false;
            capabilities.delete_match = false;
            capabilities.verbatim_keys = false;
            capabilities.ordered_list = false;
        }
        if self.is(Flaw::RefusesAllItMay) || self.is(Flaw::SaysItCannotCreate) {
            capabilities.put_create = false;
        }
        capabilities
    }
}

#[derive(Debug)]
struct OddUpload {
    inner: Rc<dyn MultipartUpload>,
    flaw: Flaw,
}

impl MultipartUpload for OddUpload {
    fn key(&self) -> &Key {
        self.inner.key()
    }

    fn upload_id(&self) -> &UploadId {
        self.inner.upload_id()
    }

    fn upload_part(&self, number: PartNumber, payload: Payload) -> LocalBoxFuture<'_, Result<Part>> {
        self.inner.upload_part(number, payload)
    }

    fn complete<'a>(
        &'a self,
        parts: &'a [Part],
        mut options: CompleteOptions,
    ) -> LocalBoxFuture<'a, Result<PutOutcome>> {
        if self.flaw == Flaw::RefusesAllItMay && conditional(&options.mode) {
            let refused =
                Error::new(ErrorKind::Unsupported, Operation::CompleteMultipartUpload, "as it was said");
            return Box::pin(async { Err(refused) });
        }
        if self.flaw == Flaw::CompleteIgnoresConditions {
            options.mode = PutMode::Overwrite;
        }
        self.inner.complete(parts, options)
    }

    fn abort(&self) -> LocalBoxFuture<'_, Result<()>> {
        match self.flaw {
            Flaw::AbortKeepsTheUpload => Box::pin(async { Ok(()) }),
            _ => self.inner.abort(),
        }
    }

    fn list_parts_page<'a>(&'a self, page: Option<&'a PageToken>) -> LocalBoxFuture<'a, Result<PartsPage>> {
        self.inner.list_parts_page(page)
    }

    fn abort_on_drop(&self) -> bool {
        self.flaw == Flaw::TiesNothing || self.inner.abort_on_drop()
    }
}
