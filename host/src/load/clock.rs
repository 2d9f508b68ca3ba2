//! The date, for chat templates that tell it to the model (`strftime_now`).

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 as UTC text in `strftime`'s notation; other than transformers, which uses
/// local time, so that a chat does not depend on where it is run. Unknown letters stay as they are.
pub fn format_utc(seconds: u64, format: &str) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let weekday = WEEKDAYS[((days + 4) % 7) as usize];
    let month_name = MONTHS[month - 1];
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('d') => text += &format!("{day:02}"),
            Some('m') => text += &format!("{month:02}"),
            Some('Y') => text += &year.to_string(),
            Some('y') => text += &format!("{:02}", year % 100),
            Some('b') => text += &month_name[..3],
            Some('B') => text += month_name,
            Some('a') => text += &weekday[..3],
            Some('A') => text += weekday,
            Some('H') => text += &format!("{hour:02}"),
            Some('I') => text += &format!("{:02}", (hour + 11) % 12 + 1),
            Some('p') => text += if hour < 12 { "AM" } else { "PM" },
            Some('M') => text += &format!("{minute:02}"),
            Some('S') => text += &format!("{:02}", second % 60),
            Some('%') => text.push('%'),
            Some(other) => text.extend(['%', other]),
            None => text.push('%'),
        }
    }
    text
}

/// Now, as [`format_utc`] writes it.
pub fn format_now(format: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    format_utc(now.map_or(0, |since| since.as_secs()), format)
}

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
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Year, month and day of a day since 1970.
fn civil(mut days: u64) -> (u64, usize, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    // whole cycles of 400 years first, so that the loop is short for any clock
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(format_utc(0, "%A %d %B %Y %H:%M:%S"), "Thursday 01 January 1970 00:00:00");
        assert_eq!(format_utc(951_782_400, "%d %b %Y"), "29 Feb 2000");
        assert_eq!(format_utc(1_704_067_199, "%a %Y-%m-%d %I:%M %p 100%%"), "Sun 2023-12-31 11:59 PM 100%");
        assert_eq!(format_utc(4_107_542_400, "%y%m%d %q%"), "000301 %q%");
        assert!(!format_utc(u64::MAX, "%Y").is_empty());
    }
}
