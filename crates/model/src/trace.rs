//! What ran in a forward pass: leaf layers report here while someone listens.

use std::cell::RefCell;

use burn::module::ParamId;

/// One leaf layer of a forward pass.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) kind: &'static str,
    /// A parameter of the layer, by which its name is found; pools have none.
    pub(crate) param: Option<ParamId>,
    pub(crate) output: Vec<usize>,
    /// Multiply-accumulate operations for one image.
    pub(crate) macs: u64,
}

thread_local! {
    static EVENTS: RefCell<Option<Vec<Event>>> = const { RefCell::new(None) };
}

/// Reports a layer; free unless someone listens on this thread.
pub(crate) fn report(event: impl FnOnce() -> Event) {
    EVENTS.with_borrow_mut(|events| {
        if let Some(events) = events {
            events.push(event());
        }
    });
}

/// Runs `forward` and returns what it reported.
pub(crate) fn listen(forward: impl FnOnce()) -> Vec<Event> {
    EVENTS.with_borrow_mut(|events| *events = Some(Vec::new()));
    forward();
    EVENTS.with_borrow_mut(Option::take).unwrap_or_default()
}
