//! The bundled connector http-source: pages of a service, one after the other.
//!
//! A poll is a request. The whole page and the place of the next one are one transaction, so that after a kill the page is
//! asked for again if, and only if, its records are not in the topic.
//!
//! A round goes from the first page to the last. What comes after it depends on the settings:
//! - `window`: the next span of time;
//! - `position`: what has more than the greatest position seen;
//! - pages: the last page again, and what is behind the records that were on it: the list is taken to grow at its end;
//! - one page: that page again, all of it; with `conditional`, if it has changed.
//!
//! Rooms: [`state`] (where it stands), [`page`] (what is on a page), [`time`].

pub mod page;
pub mod settings;
pub mod state;
#[cfg(test)]
mod tests;
pub mod time;

use millrace_sdk::clock::now_ms;
use millrace_sdk::http::{self, Request, Response};
use millrace_sdk::{Checkpoint, Description, Error, Flow, Poll, PollLimits, Problem, Source, Task};

use crate::page::Reader;
use crate::settings::{Paging, Settings, Window};
use crate::state::{Page, State};

/// Pages without records that are passed in one go: a service that gives a new cursor each time has no last page.
const EMPTY_PAGES_MAX: u32 = 100;
/// The pause after them, where no rounds are waited for.
const EMPTY_PAUSE_MS: u32 = 1_000;
/// Longest part of a response that goes into a message.
const EXCERPT_CHARS_MAX: usize = 200;

/// The source's only task.
#[derive(Debug)]
pub struct HttpSource {
    settings: Settings,
    reader: Reader,
    state: State,
    /// Milliseconds since 1970, from the system or a test.
    clock: fn() -> i64,
    /// When the next request may go.
    due: i64,
    /// Pages without records, one after the other.
    empty_pages: u32,
}

impl Source for HttpSource {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(
            "http-source",
            env!("CARGO_PKG_VERSION"),
            "Reads JSON from an HTTP service, page by page",
        )
        .settings(include_str!("settings.schema.json"))
        .key_formats(&["utf8"])
        .value_formats(&["json"])
        .extra("delivery", "exactly-once")
    }

    fn validate(settings: &Settings) -> Result<Vec<Problem>, Error> {
        Ok(settings.problems())
    }

    fn open(_task: &Task, settings: Settings, resume: Vec<Checkpoint>) -> Result<Self, Error> {
        if let Some(problem) = settings.problems().into_iter().find(|problem| !problem.warning) {
            return Err(Error::fatal("settings", format!("{}: {}", problem.path, problem.message)));
        }
        let reader = Reader::new(&settings)?;
        let state = State::resume(&partition(&settings), &resume)?.unwrap_or_else(|| State {
            window: settings.window.as_ref().and_then(|window| time::parse(&window.start)),
            since: settings.position.as_ref().and_then(|position| position.start.clone()),
            ..State::default()
        });
        // One that was bounded and now goes on, or was changed so that positions count.
        let state = State { done: state.done && settings.poll_every.is_none(), ..state };
        Ok(Self { settings, reader, state, clock: now_ms, due: i64::MIN, empty_pages: 0 })
    }

    fn poll(&mut self, _limits: PollLimits, out: &mut Poll) -> Result<Flow, Error> {
        if self.state.done {
            millrace_sdk::info!("it was read to its end before; reset its offsets to read it again");
            return Ok(Flow::End);
        }
        let now = (self.clock)();
        if let Some(wait) = self.wait(now) {
            return Ok(wait);
        }
        self.due = now + i64::from(self.settings.min_interval.ms());
        let request = self.request();
        let response = http::send(&self.settings.connection, request)?;
        let mut next = self.state.clone();
        if response.status == 304 && self.is_conditional() {
            return Ok(self.round_ends(next, now, out));
        }
        accepted(&response)?;
        let records = self.reader.records(&response)?;
        let count = records.len() as u64;
        for record in records.into_iter().skip(usize::try_from(self.state.skip).unwrap_or(usize::MAX)) {
            if let Some(position) = self.reader.position(record)?
                && !next.note(&position, record.as_bytes())?
            {
                continue;
            }
            let mut writer = out.batch.record();
            if let Some(key) = self.reader.key(record)? {
                writer.key(&key);
            }
            writer.value().extend_from_slice(record.as_bytes());
            writer.end();
        }
        if self.settings.conditional && self.state.page == Page::First {
            next.etag = response.header("etag").map(str::to_owned);
            next.last_modified = response.header("last-modified").map(str::to_owned);
        }
        self.empty_pages = if count == 0 { self.empty_pages + 1 } else { 0 };
        let Some(page) = self.reader.next(&response, &self.state.page, count)? else {
            self.last_page(&mut next, count);
            return Ok(self.round_ends(next, now, out));
        };
        (next.page, next.skip, next.before) = (page, 0, count);
        self.keep(next, out);
        if self.empty_pages < EMPTY_PAGES_MAX {
            return Ok(Flow::More);
        }
        // There may be records behind them: the round goes on, and the service has a rest.
        self.empty_pages = 0;
        let pause = self.settings.poll_every.map_or(EMPTY_PAUSE_MS, |every| every.ms());
        if self.settings.poll_every.is_none() {
            millrace_sdk::warn!(
                "{EMPTY_PAGES_MAX} pages without records, and there is another one; going on"
            );
        }
        self.due = self.due.max(now + i64::from(pause));
        Ok(Flow::Idle(pause))
    }
}

fn partition(settings: &Settings) -> String {
    format!("{} {}", settings.connection, settings.url)
}

