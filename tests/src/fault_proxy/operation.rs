//! [`S3Operation`]: what a request asks of S3, read from its head alone.

use std::fmt;

/// An operation of S3 as a request shows it. A condition makes it another one, because another fate awaits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "each variant is the S3 action of that name, with the condition that it carries"
)]
pub enum S3Operation {
    PutObject,
    PutObjectIfNoneMatch,
    PutObjectIfMatch,
    GetObject,
    GetObjectRange,
    HeadObject,
    ListObjectsV2,
    DeleteObject,
    DeleteObjectIfMatch,
    DeleteObjects,
    CopyObject,
    CreateMultipartUpload,
    UploadPart,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    ListMultipartUploads,
    /// Anything else.
    Other,
}

impl fmt::Display for S3Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl S3Operation {
    /// The operation that a request head asks for, and what it is about: the path as it was sent, and for listings
    /// the prefix.
    #[must_use]
    pub fn of(head: &[u8]) -> (S3Operation, String) {
        let text = String::from_utf8_lossy(head);
        let mut words = text.lines().next().unwrap_or_default().split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let header = |name| super::http::header(head, name);
        let value = |name: &str| {
            let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
        };
        let asks = |name| value(name).is_some();
        let operation = match method {
            "PUT" if asks("partNumber") => S3Operation::UploadPart,
            "PUT" if header("x-amz-copy-source").is_some() => S3Operation::CopyObject,
            "PUT" if header("if-none-match").is_some() => S3Operation::PutObjectIfNoneMatch,
            "PUT" if header("if-match").is_some() => S3Operation::PutObjectIfMatch,
            "PUT" => S3Operation::PutObject,
            "GET" if asks("list-type") => S3Operation::ListObjectsV2,
            "GET" if asks("uploads") => S3Operation::ListMultipartUploads,
            "GET" if asks("uploadId") => S3Operation::ListParts,
            "GET" if header("range").is_some() => S3Operation::GetObjectRange,
            "GET" => S3Operation::GetObject,
            "HEAD" => S3Operation::HeadObject,
            "DELETE" if asks("uploadId") => S3Operation::AbortMultipartUpload,
            "DELETE" if header("if-match").is_some() => S3Operation::DeleteObjectIfMatch,
            "DELETE" => S3Operation::DeleteObject,
            "POST" if asks("delete") => S3Operation::DeleteObjects,
            "POST" if asks("uploads") => S3Operation::CreateMultipartUpload,
            "POST" if asks("uploadId") => S3Operation::CompleteMultipartUpload,
            _ => S3Operation::Other,
        };
        let about = match value("prefix") {
            Some(prefix) => format!("{path}?prefix={prefix}"),
            None => path.to_owned(),
        };
        (operation, about)
    }

    /// Whether the operation changes nothing.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(
            self,
            S3Operation::GetObject
                | S3Operation::GetObjectRange
                | S3Operation::HeadObject
                | S3Operation::ListObjectsV2
                | S3Operation::ListParts
                | S3Operation::ListMultipartUploads
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_query_and_headers_tell_the_operation() {
        let cases = [
            ("PUT /b/k", "", S3Operation::PutObject),
            ("PUT /b/k", "If-None-Match: *\r\n", S3Operation::PutObjectIfNoneMatch),
            ("PUT /b/k", "if-match: \"e\"\r\n", S3Operation::PutObjectIfMatch),
            ("PUT /b/k", "x-amz-copy-source: /b/s\r\n", S3Operation::CopyObject),
            ("PUT /b/k?partNumber=1&uploadId=u", "", S3Operation::UploadPart),
            ("GET /b/k", "", S3Operation::GetObject),
            ("GET /b/k", "range: bytes=0-1\r\n", S3Operation::GetObjectRange),
            ("GET /b?list-type=2&prefix=a", "", S3Operation::ListObjectsV2),
            ("GET /b?uploads=&prefix=a", "", S3Operation::ListMultipartUploads),
            ("GET /b/k?uploadId=u", "", S3Operation::ListParts),
            ("HEAD /b/k", "", S3Operation::HeadObject),
            ("DELETE /b/k", "", S3Operation::DeleteObject),
            ("DELETE /b/k", "if-match: \"e\"\r\n", S3Operation::DeleteObjectIfMatch),
            ("DELETE /b/k?uploadId=u", "", S3Operation::AbortMultipartUpload),
            ("POST /b?delete=", "", S3Operation::DeleteObjects),
            ("POST /b/k?uploads=", "", S3Operation::CreateMultipartUpload),
            ("POST /b/k?uploadId=u", "", S3Operation::CompleteMultipartUpload),
            ("OPTIONS /", "", S3Operation::Other),
        ];
        for (line, headers, expected) in cases {
            let head = format!("{line} HTTP/1.1\r\nhost: h\r\n{headers}\r\n");
            assert_eq!(S3Operation::of(head.as_bytes()).0, expected, "{line} {headers}");
        }
        let (_, about) = S3Operation::of(b"GET /b?list-type=2&prefix=a HTTP/1.1\r\n\r\n");
        assert_eq!(about, "/b?prefix=a");
    }
}
