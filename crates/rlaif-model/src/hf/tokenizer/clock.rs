//! `strftime` for chat templates that write the date.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// The current time in UTC, formatted. Knows `%Y %y %m %B %b %d %e %j %A %a %H %I %M %S %p %%`;
/// other directives stay as they are.
pub(super) fn strftime_utc(format: &str) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    strftime(format, since.as_secs())
}

/// Formats a time given in seconds since 1970.
fn strftime(format: &str, seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let name = |list: &[&'static str], index: u64| {
        usize::try_from(index).ok().and_then(|i| list.get(i)).copied().unwrap_or_default()
    };
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let piece = match chars.next() {
            Some('Y') => format!("{year}"),
            Some('y') => format!("{:02}", year % 100),
            Some('m') => format!("{month:02}"),
            Some('B') => name(&MONTHS, month - 1).to_owned(),
            Some('b') => name(&MONTHS, month - 1)[..3].to_owned(),
            Some('d') => format!("{day:02}"),
            Some('e') => format!("{day:2}"),
            Some('j') => format!("{:03}", days - first_of_january(year) + 1),
            Some('A') => name(&DAYS, days % 7).to_owned(),
            Some('a') => name(&DAYS, days % 7)[..3].to_owned(),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('%') | None => "%".to_owned(),
            Some(other) => format!("%{other}"),
        };
        out.push_str(&piece);
    }
    out
}

/// Year, month and day of the day that is `days` after the first of January 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970 + days / 366;
    while first_of_january(year + 1) <= days {
        year += 1;
    }
    let mut day = days - first_of_january(year);
    let february = if leap(year) { 29 } else { 28 };
    for (month, length) in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31].iter().enumerate()
    {
        if day < *length {
            return (year, month as u64 + 1, day + 1);
        }
        day -= length;
    }
    (year, 12, 31)
}

/// Days from 1970 to the first of January of `year`.
fn first_of_january(year: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // From `date -u -d @N`.
        for (seconds, expected) in [
            (0, "Thu 01 January 1970 00:00:00 001"),
            (951_827_696, "Tue 29 February 2000 12:34:56 060"),
            (1_735_689_599, "Tue 31 December 2024 23:59:59 366"),
            (4_107_542_400, "Mon 01 March 2100 00:00:00 060"),
        ] {
            assert_eq!(strftime("%a %d %B %Y %H:%M:%S %j", seconds), expected);
        }
        assert_eq!(strftime("%I %p 100%% %Q", 951_827_696), "12 PM 100% %Q");
    }
}
