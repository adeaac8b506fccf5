//! A server for native tests: a function that [`crate::http`] asks.

use std::cell::RefCell;

use crate::error::Error;
use crate::http::{Request, Response};

type Handler = Box<dyn FnMut(&str, &Request) -> Result<Response, Error>>;

thread_local! {
    static HANDLER: RefCell<Option<Handler>> = const { RefCell::new(None) };
}

/// Answers all requests of this thread from now on; the handler is given the connection's name and the request.
pub fn serve(handler: impl FnMut(&str, &Request) -> Result<Response, Error> + 'static) {
    HANDLER.with(|slot| *slot.borrow_mut() = Some(Box::new(handler)));
}

pub(crate) fn answer(connection: &str, request: &Request) -> Result<Response, Error> {
    // Taken out meanwhile: a handler may ask, too.
    let handler = HANDLER.with(|slot| slot.borrow_mut().take());
    let Some(mut handler) = handler else {
        return Err(Error::fatal("http.denied", "nobody answers in this test; call testing::http::serve"));
    };
    let answer = handler(connection, request);
    HANDLER.with(|slot| {
        slot.borrow_mut().get_or_insert(handler);
    });
    answer
}
