//! A program that drives the whole chain with its own variables, directory tree, HTTP and clock, through the
//! public API alone. Nothing of the machine is looked at.
//!
//! `cargo run -p credentials --example adapter`

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use credentials::{
    Clock, CredentialsCache, CredentialsChain, Environment, FileContent, Files, Host, HttpError, HttpSend,
    SendOptions,
};
use futures_util::future::LocalBoxFuture;
use http::{Request, Response};

struct Variables;

impl Environment for Variables {
    fn var(&self, name: &str) -> Option<OsString> {
        match name {
            "HOME" => Some("/home/app".into()),
            "AWS_REGION" => Some("eu-west-1".into()),
            _ => None,
        }
    }
}

struct Tree;

impl Files for Tree {
    fn read<'a>(&'a self, path: &'a Path, _: usize) -> LocalBoxFuture<'a, io::Result<FileContent>> {
        let text = match path.to_str() {
            Some("/home/app/.aws/config") => {
                "[default]\nrole_arn = arn:aws:iam::123456789012:role/app\nweb_identity_token_file = /run/token\n"
            }
            Some("/run/token") => "header.claims.signature\n",
            _ => return Box::pin(async { Err(io::ErrorKind::NotFound.into()) }),
        };
        Box::pin(async move { Ok(FileContent::new(text.into())) })
    }
}

/// A real program sends the request; this one is the STS too.
struct Http;

impl HttpSend for Http {
    fn send<'a>(
        &'a self,
        request: Request<Bytes>,
        _: &'a SendOptions,
    ) -> LocalBoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        println!("{} {}", request.method(), request.uri());
        let answer = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
            <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
            <SessionToken>token</SessionToken><Expiration>2027-01-15T09:00:00Z</Expiration>\
            </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
        Box::pin(async { Ok(Response::new(Bytes::from_static(answer.as_bytes()))) })
    }
}

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::builder().environment(Variables).files(Tree).http(Http).clock(Fixed).build();
    let cache = CredentialsCache::new(CredentialsChain::builder().build());
    // Any executor will do: the futures wait for nothing but what the host brings.
    let found = futures_util::future::FutureExt::now_or_never(cache.get(&host)).ok_or("it waits")?;
    let identity = found?;
    println!("{:?}", identity.credentials());
    let explain = futures_util::future::FutureExt::now_or_never(cache.explain(&host)).ok_or("it waits")?;
    println!("{explain}");
    Ok(())
}
