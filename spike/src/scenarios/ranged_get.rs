//! Ranges: bounded, open-ended and suffix, exact or clamped, several at once, and those that give nothing.

use std::ops::Range;

use object_storage::{ByteRange, ErrorKind, GetOptions, ObjectStorageExt, RangePolicy};

use crate::scenario::{Context, Failure, Outcome, Scenario, difference, ensure, expect_kind, noise, passed};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "ranged-get",
    about: "bounded, open-ended and suffix ranges give just their bytes; the impossible ones are refused",
    run: |cx| Box::pin(run(cx)),
};

const SIZE_BYTES: u64 = 2_500_000;

async fn run(cx: &Context) -> Outcome {
    let key = cx.key("object")?;
    let bytes = noise(2, usize::try_from(SIZE_BYTES).expect("2.5 MB"));
    cx.store.put_bytes(&key, bytes.clone()).await?;

    let policies = [RangePolicy::Exact, RangePolicy::Clamped];
    let within = [
        ByteRange::Bounded(0..1),
        ByteRange::Bounded(1_000_000..1_400_000),
        ByteRange::Bounded(0..SIZE_BYTES),
        ByteRange::From(SIZE_BYTES - 1),
        ByteRange::From(700_000),
        ByteRange::Suffix(17),
        ByteRange::Suffix(SIZE_BYTES),
    ];
    for range in &within {
        for policy in policies {
            read(cx, &bytes, range.clone(), policy).await?;
        }
    }
    let beyond = [ByteRange::Bounded(SIZE_BYTES - 10..SIZE_BYTES + 10), ByteRange::Suffix(SIZE_BYTES + 1)];
    for range in &beyond {
        read(cx, &bytes, range.clone(), RangePolicy::Clamped).await?;
        let got = cx.store.get(&key, options(range.clone(), RangePolicy::Exact)).await;
        expect_kind(got, ErrorKind::RangeNotSatisfiable, &format!("an exact {range:?}"))?;
    }
    for range in [ByteRange::From(SIZE_BYTES), ByteRange::Bounded(SIZE_BYTES..SIZE_BYTES + 1)] {
        for policy in policies {
            let got = cx.store.get(&key, options(range.clone(), policy)).await;
            expect_kind(got, ErrorKind::RangeNotSatisfiable, &format!("a {policy:?} {range:?}"))?;
        }
    }
    cx.clear_requests();
    for range in [ByteRange::Bounded(5..5), ByteRange::Suffix(0)] {
        let got = cx.store.get(&key, options(range, RangePolicy::Clamped)).await;
        expect_kind(got, ErrorKind::InvalidInput, "a range without bytes")?;
    }
    cx.ensure_no_request("a range without bytes")?;

    let asked = [10..20, 2_000_000..2_000_100, 15..30, 400..400];
    cx.clear_requests();
    let several = cx.store.get_ranges(&key, &asked).await?;
    if let Some(requests) = cx.requests("GetObject") {
        ensure!(requests == 2, "four ranges in two places took {requests} requests instead of 2");
    }
    for (range, got) in asked.iter().zip(&several) {
        let expected = cut(&bytes, range);
        ensure!(got == expected, "get_ranges, {range:?}: {}", difference(got, expected));
    }
    passed("bounded, open, suffix, exact or clamped, impossible, several at once")
}

async fn read(cx: &Context, bytes: &[u8], range: ByteRange, policy: RangePolicy) -> Result<(), Failure> {
    let key = cx.key("object")?;
    let got = cx.store.get(&key, options(range.clone(), policy)).await?;
    ensure!(
        got.meta.size == SIZE_BYTES,
        "{range:?}: the whole object is said to have {} bytes",
        got.meta.size
    );
    let expected = range.resolve(SIZE_BYTES, policy).expect("the scenario asks for bytes that exist");
    ensure!(got.range == expected, "{range:?}: the answer says that it holds {:?}", got.range);
    let expected = cut(bytes, &expected);
    let got = got.body.bytes().await?;
    ensure!(got == expected, "{range:?}, {policy:?}: {}", difference(&got, expected));
    Ok(())
}

/// These bytes of the object as it should be.
fn cut<'a>(bytes: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    let index = |at| usize::try_from(at).expect("within memory");
    &bytes[index(range.start)..index(range.end)]
}

fn options(range: ByteRange, policy: RangePolicy) -> GetOptions {
    GetOptions::default().with_range(range).with_range_policy(policy)
}
