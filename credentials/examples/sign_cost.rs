//! What a signature costs with the day's key at hand: `cargo run --release -p credentials --example
//! sign_cost`. A number as argument is taken as the number of signatures of each kind; for an instruction
//! count, take the difference of two runs under `valgrind --tool=callgrind`.
#![expect(clippy::unwrap_used, reason = "a measurement: a surprise ends it")]
#![expect(clippy::disallowed_methods, reason = "a measurement looks at the clock")]
#![expect(clippy::print_stdout, reason = "this is where the result goes")]

use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime};

use credentials::sigv4::{
    AUTHORIZATION_BYTES, AmzDate, CanonicalRequest, PayloadHash, Signer, SigningStyle, UNSIGNED_PAYLOAD,
    canonical_query_into, uri_encode_into,
};
use credentials::{Credentials, Secret, SourceName};

/// As long as those that STS gives to a role.
const TOKEN_BYTES: usize = 800;
const BATCHES: u32 = 10;

fn main() {
    let rounds: u32 = std::env::args().nth(1).map_or(1_000_000, |rounds| rounds.parse().unwrap());
    for token in [None, Some("t".repeat(TOKEN_BYTES))] {
        let with = if token.is_some() { "with" } else { "without" };
        println!("put, {with} token");
        let signer = signer(token.as_deref());
        authorize(&signer, token.as_deref(), rounds);
        sign(&signer, rounds / 10);
    }
    println!("parts");
    let mut second = 0;
    measure("date", rounds, || {
        second += 1;
        AmzDate::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160 + second)).unwrap()
    });
    let signer = signer(None);
    measure("date in the same second", rounds, || {
        signer.date(black_box(SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160))).unwrap()
    });
    let mut path = String::new();
    measure("path of 38 bytes", rounds, || {
        path.clear();
        uri_encode_into(black_box("/bucket/some/prefix/object-0001 23.txt"), true, &mut path);
        path.len()
    });
    let mut query = String::new();
    measure("query of two", rounds, || {
        query.clear();
        canonical_query_into(&mut [("uploadId", "VXBsb2FkIElE"), ("partNumber", "7")], &mut query);
        query.len()
    });
}

fn signer(token: Option<&str>) -> Signer {
    let keys =
        Credentials::builder("AKIAIOSFODNN7EXAMPLE", Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
            .session_token(token.map(Secret::new))
            .build(SourceName::Inline)
            .unwrap();
    Signer::new(keys, "eu-west-1", "s3", SigningStyle::S3)
}

/// A conditional put of an object with a checksum.
fn authorize(signer: &Signer, token: Option<&str>, rounds: u32) {
    let date = AmzDate::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160)).unwrap();
    let mut headers = vec![
        ("content-type", "application/octet-stream"),
        ("host", "bucket.s3.eu-west-1.amazonaws.com"),
        ("if-none-match", "*"),
        ("x-amz-checksum-crc32c", "yZRlqg=="),
        ("x-amz-content-sha256", UNSIGNED_PAYLOAD),
        ("x-amz-date", date.as_str()),
    ];
    headers.extend(token.map(|token| ("x-amz-security-token", token)));
    let mut out = Vec::with_capacity(AUTHORIZATION_BYTES);
    measure("authorize", rounds, || {
        out.clear();
        let request = CanonicalRequest {
            method: "PUT",
            path: "/some/prefix/object-000123",
            query: "",
            headers: black_box(&headers[..]).iter().copied(),
            payload_hash: UNSIGNED_PAYLOAD,
        };
        signer.authorize(request, &date, &mut out).unwrap();
        out.len()
    });
}

/// The same from a request of the `http` crate, which is built in the time measured.
fn sign(signer: &Signer, rounds: u32) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    measure("sign", rounds, || {
        let request =
            http::Request::put("https://bucket.s3.eu-west-1.amazonaws.com/some/prefix/object-000123")
                .header("content-type", "application/octet-stream")
                .header("if-none-match", "*")
                .header("x-amz-checksum-crc32c", "yZRlqg==");
        let mut request = request.body(()).unwrap().into_parts().0;
        signer.sign(&mut request, &PayloadHash::Unsigned, time).unwrap();
        request
    });
}

/// The fastest and the median batch: others share the machine.
fn measure<T>(what: &str, rounds: u32, mut work: impl FnMut() -> T) {
    let rounds = (rounds / BATCHES).max(1);
    let mut batches: Vec<Duration> = (0..BATCHES)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..rounds {
                black_box(work());
            }
            began.elapsed()
        })
        .collect();
    batches.sort();
    let nanos = |batch: Duration| batch.as_nanos() / u128::from(rounds);
    println!("  {what}: {} ns, median {} ns", nanos(batches[0]), nanos(batches[batches.len() / 2]));
}
