//! Values with units and shapes: durations, "one or many".

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A duration with its unit: `"500ms"`, `"10s"`, `"5m"`, `"2h"`, `"1d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Time(pub Duration);

impl Time {
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a duration; write a number and a unit: \"500ms\", \"10s\", \"5m\", \"2h\" or \"1d\""
            )
        };
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(split);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit_millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        // 100 years keeps every later sum of an Instant and a Time in range.
        let millis = number
            .checked_mul(unit_millis)
            .filter(|millis| *millis <= 3_153_600_000_000);
        let millis = millis.ok_or_else(|| format!("`{text}` is longer than 100 years"))?;
        Ok(Self::millis(millis))
    }
}

/// A number of bytes with its unit: `"64KiB"`, `"10MiB"`, `"1GiB"`, `"512B"`, `"10MB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a size; write a number and a unit: \"512B\", \"64KiB\", \"10MiB\" or \"1GiB\""
            )
        };
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(split);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit: u64 = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        let bytes = number.checked_mul(unit);
        bytes
            .map(Self)
            .ok_or_else(|| format!("`{text}` is more than can be counted"))
    }
}

/// When a connection that must end is ended: `"30s"`, `"0s"` (cut at once) or `"never"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Drain {
    After(Duration),
    Never,
}

impl FromStr for Drain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self::Never),
            _ => Time::from_str(text)
                .map(|time| Self::After(time.0))
                .map_err(|error| format!("{error}, or \"never\"")),
        }
    }
}

/// The permissions of a file: `"0660"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode(pub u32);

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| byte.is_ascii_digit());
        let mode = u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o777 && octal);
        mode.map(Self).ok_or_else(|| {
            format!("`{text}` is not a mode; write permissions in octal, such as \"0660\"")
        })
    }
}

macro_rules! deserialize_from_str {
    ($($type:ty => $expecting:literal),* $(,)?) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(FromStrVisitor { expecting: $expecting, _type: PhantomData })
            }
        }
    )*};
}

deserialize_from_str! {
    Time => "a duration with its unit, such as \"10s\"",
    Size => "a size with its unit, such as \"10MiB\"",
    Drain => "a duration with its unit, such as \"30s\", or \"never\"",
    super::address::IpPort => "an address to listen on, such as \"127.0.0.1:8080\"",
    super::Address => "an address to listen on, such as \"127.0.0.1:8080\"",
    Mode => "a mode in octal, such as \"0660\"",
    super::Url => "a URL such as \"http://127.0.0.1:3000\"",
}

struct FromStrVisitor<T> {
    expecting: &'static str,
    _type: PhantomData<T>,
}

impl<T: FromStr<Err = String>> Visitor<'_> for FromStrVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// One value, or a list of them: `"a"` is `["a"]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> OneOrMany<T> {
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(StrDeserializer::new(text)).map(|one| OneOrMany(vec![one]))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
                let one = T::deserialize(MapAccessDeserializer::new(table));
                one.map(|one| OneOrMany(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(OneOrMany)
            }
        }

        deserializer.deserialize_any(Either(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_and_a_sane_size() {
        assert_eq!("250ms".parse(), Ok(Time::millis(250)));
        assert_eq!("2h".parse(), Ok(Time::seconds(7200)));
        for wrong in [
            "",
            "10",
            "s",
            "10 s",
            "-1s",
            "1.5s",
            "10sec",
            "99999999999999999999s",
            "40000d",
        ] {
            assert!(wrong.parse::<Time>().is_err(), "{wrong} was taken");
        }
    }
    #[test]
    fn sizes_need_a_unit_and_must_fit() {
        assert_eq!("64KiB".parse(), Ok(Size(65_536)));
        assert_eq!("10MB".parse(), Ok(Size(10_000_000)));
        for wrong in [
            "",
            "10",
            "KiB",
            "1.5MiB",
            "1kib",
            "-1B",
            "10 MiB",
            "99999999999TiB",
        ] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn a_mode_is_three_octal_digits_with_or_without_a_zero() {
        assert_eq!("0660".parse(), Ok(Mode(0o660)));
        assert_eq!("600".parse(), Ok(Mode(0o600)));
        for wrong in ["", "0o660", "66", "+660", "0668", "1777", "rw-rw----"] {
            assert!(wrong.parse::<Mode>().is_err(), "{wrong} was taken");
        }
    }
}
