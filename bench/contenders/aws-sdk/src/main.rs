//! aws-sdk-s3 as it comes: it signs payloads and adds and checks checksums unless told otherwise, which the variant
//! `when-required` does.

use std::fmt::{Debug, Display};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use bytes::Bytes;
use measure::{
    Action, LIST_KEYS, PART_BYTES, PARTS_IN_FLIGHT, RING_BYTES, Report, Task, fail, measure, measure_sync,
    payload, unavailable,
};

fn main() {
    let task = Task::from_args();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    or_fail(runtime).block_on(run(&task)).print();
}

async fn run(task: &Task) -> Report {
    match task.workload.action {
        Action::Put => put(task, &open(task)).await,
        Action::Get => get(task, &open(task)).await,
        Action::Multipart => multipart(task, &open(task)).await,
        Action::List => list(task, &open(task)).await,
        Action::Sign => signing(task),
        Action::MultipartCopied | Action::FsPut | Action::FsGet => unavailable("aws-sdk-s3 has none"),
    }
}

fn open(task: &Task) -> Client {
    let keys = Credentials::new(task.access_key_id, task.secret_access_key, None, None, "bench");
    let mut config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&task.endpoint)
        .force_path_style(true)
        .region(Region::new(task.region))
        .credentials_provider(keys)
        .http_client(http_client(task));
    if task.variant == "when-required" {
        config = config
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    }
    Client::from_conf(config.build())
}

fn http_client(task: &Task) -> SharedHttpClient {
    let Some(ca) = task.ca_pem() else {
        return aws_smithy_http_client::Builder::new().build_http();
    };
    let trust = TrustStore::empty().with_pem_certificate(ca);
    let context = or_fail(TlsContext::builder().with_trust_store(trust).build());
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(context)
        .build_https()
}

async fn put(task: &Task, client: &Client) -> Report {
    let payloads: Vec<Bytes> =
        (0..task.workload.in_flight).map(|_| Bytes::from(payload(task.workload.bytes))).collect();
    measure(task, async |ops| {
        let worker = |payload: &Bytes| {
            let (client, payload, key) = (client.clone(), payload.clone(), task.put_key());
            let (share, bucket) = (task.share(ops), task.bucket);
            tokio::spawn(async move {
                for _ in 0..share {
                    let body = ByteStream::from(payload.clone());
                    let put = client.put_object().bucket(bucket).key(&key).body(body);
                    or_show(put.send().await);
                }
                share * payload.len() as u64
            })
        };
        let workers: Vec<_> = payloads.iter().map(worker).collect();
        let mut moved = 0;
        for worker in workers {
            moved += or_fail(worker.await);
        }
        moved
    })
    .await
}

async fn get(task: &Task, client: &Client) -> Report {
    measure(task, async |ops| {
        let worker = |_| {
            let (client, key) = (client.clone(), task.get_key());
            let (share, bucket) = (task.share(ops), task.bucket);
            tokio::spawn(async move {
                let mut moved = 0;
                for _ in 0..share {
                    let mut body = or_show(client.get_object().bucket(bucket).key(&key).send().await).body;
                    while let Some(chunk) = body.next().await {
                        moved += or_fail(chunk).len() as u64;
                    }
                }
                moved
            })
        };
        let workers: Vec<_> = (0..task.workload.in_flight).map(worker).collect();
        let mut moved = 0;
        for worker in workers {
            moved += or_fail(worker.await);
        }
        moved
    })
    .await
}

/// No writer here: the application cuts the parts itself, and has them in one piece.
async fn multipart(task: &Task, client: &Client) -> Report {
    let ring = Bytes::from(payload(RING_BYTES));
    measure(task, async |ops| {
        for _ in 0..ops {
            let key = task.put_key();
            let create = client.create_multipart_upload().bucket(task.bucket).key(&key);
            let upload = or_show(create.send().await).upload_id.unwrap_or_else(|| fail("no upload id"));
            let mut sending = std::collections::VecDeque::new();
            let mut parts = Vec::new();
            for at in 0..task.workload.bytes / PART_BYTES {
                if sending.len() == PARTS_IN_FLIGHT {
                    parts.push(done(sending.pop_front()).await);
                }
                let from = at * PART_BYTES % RING_BYTES;
                let number = at as i32 + 1;
                let part = client
                    .upload_part()
                    .bucket(task.bucket)
                    .key(&key)
                    .upload_id(&upload)
                    .part_number(number)
                    .body(ByteStream::from(ring.slice(from..from + PART_BYTES)));
                sending.push_back(tokio::spawn(async move {
                    let sent = or_show(part.send().await);
                    CompletedPart::builder()
                        .part_number(number)
                        .set_e_tag(sent.e_tag)
                        .set_checksum_crc32(sent.checksum_crc32)
                        .build()
                }));
            }
            while !sending.is_empty() {
                parts.push(done(sending.pop_front()).await);
            }
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
            let complete = client
                .complete_multipart_upload()
                .bucket(task.bucket)
                .key(&key)
                .upload_id(&upload)
                .multipart_upload(parts);
            or_show(complete.send().await);
        }
        ops * task.workload.bytes as u64
    })
    .await
}

async fn done(part: Option<tokio::task::JoinHandle<CompletedPart>>) -> CompletedPart {
    match part {
        Some(part) => or_fail(part.await),
        None => fail("no part is being sent"),
    }
}

async fn list(task: &Task, client: &Client) -> Report {
    measure(task, async |ops| {
        let mut keys = 0;
        for _ in 0..ops {
            let mut pages =
                client.list_objects_v2().bucket(task.bucket).prefix("list/").into_paginator().send();
            while let Some(page) = pages.next().await {
                keys += or_show(page).contents().len() as u64;
            }
        }
        assert_eq!(keys, ops * LIST_KEYS, "every key is listed");
        keys
    })
    .await
}

/// aws-sigv4, with the settings that S3 needs.
fn signing(task: &Task) -> Report {
    let identity = Credentials::new(task.access_key_id, task.secret_access_key, None, None, "bench").into();
    let url = format!("http://127.0.0.1/{}/{}", task.bucket, task.put_key());
    measure_sync(task, |ops| {
        for _ in 0..ops {
            let mut settings = SigningSettings::default();
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            let params = v4::SigningParams::builder()
                .identity(&identity)
                .region(task.region)
                .name("s3")
                .time(SystemTime::now())
                .settings(settings)
                .build();
            let request =
                SignableRequest::new("PUT", &url, std::iter::empty(), SignableBody::UnsignedPayload);
            let (instructions, _) = or_fail(sign(or_fail(request), &or_fail(params).into())).into_parts();
            let mut request = or_fail(http::Request::put(&url).body(()));
            instructions.apply_to_request_http1x(&mut request);
            std::hint::black_box(request);
        }
        0
    })
}

fn or_fail<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fail(error))
}

/// Its errors tell nothing but their kind unless they are debugged.
fn or_show<T, E: Debug>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| fail(format_args!("{error:?}")))
}
