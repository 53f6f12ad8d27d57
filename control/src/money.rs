//! US dollars, counted in whole micro-dollars; never a float.

use std::{fmt, ops::AddAssign, str::FromStr};

use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive, num_bigint::BigInt};
use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    pg::{Pg, PgValue},
    serialize::{self, Output, ToSql},
    sql_types::Numeric,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

/// Digits behind the point, in Postgres and in JSON.
const SCALE: i64 = 6;

/// An amount; in JSON a text with six decimals such as `"12.345000"`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromSqlRow, AsExpression,
)]
#[diesel(sql_type = Numeric)]
pub struct Usd(i64);

/// A text that is no amount of dollars.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotUsd {
    #[error("{0:?} is not a decimal number")]
    Number(String),
    #[error("{0} has more than six decimals")]
    Precision(String),
    #[error("{0} is too large")]
    Range(String),
}

impl Usd {
    pub const ZERO: Self = Self(0);

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Never less than zero: for the wire, which has no negative amounts.
    pub fn unsigned_micros(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }

    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This part of `whole` in per cent, to two decimals; none of nothing.
    pub fn percent_of(self, whole: Self) -> Option<f64> {
        if whole.0 <= 0 {
            return None;
        }
        // Amounts are far below 2^53.
        let hundredths = (self.0 as f64 * 10_000.0 / whole.0 as f64).round();
        Some(hundredths / 100.0)
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl From<u64> for Usd {
    /// From micro-dollars; what is too large for a ledger is the largest amount.
    fn from(micros: u64) -> Self {
        Self(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

impl From<Usd> for BigDecimal {
    fn from(usd: Usd) -> Self {
        Self::new(BigInt::from(usd.0), SCALE)
    }
}

impl TryFrom<BigDecimal> for Usd {
    type Error = NotUsd;

    fn try_from(decimal: BigDecimal) -> Result<Self, NotUsd> {
        let scaled = decimal.with_scale_round(SCALE, RoundingMode::HalfUp);
        if scaled != decimal {
            return Err(NotUsd::Precision(decimal.to_string()));
        }
        let (micros, _scale) = scaled.into_bigint_and_scale();
        let micros = micros
            .to_i64()
            .ok_or_else(|| NotUsd::Range(decimal.to_string()))?;
        Ok(Self(micros))
    }
}

impl FromStr for Usd {
    type Err = NotUsd;

    fn from_str(text: &str) -> Result<Self, NotUsd> {
        let decimal = BigDecimal::from_str(text.trim());
        decimal
            .map_err(|_syntax| NotUsd::Number(text.to_owned()))?
            .try_into()
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Usd {
    /// From a text or a number, exactly as it is written.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "an amount such as 12.5 or \"12.50\"")]
        enum Written {
            Text(String),
            Number(serde_json::Number),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Number(number) => number.to_string(),
        };
        text.parse().map_err(de::Error::custom)
    }
}

impl ToSql<Numeric, Pg> for Usd {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<Numeric, Pg>::to_sql(&BigDecimal::from(*self), &mut out.reborrow())
    }
}

impl FromSql<Numeric, Pg> for Usd {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let decimal = <BigDecimal as FromSql<Numeric, Pg>>::from_sql(value)?;
        Ok(decimal.try_into()?)
    }
}

impl PartialSchema for Usd {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("US dollars with six decimals"))
            .examples(["12.345000"])
            .build()
            .into()
    }
}

impl ToSchema for Usd {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_written() {
        for (json, micros) in [
            ("12.5", 12_500_000),
            ("\"12.50\"", 12_500_000),
            ("0.1", 100_000),
            ("\"0.000001\"", 1),
            ("3", 3_000_000),
            ("-1.25", -1_250_000),
            ("1e2", 100_000_000),
        ] {
            let usd: Usd = serde_json::from_str(json).unwrap();
            assert_eq!(usd.micros(), micros, "{json}");
        }
        for json in [
            "\"1.2345678\"",
            "\"a\"",
            "\"\"",
            "true",
            "null",
            "1e30",
            "\"NaN\"",
        ] {
            assert!(serde_json::from_str::<Usd>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn amounts_are_written_with_six_decimals() {
        for (micros, text) in [
            (0, "0.000000"),
            (1, "0.000001"),
            (12_500_000, "12.500000"),
            (-1_250_000, "-1.250000"),
        ] {
            assert_eq!(Usd::from_micros(micros).to_string(), text);
        }
    }

    #[test]
    fn a_part_is_told_in_per_cent() {
        let usd = Usd::from_micros;
        assert_eq!(usd(1).percent_of(usd(3)), Some(33.33));
        assert_eq!(usd(4).percent_of(usd(2)), Some(200.0));
        assert_eq!(usd(1).percent_of(Usd::ZERO), None);
    }
}
