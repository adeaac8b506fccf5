//! The joint between a connector's type and the exports of its component.
//!
//! The macros put the task into a thread-local of the author's crate (a component instance has one thread and one task) and
//! forward each export to a generic function here, which turns the contract's types into the SDK's and back.

pub mod several;

use std::cell::RefCell;

use crate::batch::Records;
use crate::bindings::connector::millrace::connect::types;
use crate::bindings::diagnosis::exports::millrace::connect::diagnosis as diagnosis_world;
use crate::bindings::source::exports::millrace::connect::source as source_world;
use crate::connector::{
    Durable, Finding, Flow, Health, Output, Poll, PollLimits, Rejected, Sink, Source, Taken, Task, Transform,
};
use crate::error::Error;
use crate::{BatchBuilder, Checkpoint, RecordBatch, settings};

/// Holds the one task of an instance.
pub type Slot<T> = RefCell<Option<T>>;

/// Runs `f` on the open task.
pub fn with<T, R>(slot: &Slot<T>, f: impl FnOnce(&mut T) -> Result<R, Error>) -> Result<R, Error> {
    match slot.borrow_mut().as_mut() {
        Some(task) => f(task),
        None => Err(Error::fatal("order", "the host called a task that was not opened")),
    }
}

fn task(context: types::TaskContext) -> (Task, String) {
    let task = Task {
        connector: context.connector_name,
        number: context.task,
        count: context.tasks,
        key_format: context.key_format,
        value_format: context.value_format,
        generation: context.generation,
    };
    (task, context.config)
}

/// `source.plan`.
pub fn plan<T: Source>(config: &str, max_tasks: u32) -> Result<Vec<String>, Error> {
    T::plan(&settings::parse(config)?, config, max_tasks)
}

/// `diagnosis.diagnose` of a source or sink, with its settings as they are written.
pub fn diagnose<S: serde::de::DeserializeOwned>(
    config: &str,
    topics: &[String],
    look: impl FnOnce(&S, &[String]) -> Result<Vec<Finding>, Error>,
) -> Result<Vec<diagnosis_world::Finding>, Error> {
    let health = |health| match health {
        Health::Ok => diagnosis_world::Health::Ok,
        Health::Warning => diagnosis_world::Health::Warning,
        Health::Failed => diagnosis_world::Health::Failed,
    };
    let finding = |Finding { subject, health: how, said, mend }| diagnosis_world::Finding {
        subject,
        health: health(how),
        said,
        mend,
    };
    Ok(look(&settings::parse(config)?, topics)?.into_iter().map(finding).collect())
}

/// `source.open`.
pub fn open_source<T: Source>(context: types::TaskContext, resume: Vec<Checkpoint>) -> Result<T, Error> {
    let (task, config) = task(context);
    T::open(&task, settings::parse(&config)?, resume)
}

/// `source.poll`.
pub fn poll<T: Source>(source: &mut T, limits: PollLimits) -> Result<source_world::PollOutcome, Error> {
    // Room for what the limits allow, up to what a poll usually gives: a larger one grows by itself.
    let bytes = (limits.bytes as usize).min(1 << 20);
    let mut out = Poll {
        batch: BatchBuilder::with_capacity((limits.records as usize).min(4096), bytes),
        ..Poll::default()
    };
    let flow = source.poll(limits, &mut out)?;
    let (flow, next_poll_ms) = match flow {
        Flow::More => (source_world::Flow::More, 0),
        Flow::Idle(ms) => (source_world::Flow::Idle, ms),
        Flow::End => (source_world::Flow::End, 0),
    };
    Ok(source_world::PollOutcome {
        batch: out.batch.finish(),
        rejected: out.rejected,
        checkpoints: out.checkpoints,
        flow,
        next_poll_ms,
    })
}

/// `sink.open`.
pub fn open_sink<T: Sink>(context: types::TaskContext) -> Result<T, Error> {
    let (task, config) = task(context);
    T::open(&task, settings::parse(&config)?)
}

/// `sink.put`: how many were taken, which failed.
pub fn put<T: Sink>(sink: &mut T, batch: &RecordBatch) -> Result<(u32, Vec<types::RecordError>), Error> {
    let records = Records::new(batch)?;
    let mut rejected = Rejected::default();
    let accepted = match sink.put(&records, &mut rejected)? {
        Taken::All => batch.count,
        Taken::First(count) => count.min(batch.count),
    };
    Ok((accepted, rejected.list))
}

/// `sink.flush`: none means everything.
pub fn flush<T: Sink>(sink: &mut T) -> Result<Option<Vec<types::TopicOffset>>, Error> {
    Ok(match sink.flush()? {
        Durable::Everything => None,
        Durable::UpTo(offsets) => Some(offsets),
    })
}

