//! Which requests a report is about: the parameters that all reports share.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{
    http::error::{Code, Error},
    store::reports::{BucketType, buckets},
};

/// More would be no picture, and would be slow.
const MAX_BUCKETS: i64 = 5_000;

/// The time from the beginning of the current one until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Period {
    Day,
    /// It begins on Sunday.
    Week,
    Month,
}

/// A range as it can be asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) to: Option<DateTime<Utc>>,
    pub(super) period: Option<Period>,
    pub(super) start_date: Option<NaiveDate>,
    pub(super) end_date: Option<NaiveDate>,
}

/// From the first to before the second.
pub(super) type Range = (DateTime<Utc>, DateTime<Utc>);

/// The parameters of a report: those of every report, and its own.
macro_rules! usage_query {
    (
        $(#[$about:meta])*
        struct $name:ident { $($(#[$field_about:meta])* $field:ident: $kind:ty,)* }
    ) => {
        $(#[$about])*
        #[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
        #[into_params(parameter_in = Query)]
        #[serde(deny_unknown_fields)]
        struct $name {
            /// Requests that started then or later; a day before `to` when not given.
            #[serde(alias = "start_time")]
            from: Option<chrono::DateTime<chrono::Utc>>,
            /// Requests that started before then; now when not given.
            #[serde(alias = "end_time")]
            to: Option<chrono::DateTime<chrono::Utc>>,
            /// Instead of `from` and `to`: the current day, week or month until now,
            /// in PROXY_TIMEZONE.
            #[param(inline)]
            period: Option<crate::http::usage::range::Period>,
            /// Instead of `from` and `to`: the first day, in PROXY_TIMEZONE. It goes
            /// before `period`.
            start_date: Option<chrono::NaiveDate>,
            /// The last day, which is part of the range.
            end_date: Option<chrono::NaiveDate>,
            /// Only requests of this user.
            user_id: Option<uuid::Uuid>,
            /// Only requests with this access key.
            access_key_id: Option<uuid::Uuid>,
            /// Only requests priced as this model, such as `claude-sonnet-4-5`.
            model: Option<String>,
            /// Only requests that were answered there.
            #[param(inline)]
            provider: Option<crate::store::usage::Answerer>,
            $($(#[$field_about])* $field: $kind,)*
        }

        impl $name {
            /// # Errors
            /// 400 `invalid_query`.
            fn filter(
                &self,
                timezone: chrono_tz::Tz,
            ) -> Result<crate::store::usage::Filter, crate::http::error::Error> {
                let asked = crate::http::usage::range::Asked {
                    from: self.from,
                    to: self.to,
                    period: self.period,
                    start_date: self.start_date,
                    end_date: self.end_date,
                };
                let (from, to) = crate::http::usage::range::range(asked, chrono::Utc::now(), timezone)?;
                Ok(crate::store::usage::Filter {
                    from_inclusive: from,
                    to_exclusive: to,
                    user_id: self.user_id,
                    access_key_id: self.access_key_id,
                    model: self.model.clone(),
                    provider: self.provider,
                })
            }
        }
    };
}
pub(super) use usage_query;

/// The last day, unless something else is asked for.
///
/// # Errors
/// 400 `invalid_query`.
pub(super) fn range(asked: Asked, now: DateTime<Utc>, timezone: Tz) -> Result<Range, Error> {
    let bad = |message| Error::with_message(Code::InvalidQuery, message);
    let by_days = asked.period.is_some() || asked.start_date.or(asked.end_date).is_some();
    if by_days && asked.from.or(asked.to).is_some() {
        return Err(bad(
            "from and to cannot be given together with period, start_date or end_date.",
        ));
    }
    let (from, to) = match (asked.start_date, asked.end_date, asked.period) {
        (Some(first), Some(last), _) => days(first, last, timezone)
            .ok_or_else(|| bad("start_date and end_date must be in the years 1 to 9999."))?,
        (None, None, Some(period)) => (beginning(period, now, timezone), now),
        (None, None, None) => {
            let to = asked.to.unwrap_or(now);
            let day_before = || to.checked_sub_signed(TimeDelta::days(1));
            let from = asked.from.or_else(day_before);
            (from.ok_or_else(|| bad("to is too early."))?, to)
        }
        _ => return Err(bad("start_date and end_date must be given together.")),
    };
    if from > to {
        return Err(bad("The range must not end before it begins."));
    }
    if from.year() < 1 || to.year() > 9999 {
        return Err(bad("The range must be in the years 1 to 9999."));
    }
    Ok((from, to))
}

/// # Errors
/// 400 `too_many_buckets`, when so many series of them would be too much.
pub(super) fn check_buckets(
    bucket_type: BucketType,
    (from, to): Range,
    series: i64,
) -> Result<(), Error> {
    let count = buckets(bucket_type, to - from).saturating_mul(series);
    if count <= MAX_BUCKETS {
        return Ok(());
    }
    let message = format!(
        "The range has more than {MAX_BUCKETS} buckets; take a larger bucket_type or a shorter range."
    );
    Err(Error::with_message(Code::TooManyBuckets, message))
}

/// Both days are part of it.
fn days(first: NaiveDate, last: NaiveDate, timezone: Tz) -> Option<Range> {
    let after = last.checked_add_days(Days::new(1))?;
    Some((midnight(first, timezone), midnight(after, timezone)))
}

fn beginning(period: Period, now: DateTime<Utc>, timezone: Tz) -> DateTime<Utc> {
    let today = now.with_timezone(&timezone).date_naive();
    let day = match period {
        Period::Day => Some(today),
        Period::Week => {
            let since_sunday = today.weekday().num_days_from_sunday();
            today.checked_sub_days(Days::new(since_sunday.into()))
        }
        Period::Month => today.with_day(1),
    };
    midnight(day.unwrap_or(today), timezone)
}

/// When a day begins. Where clocks jump over midnight, it is the jump.
fn midnight(day: NaiveDate, timezone: Tz) -> DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    // Whole days have been jumped over, where a country has changed sides of the
    // date line.
    let quarters = (0..=2 * 24 * 4).map(|quarter| TimeDelta::minutes(15 * quarter));
    let begin = quarters
        .filter_map(|later| midnight.checked_add_signed(later))
        .find_map(|local| timezone.from_local_datetime(&local).earliest());
    begin.map_or(midnight.and_utc(), |begin| begin.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn day(text: &str) -> Option<NaiveDate> {
        Some(text.parse().unwrap())
    }

    const UTC: Tz = Tz::UTC;

    #[test]
    fn the_default_is_the_last_day() {
        let now = time("2026-11-20T12:00:00Z");
        assert_eq!(
            range(Asked::default(), now, UTC).unwrap(),
            (time("2026-11-19T12:00:00Z"), now)
        );
    }

    #[test]
    fn what_is_no_range_is_refused() {
        let now = time("2026-11-20T12:00:00Z");
        let early = Some(DateTime::<Utc>::MIN_UTC);
        let hour_ago = Some(time("2026-11-20T11:00:00Z"));
        let asked = Asked::default();
        for refused in [
            Asked {
                from: Some(now),
                to: hour_ago,
                ..asked
            },
            Asked {
                from: early,
                ..asked
            },
            Asked { to: early, ..asked },
            Asked {
                start_date: day("2026-11-01"),
                ..asked
            },
            Asked {
                end_date: day("2026-11-01"),
                ..asked
            },
            Asked {
                end_date: day("2026-11-01"),
                period: Some(Period::Day),
                ..asked
            },
            Asked {
                start_date: day("2026-11-03"),
                end_date: day("2026-11-01"),
                ..asked
            },
            Asked {
                period: Some(Period::Day),
                from: hour_ago,
                ..asked
            },
            Asked {
                start_date: Some(NaiveDate::MIN),
                end_date: Some(NaiveDate::MAX),
                ..asked
            },
        ] {
            assert!(range(refused, now, UTC).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn periods_begin_with_the_day_the_sunday_and_the_first() {
        let berlin = Tz::Europe__Berlin;
        // Monday in Berlin, and still Sunday in UTC.
        let now = time("2026-11-01T23:30:00Z");
        for (period, timezone, from) in [
            (Period::Day, UTC, "2026-11-01T00:00:00Z"),
            (Period::Week, UTC, "2026-11-01T00:00:00Z"),
            (Period::Month, UTC, "2026-11-01T00:00:00Z"),
            (Period::Day, berlin, "2026-11-01T23:00:00Z"),
            (Period::Week, berlin, "2026-10-31T23:00:00Z"),
            (Period::Month, berlin, "2026-10-31T23:00:00Z"),
        ] {
            let asked = Asked {
                period: Some(period),
                ..Asked::default()
            };
            let expected = (time(from), now);
            assert_eq!(range(asked, now, timezone).unwrap(), expected, "{period:?}");
        }
    }

    #[test]
    fn both_dates_are_whole_days_of_the_time_zone() {
        let now = time("2026-12-24T12:00:00Z");
        for (timezone, first, last, from, to) in [
            (
                Tz::Europe__Berlin,
                "2026-10-25",
                "2026-10-25",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
            (
                Tz::Europe__Berlin,
                "2026-03-29",
                "2026-03-29",
                "2026-03-28T23:00:00Z",
                "2026-03-29T22:00:00Z",
            ),
            (
                Tz::Asia__Kolkata,
                "2026-02-01",
                "2026-02-28",
                "2026-01-31T18:30:00Z",
                "2026-02-28T18:30:00Z",
            ),
            // There the clock went from midnight to one.
            (
                Tz::America__Sao_Paulo,
                "2018-11-04",
                "2018-11-04",
                "2018-11-04T03:00:00Z",
                "2018-11-05T02:00:00Z",
            ),
            // There was no such day.
            (
                Tz::Pacific__Apia,
                "2011-12-30",
                "2011-12-30",
                "2011-12-30T10:00:00Z",
                "2011-12-30T10:00:00Z",
            ),
        ] {
            let asked = Asked {
                start_date: day(first),
                end_date: day(last),
                period: Some(Period::Day),
                ..Asked::default()
            };
            assert_eq!(
                range(asked, now, timezone).unwrap(),
                (time(from), time(to)),
                "{timezone} {first}"
            );
        }
    }

    #[test]
    fn buckets_are_bounded() {
        let days = |days| {
            let from = time("2026-01-01T00:00:00Z");
            (from, from + TimeDelta::days(days))
        };
        for (bucket_type, range, series, is_fine) in [
            (BucketType::Hour, days(31), 1, true),
            (BucketType::Hour, days(31), 20, false),
            (BucketType::Hour, days(210), 1, false),
            (BucketType::Minute, days(3), 1, true),
            (BucketType::Minute, days(4), 1, false),
            (BucketType::Day, days(400), 10, true),
            (BucketType::Month, days(365_000), 1, false),
        ] {
            let checked = check_buckets(bucket_type, range, series);
            assert_eq!(checked.is_ok(), is_fine, "{bucket_type:?} {range:?}");
        }
    }
}
