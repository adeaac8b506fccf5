//! Dates of days, over a wider range than libraries of dates have: files hold whatever fits their integers.

/// Year, month and day of a count of days since 1970-01-01 (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
pub fn civil(days: i64) -> (i64, i64, i64) {
    // From the 1st of March of year 0 on, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