/// `transform.open`.
pub fn open_transform<T: Transform>(context: types::TaskContext) -> Result<T, Error> {
    let (task, config) = task(context);
    T::open(&task, settings::parse(&config)?)
}

/// The batch, where its records come from, which input failed.
pub type Applied = (RecordBatch, Vec<u32>, Vec<types::RecordError>);

/// `transform.apply`.
pub fn apply<T: Transform>(transform: &mut T, batch: &RecordBatch) -> Result<Applied, Error> {
    let records = Records::new(batch)?;
    let mut out = BatchBuilder::with_capacity(records.len(), records.data_len() + records.data_len() / 4);
    let mut origin = Vec::with_capacity(records.len());
    let mut rejected = Vec::new();
    for record in &records {
        let (mark, origins) = (out.mark(), origin.len());
        let mut output = Output { batch: &mut out, origin: &mut origin, index: record.index };
        if let Err(why) = transform.apply(&record, &mut output) {
            out.rewind(mark);
            origin.truncate(origins);
            rejected.push(types::RecordError { index: record.index, code: why.code, message: why.message });
        }
    }
    Ok((out.finish(), origin, rejected))
}

/// Implements the interface `connector`.
#[doc(hidden)]
#[macro_export]
macro_rules! __connector_exports {
    ($trait:ident, $type:ty) => {
        impl $crate::bindings::connector::exports::millrace::connect::connector::Guest for __MillraceExports {
            fn describe() -> $crate::bindings::connector::exports::millrace::connect::connector::Description {
                let parts = <$type as $crate::$trait>::describe().into_parts();
                $crate::bindings::connector::exports::millrace::connect::connector::Description {
                    name: parts.0,
                    version: parts.1,
                    summary: parts.2,
                    config_schema: parts.3,
                    key_formats: parts.4,
                    value_formats: parts.5,
                    extra: parts.6,
                }
            }

            fn validate(
                config: ::std::string::String,
            ) -> ::std::result::Result<
                ::std::vec::Vec<$crate::bindings::connector::exports::millrace::connect::connector::ConfigProblem>,
                $crate::bindings::connector::millrace::connect::types::Error,
            > {
                let settings = match $crate::settings::parse::<<$type as $crate::$trait>::Settings>(&config) {
                    Ok(settings) => settings,
                    Err(error) => {
                        return Ok(::std::vec![
                            $crate::bindings::connector::exports::millrace::connect::connector::ConfigProblem {
                                path: ::std::string::String::new(),
                                message: error.message,
                                warning: false,
                            }
                        ]);
                    }
                };
                Ok(<$type as $crate::$trait>::validate(&settings)?
                    .into_iter()
                    .map(|problem| $crate::bindings::connector::exports::millrace::connect::connector::ConfigProblem {
                        path: problem.path,
                        message: problem.message,
                        warning: problem.warning,
                    })
                    .collect())
            }
        }
    };
}

/// Implements the interface `diagnosis`.
#[doc(hidden)]
#[macro_export]
macro_rules! __diagnosis_exports {
    ($trait:ident, $type:ty) => {
        impl $crate::bindings::diagnosis::exports::millrace::connect::diagnosis::Guest for __MillraceExports {
            fn diagnose(
                config: ::std::string::String,
                topics: ::std::vec::Vec<::std::string::String>,
            ) -> ::std::result::Result<
                ::std::vec::Vec<$crate::bindings::diagnosis::exports::millrace::connect::diagnosis::Finding>,
                $crate::bindings::connector::millrace::connect::types::Error,
            > {
                Ok($crate::export::diagnose(&config, &topics, <$type as $crate::$trait>::diagnose)?)
            }
        }
        $crate::bindings::diagnosis::export!(__MillraceExports with_types_in $crate::bindings::diagnosis);
    };
}

/// Makes a type that implements [`Source`](crate::Source) the component's export.
#[macro_export]
macro_rules! export_source {
    ($type:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::bindings::connector::millrace::connect::types;
            use $crate::bindings::source::exports::millrace::connect::source as world;

            struct __MillraceExports;
            ::std::thread_local! {
                static TASK: $crate::export::Slot<$type> = const { ::std::cell::RefCell::new(None) };
            }
            $crate::__connector_exports!(Source, $type);
            $crate::__diagnosis_exports!(Source, $type);

            impl world::Guest for __MillraceExports {
                fn plan(config: String, max_tasks: u32) -> Result<Vec<String>, types::Error> {
                    Ok($crate::export::plan::<$type>(&config, max_tasks)?)
                }
                fn open(
                    task: types::TaskContext,
                    resume: Vec<types::Checkpoint>,
                ) -> Result<(), types::Error> {
                    let opened = $crate::export::open_source::<$type>(task, resume)?;
                    TASK.with(|slot| *slot.borrow_mut() = Some(opened));
                    Ok(())
                }
                fn poll(records: u32, bytes: u32, wait_ms: u32) -> Result<world::PollOutcome, types::Error> {
                    let limits = $crate::PollLimits { records, bytes, wait_ms };
                    Ok(TASK
                        .with(|slot| $crate::export::with(slot, |task| $crate::export::poll(task, limits)))?)
                }
                fn commit(done: Vec<types::Checkpoint>) -> Result<(), types::Error> {
                    Ok(TASK.with(|slot| {
                        $crate::export::with(slot, |task| $crate::Source::commit(task, &done))
                    })?)
                }
                fn close() -> Result<(), types::Error> {
                    Ok(TASK.with(|slot| $crate::export::with(slot, |task| $crate::Source::close(task)))?)
                }
            }
    $crate::bindings::connector::export!(__MillraceExports with_types_in $crate::bindings::connector);
    $crate::bindings::source::export!(__MillraceExports with_types_in $crate::bindings::source);
        };
    };
}

