//! Parts of an object: exactly the bytes asked for, or a refusal.

use crate::{ByteRange, ErrorKind, GetOptions, RangePolicy, Result};

use super::conditions::foreign_tag;
use super::context::{Context, Kept, assert_refused};

const TEN: &str = "0123456789";

/// What the store gives for a range of the object `a`, and how it says that it understood it.
async fn read(ctx: &Context, range: ByteRange, policy: RangePolicy) -> Result<String> {
    let options = GetOptions::default().with_range(range).with_range_policy(policy);
    let got = ctx.store().get(&ctx.key("a"), options).await?;
    assert_eq!(got.body.len(), got.range.end - got.range.start);
    let size = got.meta.size;
    assert!(got.range.end <= size, "{:?} of {size}", got.range);
    let range = got.range.clone();
    let text = String::from_utf8(got.body.bytes().await?.to_vec()).expect("digits");
    if size == 10 {
        let at = |place| usize::try_from(place).expect("small");
        assert_eq!(text, TEN[at(range.start)..at(range.end)], "the bytes are those of the range told");
    }
    Ok(text)
}

pub(super) async fn a_bounded_range_gives_just_its_bytes(ctx: &Context) -> Kept {
    ctx.put("a", TEN).await?;
    for (range, expected) in [(0..1, "0"), (2..5, "234"), (9..10, "9"), (0..10, TEN)] {
        for policy in [RangePolicy::Exact, RangePolicy::Clamped] {
            assert_eq!(read(ctx, range.clone().into(), policy).await?, expected);
        }
    }
    Ok(())
}

pub(super) async fn an_open_range_gives_the_rest(ctx: &Context) -> Kept {
    ctx.put("a", TEN).await?;
    for (from, expected) in [(0, TEN), (7, "789"), (9, "9")] {
        assert_eq!(read(ctx, ByteRange::From(from), RangePolicy::Exact).await?, expected);
    }
    Ok(())
}

pub(super) async fn a_suffix_gives_the_last_bytes(ctx: &Context) -> Kept {
    ctx.put("a", TEN).await?;
    for (last, expected) in [(1, "9"), (3, "789"), (10, TEN)] {
        assert_eq!(read(ctx, ByteRange::Suffix(last), RangePolicy::Exact).await?, expected);
    }
    Ok(())
}

pub(super) async fn an_exact_range_beyond_the_end_is_refused(ctx: &Context) -> Kept {
    ctx.put("a", TEN).await?;
    for range in [ByteRange::Bounded(0..11), ByteRange::Bounded(9..1000), ByteRange::Suffix(11)] {
        assert_refused(read(ctx, range, RangePolicy::Exact).await, ErrorKind::RangeNotSatisfiable);
    }
    Ok(())
}

pub(super) async fn a_clamped_range_gives_what_exists(ctx: &Context) -> Kept {
    ctx.put("a", TEN).await?;
    let ranges = [
        (ByteRange::Bounded(0..11), TEN),
        (ByteRange::Bounded(8..1000), "89"),
        (ByteRange::From(8), "89"),
        (ByteRange::Suffix(11), TEN),
        (ByteRange::Suffix(1_000_000), TEN),
    ];
    for (range, expected) in ranges {
        assert_eq!(read(ctx, range, RangePolicy::Clamped).await?, expected);
    }
    Ok(())
}

pub(super) async fn a_range_wholly_outside_is_refused(ctx: &Context) -> Kept {
    ctx.put("a", TEN).await?;
    for range in [ByteRange::Bounded(10..11), ByteRange::Bounded(500..600), ByteRange::From(10)] {
        for policy in [RangePolicy::Exact, RangePolicy::Clamped] {
            assert_refused(read(ctx, range.clone(), policy).await, ErrorKind::RangeNotSatisfiable);
        }
    }
    Ok(())
}

pub(super) async fn no_range_fits_an_object_without_bytes(ctx: &Context) -> Kept {
    ctx.put("a", "").await?;
    for range in [ByteRange::Bounded(0..1), ByteRange::From(0), ByteRange::Suffix(1)] {
        for policy in [RangePolicy::Exact, RangePolicy::Clamped] {
            assert_refused(read(ctx, range.clone(), policy).await, ErrorKind::RangeNotSatisfiable);
        }
    }
    Ok(())
}

pub(super) async fn a_range_without_bytes_is_a_mistake_of_the_caller(ctx: &Context) -> Kept {
    ctx.put("a", TEN).await?;
    #[expect(clippy::reversed_empty_ranges, reason = "the mistake that is tested")]
    for range in [ByteRange::Bounded(5..5), ByteRange::Bounded(6..5), ByteRange::Suffix(0)] {
        for policy in [RangePolicy::Exact, RangePolicy::Clamped] {
            assert_refused(read(ctx, range.clone(), policy).await, ErrorKind::InvalidInput);
        }
    }
    Ok(())
}

pub(super) async fn a_range_keeps_conditions(ctx: &Context) -> Kept {
    let etag = ctx.put("a", TEN).await?.etag;
    let key = ctx.key("a");
    let part = || GetOptions::default().with_range(2..4);
    let got = ctx.store().get(&key, part().with_if_match(etag.clone())).await?;
    assert_eq!(got.body.bytes().await?, "23");
    let other = ctx.store().get(&key, part().with_if_match(foreign_tag())).await;
    assert_refused(other, ErrorKind::PreconditionFailed);
    assert_refused(ctx.store().get(&key, part().with_if_none_match(etag)).await, ErrorKind::NotModified);
    Ok(())
}

pub(super) async fn a_range_that_wraps_past_every_size_is_refused(ctx: &Context) -> Kept {
    ctx.put("a", TEN).await?;
    let far = [ByteRange::Bounded(u64::MAX - 1..u64::MAX), ByteRange::From(u64::MAX)];
    for range in far {
        // A store may also know that no object is this large and say so at once.
        let kind = read(ctx, range, RangePolicy::Clamped).await.expect_err("nothing is there").kind();
        assert!(matches!(kind, ErrorKind::RangeNotSatisfiable | ErrorKind::InvalidInput), "{kind}");
    }
    Ok(())
}

pub(super) async fn every_range_of_a_small_object_is_right(ctx: &Context) -> Kept {
    let four = &TEN[..4];
    ctx.put("a", four).await?;
    for start in 0..6 {
        for end in start + 1..7 {
            let range = ByteRange::Bounded(start..end);
            for policy in [RangePolicy::Exact, RangePolicy::Clamped] {
                let got = read(ctx, range.clone(), policy).await;
                match range.resolve(4, policy) {
                    Ok(bytes) => {
                        let at = |place| usize::try_from(place).expect("small");
                        assert_eq!(got?, four[at(bytes.start)..at(bytes.end)]);
                    }
                    Err(_) => assert_refused(got, ErrorKind::RangeNotSatisfiable),
                }
            }
        }
    }
    Ok(())
}
