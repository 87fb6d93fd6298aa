//! Who is measured.

/// One form of one program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    /// As the table calls it.
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    /// Handed to the program.
    pub(crate) variant: &'static str,
    pub(crate) role: Role,
    pub(crate) about: &'static str,
    /// Packages whose versions the table names.
    pub(crate) versions: &'static [&'static str],
    pub(crate) by_default: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Floor,
    Ours,
    Rival,
}

/// Ours with the options that somebody wants to compare.
pub(crate) fn ours(name: &str, options: &str) -> &'static Contender {
    // The command line lives as long as the program.
    let kept = |text: &str| -> &'static str { Box::leak(text.into()) };
    Box::leak(Box::new(Contender {
        name: kept(name),
        package: OURS,
        variant: kept(options),
        role: Role::Ours,
        about: kept(options),
        versions: &[],
        by_default: false,
    }))
}

/// Our own client, in all its forms.
pub(crate) const OURS: &str = "contender-ours";

pub(crate) const CONTENDERS: &[Contender] = &[
    Contender {
        name: "floor",
        package: "contender-floor",
        variant: "",
        role: Role::Floor,
        about: "compio TCP, prebuilt requests; plain http only",
        versions: &["compio"],
        by_default: true,
    },
    Contender {
        name: "ours-direct",
        package: OURS,
        variant: "transport = \"direct\"",
        role: Role::Ours,
        about: "S3Storage over its own HTTP/1.1; rustls with ring",
        versions: &["compio", "rustls", "ring"],
        by_default: true,
    },
    Contender {
        name: "ours-cyper",
        package: OURS,
        variant: "transport = \"cyper\"",
        role: Role::Ours,
        about: "S3Storage over cyper; rustls with ring",
        versions: &["cyper", "hyper"],
        by_default: true,
    },
    Contender {
        name: "ours-direct-aws-lc",
        package: "contender-ours-aws-lc-rs",
        variant: "transport = \"direct\"",
        role: Role::Ours,
        about: "ours-direct; rustls with aws-lc-rs, as most rivals have it",
        versions: &["aws-lc-rs"],
        by_default: true,
    },
    Contender {
        name: "object_store",
        package: "contender-object-store",
        variant: "",
        role: Role::Rival,
        about: "default: signed payloads; reqwest, rustls with aws-lc-rs",
        versions: &["object_store"],
        by_default: true,
    },
    Contender {
        name: "object_store-unsigned",
        package: "contender-object-store",
        variant: "unsigned",
        role: Role::Rival,
        about: "with_unsigned_payload(true)",
        versions: &[],
        by_default: true,
    },
    Contender {
        name: "opendal",
        package: "contender-opendal",
        variant: "",
        role: Role::Rival,
        about: "default: unsigned payloads, no retries; reqwest, rustls with aws-lc-rs",
        versions: &["opendal", "reqsign-aws-v4"],
        by_default: true,
    },
    Contender {
        name: "aws-sdk",
        package: "contender-aws-sdk",
        variant: "",
        role: Role::Rival,
        about: "default: signed payloads, checksums both ways; hyper, rustls with aws-lc-rs",
        versions: &["aws-sdk-s3", "aws-sigv4", "aws-lc-rs"],
        by_default: true,
    },
    Contender {
        name: "aws-sdk-when-required",
        package: "contender-aws-sdk",
        variant: "when-required",
        role: Role::Rival,
        about: "checksums only where S3 demands them",
        versions: &[],
        by_default: false,
    },
    Contender {
        name: "rust-s3",
        package: "contender-rust-s3",
        variant: "",
        role: Role::Rival,
        about: "default: signed payloads; reqwest, rustls with ring",
        versions: &["rust-s3"],
        by_default: true,
    },
    Contender {
        name: "rusty-s3+reqwest",
        package: "contender-rusty-s3",
        variant: "",
        role: Role::Rival,
        about: "presigned URLs: unsigned payloads, no retries; rustls with aws-lc-rs",
        versions: &["rusty-s3", "reqwest"],
        by_default: true,
    },
];