/// The response is one with records.
fn accepted(response: &Response) -> Result<(), Error> {
    if response.is_success() {
        return Ok(());
    }
    let place = response.url.split(['?', '#']).next().unwrap_or_default();
    let said = String::from_utf8_lossy(&response.body);
    let said: String =
        said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(EXCERPT_CHARS_MAX).collect();
    let (code, message) =
        (format!("http.{}", response.status), format!("{place} answers {}: {said}", response.status));
    let asked = response.retry_after();
    match response.status {
        408 | 425 | 429 | 500..=599 => Err(match asked {
            Some(wait) => Error::retriable(code, message).after(wait),
            None => Error::retriable(code, message),
        }),
        // Some services tell of a rate limit so.
        403 if let Some(wait) = asked => Err(Error::retriable(code, message).after(wait)),
        401 | 403 | 407 => Err(Error::fatal(code, format!("{message}; check `auth` of the connection"))),
        _ => Err(Error::fatal(code, message)),
    }
}

impl HttpSource {
    /// What to do instead of a request, if it is not time for one.
    fn wait(&self, now: i64) -> Option<Flow> {
        let until = |moment: i64| u32::try_from(moment.saturating_sub(now)).unwrap_or(u32::MAX);
        if now < self.due {
            return Some(Flow::Idle(until(self.due)));
        }
        let Window { step, lag, .. } = self.settings.window.as_ref()?;
        let whole = self.state.window? + i64::from(step.ms()) + i64::from(lag.ms());
        if now >= whole {
            return None;
        }
        Some(if self.settings.poll_every.is_some() { Flow::Idle(until(whole)) } else { Flow::End })
    }

    fn is_conditional(&self) -> bool {
        self.settings.conditional && self.state.page == Page::First
    }

    fn request(&self) -> Request {
        let (settings, state) = (&self.settings, &self.state);
        let mut request = match &state.page {
            Page::At { url, on } => {
                // A link is whole: it has all parameters.
                Request { relative_to: Some(on.clone()), ..Request::new("GET", url) }
            }
            _ => Request::new("GET", self.url()),
        };
        if !settings.headers.keys().any(|name| name.eq_ignore_ascii_case("accept")) {
            request = request.header("Accept", "application/json");
        }
        for (name, value) in &settings.headers {
            request = request.header(name, value);
        }
        if self.is_conditional() {
            if let Some(etag) = &state.etag {
                request = request.header("If-None-Match", etag);
            }
            if let Some(moment) = &state.last_modified {
                request = request.header("If-Modified-Since", moment);
            }
        }
        request
    }

    fn url(&self) -> String {
        let (settings, state) = (&self.settings, &self.state);
        let mut query: Vec<(&str, String)> =
            settings.params.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        if let (Some(window), Some(from)) = (&settings.window, state.window) {
            query.push((&window.from, time::write(from, window.format)));
            query.push((&window.to, time::write(from + i64::from(window.step.ms()), window.format)));
        }
        if let (Some(position), Some(since)) = (&settings.position, &state.since) {
            query.push((&position.param, since.clone()));
        }
        match (&settings.paging, &state.page) {
            (Some(Paging::Cursor { param, .. }), Page::Cursor(cursor)) => query.push((param, cursor.clone())),
            (Some(Paging::Offset { param, limit_param, limit }), page) => {
                let offset = if let Page::Number(offset) = page { *offset } else { 0 };
                query.push((param, offset.to_string()));
                query.push((limit_param, limit.to_string()));
            }
            (Some(Paging::Page { param, first }), page) => {
                let number = if let Page::Number(number) = page { *number } else { *first };
                query.push((param, number.to_string()));
            }
            _ => {}
        }
        let mut url = settings.url.clone();
        for (name, value) in query {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&format!("{}={}", http::encoded(name), http::encoded(&value)));
        }
        url
    }

    /// Where the next round begins when the page of `next` was the last of this one.
    fn last_page(&self, next: &mut State, count: u64) {
        if self.settings.window.is_some()
            || self.settings.position.is_some()
            || self.settings.paging.is_none()
        {
            (next.page, next.skip, next.before) = (Page::First, 0, 0);
            return;
        }
        match (&self.settings.paging, &next.page) {
            // What is new comes behind what was read.
            (Some(Paging::Offset { .. }), Page::Number(offset)) => {
                (next.page, next.skip) = (Page::Number(offset + count), 0);
            }
            (Some(Paging::Offset { .. }), _) => (next.page, next.skip) = (Page::Number(count), 0),
            // The page behind the last: the last one may get more.
            (Some(Paging::Page { first, .. }), Page::Number(number)) if count == 0 && number > first => {
                (next.page, next.skip) = (Page::Number(number - 1), next.before);
            }
            _ => next.skip = count.max(next.skip),
        }
    }

    fn round_ends(&mut self, mut next: State, now: i64, out: &mut Poll) -> Flow {
        self.empty_pages = 0;
        if let (Some(window), Some(from)) = (&self.settings.window, next.window) {
            next.window = Some(from + i64::from(window.step.ms()));
            self.keep(next, out);
            return Flow::More;
        }
        if self.settings.position.is_some() {
            next.ask_from_greatest();
        }
        let Some(every) = self.settings.poll_every else {
            // With a position, another run asks for what is new since.
            next.done = self.settings.position.is_none();
            self.keep(next, out);
            self.state.done = true;
            return Flow::End;
        };
        self.keep(next, out);
        self.due = self.due.max(now + i64::from(every.ms()));
        Flow::Idle(every.ms())
    }

    /// What was read and where to go on belong together.
    fn keep(&mut self, next: State, out: &mut Poll) {
        if next != self.state {
            out.checkpoint(partition(&self.settings), next.position());
            self.state = next;
        }
    }
}

millrace_sdk::export_source!(HttpSource);