/// Makes a type that implements [`Sink`](crate::Sink) the component's export.
#[macro_export]
macro_rules! export_sink {
    ($type:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::bindings::connector::millrace::connect::types;
            use $crate::bindings::sink::exports::millrace::connect::sink as world;

            struct __MillraceExports;
            ::std::thread_local! {
                static TASK: $crate::export::Slot<$type> = const { ::std::cell::RefCell::new(None) };
            }
            $crate::__connector_exports!(Sink, $type);
            $crate::__diagnosis_exports!(Sink, $type);

            impl world::Guest for __MillraceExports {
                fn open(task: types::TaskContext) -> Result<(), types::Error> {
                    let opened = $crate::export::open_sink::<$type>(task)?;
                    TASK.with(|slot| *slot.borrow_mut() = Some(opened));
                    Ok(())
                }
                fn assigned(
                    partitions: Vec<types::TopicPartition>,
                ) -> Result<Vec<types::TopicOffset>, types::Error> {
                    Ok(TASK.with(|slot| {
                        $crate::export::with(slot, |task| $crate::Sink::assigned(task, &partitions))
                    })?)
                }
                fn revoked(partitions: Vec<types::TopicPartition>) -> Result<(), types::Error> {
                    Ok(TASK.with(|slot| {
                        $crate::export::with(slot, |task| $crate::Sink::revoked(task, &partitions))
                    })?)
                }
                fn put(batch: types::RecordBatch) -> Result<world::PutOutcome, types::Error> {
                    let (accepted, rejected) = TASK
                        .with(|slot| $crate::export::with(slot, |task| $crate::export::put(task, &batch)))?;
                    Ok(world::PutOutcome { accepted, rejected })
                }
                fn flush() -> Result<world::Durable, types::Error> {
                    let safe = TASK.with(|slot| $crate::export::with(slot, $crate::export::flush))?;
                    Ok(match safe {
                        None => world::Durable::Everything,
                        Some(offsets) => world::Durable::UpTo(offsets),
                    })
                }
                fn close() -> Result<(), types::Error> {
                    Ok(TASK.with(|slot| $crate::export::with(slot, |task| $crate::Sink::close(task)))?)
                }
            }
    $crate::bindings::connector::export!(__MillraceExports with_types_in $crate::bindings::connector);
    $crate::bindings::sink::export!(__MillraceExports with_types_in $crate::bindings::sink);
        };
    };
}

/// Makes a type that implements [`Transform`](crate::Transform) the component's export.
#[macro_export]
macro_rules! export_transform {
    ($type:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::bindings::connector::millrace::connect::types;
            use $crate::bindings::transform::exports::millrace::connect::transform as world;

            struct __MillraceExports;
            ::std::thread_local! {
                static TASK: $crate::export::Slot<$type> = const { ::std::cell::RefCell::new(None) };
            }
            $crate::__connector_exports!(Transform, $type);

            impl world::Guest for __MillraceExports {
                fn open(task: types::TaskContext) -> Result<(), types::Error> {
                    let opened = $crate::export::open_transform::<$type>(task)?;
                    TASK.with(|slot| *slot.borrow_mut() = Some(opened));
                    Ok(())
                }
                fn apply(batch: types::RecordBatch) -> Result<world::ApplyOutcome, types::Error> {
                    let (batch, origin, rejected) = TASK.with(|slot| {
                        $crate::export::with(slot, |task| $crate::export::apply(task, &batch))
                    })?;
                    Ok(world::ApplyOutcome { batch, origin, rejected })
                }
                fn close() -> Result<(), types::Error> {
                    Ok(TASK.with(|slot| $crate::export::with(slot, |task| $crate::Transform::close(task)))?)
                }
            }
    $crate::bindings::connector::export!(__MillraceExports with_types_in $crate::bindings::connector);
    $crate::bindings::transform::export!(__MillraceExports with_types_in $crate::bindings::transform);
        };
    };
}
