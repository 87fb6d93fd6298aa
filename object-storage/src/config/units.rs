//! Sizes and durations as people write them: `8 MiB`, `250ms`.

use std::time::Duration;

use crate::limits::{GIB, KIB, MIB, TIB};

/// How to write a size; ends every complaint about one.
pub(super) const BYTES_ADVICE: &str =
    "write bytes as a whole number, or with a unit: 8388608, \"8 MiB\", \"1 GiB\"";
/// How to write a duration; ends every complaint about one.
pub(super) const DURATION_ADVICE: &str =
    "write a whole number with its unit: \"250ms\", \"3s\", \"2m\", \"1h\"";

/// Reads a size: a whole number of bytes, or of B, KiB, MiB, GiB, TiB in any case.
///
/// Units of 1000 are refused: most who write `8 MB` for a part mean 8 MiB, and the difference decides whether
/// two configurations are the same.
pub(super) fn parse_bytes(text: &str) -> Result<u64, &'static str> {
    let (number, unit) = split(text)?;
    let scale = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => KIB,
        "mib" => MIB,
        "gib" => GIB,
        "tib" => TIB,
        "k" | "kb" | "m" | "mb" | "g" | "gb" | "t" | "tb" => {
            return Err("its unit may mean 1000s or 1024s");
        }
        _ => return Err("its unit is unknown"),
    };
    number.checked_mul(scale).ok_or("it is too large")
}

/// Reads a duration: a whole number of ms, s, m or h. A number without a unit is refused, because some
/// programs would read it as seconds and some as milliseconds.
pub(super) fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "" => return Err("it has no unit"),
        _ => return Err("its unit is unknown"),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or("it is too long")
}

/// Splits `12 MiB` into 12 and `MiB`. At most one space between the two.
fn split(text: &str) -> Result<(u64, &str), &'static str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("it does not begin with a digit");
    }
    let number = number.parse().map_err(|_| "it is too large")?;
    Ok((number, unit.strip_prefix(' ').unwrap_or(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_may_carry_a_unit_of_1024s() {
        for text in ["8388608", "8388608 B", "8MiB", "8 MiB", "8 mib", "8192KiB"] {
            assert_eq!(parse_bytes(text), Ok(8 * MIB), "{text}");
        }
        assert_eq!(parse_bytes("5GiB"), Ok(5 * GIB));
        assert_eq!(parse_bytes("0"), Ok(0));
    }

    #[test]
    fn a_size_that_could_be_read_in_two_ways_is_refused() {
        for text in [
            "", " 8MiB", "8MiB ", "8  MiB", "8 MB", "8M", "-8", "+8", "8.5MiB", "MiB", "8_000", "8 MiBs", "٨",
        ] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert_eq!(parse_bytes("18446744073709551616"), Err("it is too large"));
        assert_eq!(parse_bytes("18446744073709551615 KiB"), Err("it is too large"));
    }

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("3 s"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(parse_duration("3"), Err("it has no unit"));
        for text in ["", "s", "3.1s", "-3s", "3S", "3 sec", "3s ", "1d", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(parse_duration("18446744073709551615h"), Err("it is too long"));
    }
}
