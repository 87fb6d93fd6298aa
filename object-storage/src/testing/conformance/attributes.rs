//! Content headers and user metadata stay with the object, as they were given.

use crate::limits::USER_METADATA_BYTES_MAX;
use crate::{
    Attributes, ContentHeader, GetOptions, HeadOptions, InvalidAttribute, MultipartOptions, PutOptions,
    Result,
};

use super::context::{Context, Kept};
use super::multipart::number;

fn every_kind() -> Attributes {
    let build = || -> Result<Attributes, InvalidAttribute> {
        Attributes::new()
            .with_header(ContentHeader::CacheControl, "max-age=60, public")?
            .with_header(ContentHeader::ContentDisposition, "attachment; filename=\"a b.txt\"")?
            .with_header(ContentHeader::ContentEncoding, "zstd")?
            .with_header(ContentHeader::ContentLanguage, "de, en")?
            .with_header(ContentHeader::ContentType, "text/plain; charset=utf-8")?
            .with_metadata("one", "1")?
            .with_metadata("a-longer-name-2", "with spaces inside")
    };
    build().expect("valid attributes")
}

async fn attributes(ctx: &Context, name: &str) -> Result<Attributes> {
    let key = ctx.key(name);
    let head = ctx.store().head(&key, HeadOptions::default()).await?;
    let got = ctx.store().get(&key, GetOptions::default()).await?;
    assert_eq!(got.attributes, head.attributes, "get and head tell the same");
    Ok(head.attributes)
}

async fn put(ctx: &Context, name: &str, attributes: Attributes) -> Kept {
    let options = PutOptions::default().with_attributes(attributes);
    ctx.store().put(&ctx.key(name), "x".into(), options).await.map(drop)
}

pub(super) async fn a_put_keeps_headers_and_metadata(ctx: &Context) -> Kept {
    put(ctx, "a", every_kind()).await?;
    assert_eq!(attributes(ctx, "a").await?, every_kind());
    Ok(())
}

pub(super) async fn a_multipart_upload_keeps_headers_and_metadata(ctx: &Context) -> Kept {
    let options = MultipartOptions::default().with_attributes(every_kind());
    let upload = ctx.store().create_multipart_upload(&ctx.key("a"), options).await?;
    let part = upload.upload_part(number(1), "x".into()).await?;
    upload.complete(&[part], Default::default()).await?;
    assert_eq!(attributes(ctx, "a").await?, every_kind());
    Ok(())
}

/// Holds attributes to having nothing but what a server adds by itself: S3 gives every object a content type.
fn assert_none(attributes: &Attributes) {
    assert_eq!(attributes.user_metadata().next(), None);
    assert_eq!(attributes.headers().find(|(header, _)| *header != ContentHeader::ContentType), None);
}

pub(super) async fn attributes_left_out_are_not_invented(ctx: &Context) -> Kept {
    ctx.put("a", "x").await?;
    assert_none(&attributes(ctx, "a").await?);
    Ok(())
}

pub(super) async fn a_new_version_has_only_its_own_attributes(ctx: &Context) -> Kept {
    put(ctx, "a", every_kind()).await?;
    let own = Attributes::new().with_metadata("two", "2").expect("valid");
    put(ctx, "a", own).await?;
    let now = attributes(ctx, "a").await?;
    assert_eq!(now.user_metadata().collect::<Vec<_>>(), [("two", "2")]);
    ctx.put("a", "x").await?;
    assert_none(&attributes(ctx, "a").await?);
    Ok(())
}

pub(super) async fn metadata_up_to_the_limit_is_kept(ctx: &Context) -> Kept {
    let value = "v".repeat(USER_METADATA_BYTES_MAX - "name".len());
    put(ctx, "a", Attributes::new().with_metadata("name", &value).expect("just within the limit")).await?;
    assert_eq!(attributes(ctx, "a").await?.metadata("name"), Some(value.as_str()));
    Ok(())
}

pub(super) async fn values_that_look_special_are_kept(ctx: &Context) -> Kept {
    let values = [
        "\"quoted\"",
        "a, b, c",
        "a=b; c=d",
        "%41%42",
        "<xml>&amp;</xml>",
        "a  b",
        "\\n",
        "null",
        "0",
        "~!@#$^*()",
        "{\"json\": [1]}",
        "d\u{27}Artagnan",
    ];
    let mut attributes_given = Attributes::new();
    for (at, value) in values.iter().enumerate() {
        attributes_given = attributes_given.with_metadata(&format!("m-{at}"), value).expect("valid");
    }
    put(ctx, "a", attributes_given.clone()).await?;
    let kept = attributes(ctx, "a").await?;
    assert!(kept.user_metadata().eq(attributes_given.user_metadata()), "{kept:?}");
    Ok(())
}

pub(super) async fn an_encoded_body_is_not_decoded(ctx: &Context) -> Kept {
    let gzip = Attributes::new().with_header(ContentHeader::ContentEncoding, "gzip").expect("valid");
    // Not gzip at all: whoever tries to decode it fails.
    let options = PutOptions::default().with_attributes(gzip);
    ctx.store().put(&ctx.key("a"), "as it is".into(), options).await?;
    assert_eq!(ctx.get("a").await?, "as it is");
    Ok(())
}
