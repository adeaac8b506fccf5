//! Whether a connection is reached: a HEAD of its URL, which asks for nothing and changes nothing, with its credentials.

use std::time::{Duration, SystemTime};

use super::Request;
use super::client::{Failed, Target};
use crate::component::bindings::millrace::connect::types::Error as GuestError;
use crate::doctor::{Reached, Unreached};

/// Longest that an answer is waited for.
const TIMEOUT_MS: u32 = 10_000;

/// See [`crate::doctor`].
pub(crate) async fn check(name: &str, target: &Target) -> Result<Reached, Unreached> {
    let request = Request {
        method: "HEAD".to_owned(),
        url: String::new(),
        relative_to: None,
        headers: Vec::new(),
        body: None,
        timeout_ms: TIMEOUT_MS,
        response_bytes_max: 0,
    };
    let answer = target.send(name, request).await.map_err(unreached)?;
    let date = answer.headers.iter().find(|(name, _)| name == "date");
    let clock = date.and_then(|(_, date)| http_date(date));
    // A server may refuse the question; that it answers is what was asked.
    let but = matches!(answer.status, 401 | 403).then(|| {
        let said = format!("{} answers {}: it does not take the credentials", answer.url, answer.status);
        (said, "correct `auth` of the connection, or the rights of its user there".to_owned())
    });
    Ok(Reached { said: format!("{} answers {}", answer.url, answer.status), but, clock })
}

fn unreached(Failed(error): Failed) -> Unreached {
    let (GuestError::Retriable(failure) | GuestError::Fatal(failure)) = error;
    let mend = match failure.code.as_str() {
        "http.denied" => "name the address in the connection, or say `private: true` if that is meant",
        "http.token" => "correct `auth.oauth2` of the connection",
        "http.connect" => {
            "start the service, or correct `url` of the connection; `ca` is for certificates of your own"
        }
        "http.timeout" => "look at the network between here and there, or raise `timeout` of the connection",
        _ => "correct the connection",
    };
    Unreached { said: format!("{} ({})", failure.message, failure.code), mend: mend.to_owned() }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110): the only form that may still be sent.
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = text.split_once(", ")?;
    let [day, month, year, time, "GMT"] = date.split(' ').collect::<Vec<_>>()[..] else { return None };
    let number = |text: &str| text.parse::<u64>().ok();
    let (day, year) = (number(day)?, number(year).filter(|year| (1970..10_000).contains(year))?);
    let month = MONTHS.iter().position(|known| *known == month)? as u64 + 1;
    let [hour, minute, second] = time.split(':').map(number).collect::<Option<Vec<_>>>()?[..] else {
        return None;
    };
    // Days since 1970, with years that begin in March (Howard Hinnant's days_from_civil).
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day.checked_sub(1)?;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let seconds = days.checked_sub(719_468)? * 86_400 + hour * 3_600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_servers() {
        let seconds =
            |text| http_date(text).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs());
        for (text, wanted) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 29 Feb 2024 23:59:60 GMT", Some(1_709_251_200)),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 00 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 99999 08:49:37 GMT", None),
            ("now", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }
}
