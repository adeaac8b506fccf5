//! Several transforms in one component, which is told by its name which of them it is, as BusyBox is.
//!
//! A component of a few hundred lines is mostly the standard library and a JSON parser; small transforms share one. The host
//! gives it the name that stands in the pipeline as its first argument.

use crate::bindings::connector::exports::millrace::connect::connector as world;
use crate::bindings::connector::millrace::connect::types;
use crate::connector::{Description, Problem, Transform};
use crate::error::Error;
use crate::{RecordBatch, settings};

/// One of the transforms.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    name: &'static str,
    describe: fn() -> Description,
    validate: fn(&str) -> Result<Vec<Problem>, Error>,
    open: fn(types::TaskContext) -> Result<Box<dyn Opened>, Error>,
}

/// An open transform of any type.
pub trait Opened {
    /// `transform.apply`.
    fn apply(&mut self, batch: &RecordBatch) -> Result<super::Applied, Error>;
    /// `transform.close`.
    fn close(&mut self) -> Result<(), Error>;
}

impl<T: Transform> Opened for T {
    fn apply(&mut self, batch: &RecordBatch) -> Result<super::Applied, Error> {
        super::apply(self, batch)
    }

    fn close(&mut self) -> Result<(), Error> {
        Transform::close(self)
    }
}

impl Entry {
    /// The transform `T` under the name that pipelines write.
    pub const fn of<T: Transform + 'static>(name: &'static str) -> Self {
        Self {
            name,
            describe: T::describe,
            validate: |config| T::validate(&settings::parse(config)?),
            open: |context| Ok(Box::new(super::open_transform::<T>(context)?)),
        }
    }
}

/// The one of `entries` that the host calls this component by.
///
/// # Panics
/// When it is none of them: the host then says what was printed.
pub fn called(entries: &'static [Entry]) -> &'static Entry {
    let name = std::env::args().next().unwrap_or_default();
    entries.iter().find(|entry| entry.name == name).unwrap_or_else(|| {
        let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
        panic!("this component holds {}; it was started as {name:?}", names.join(", "))
    })
}

/// `connector.describe`.
pub fn describe(entry: &Entry) -> world::Description {
    let (name, version, summary, config_schema, key_formats, value_formats, extra) =
        (entry.describe)().into_parts();
    world::Description { name, version, summary, config_schema, key_formats, value_formats, extra }
}

/// `connector.validate`.
pub fn validate(entry: &Entry, config: &str) -> Vec<world::ConfigProblem> {
    let problems = (entry.validate)(config).unwrap_or_else(|error| vec![Problem::error("", error.message)]);
    let problem = |p: Problem| world::ConfigProblem { path: p.path, message: p.message, warning: p.warning };
    problems.into_iter().map(problem).collect()
}

/// `transform.open`.
pub fn open(entry: &Entry, context: types::TaskContext) -> Result<Box<dyn Opened>, Error> {
    (entry.open)(context)
}

/// Makes several types that implement [`Transform`] one component, each under its name:
/// `export_transforms! { "upper" => Upper, "lower" => Lower }`.
#[macro_export]
macro_rules! export_transforms {
    ($($name:literal => $type:ty),+ $(,)?) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::bindings::connector::exports::millrace::connect::connector;
            use $crate::bindings::connector::millrace::connect::types;
            use $crate::bindings::transform::exports::millrace::connect::transform as world;
            use $crate::export::several;

            struct __MillraceExports;
            static ENTRIES: &[several::Entry] = &[$(several::Entry::of::<$type>($name)),+];
            ::std::thread_local! {
                static TASK: $crate::export::Slot<Box<dyn several::Opened>> =
                    const { ::std::cell::RefCell::new(None) };
            }

            impl connector::Guest for __MillraceExports {
                fn describe() -> connector::Description {
                    several::describe(several::called(ENTRIES))
                }
                fn validate(config: String) -> Result<Vec<connector::ConfigProblem>, types::Error> {
                    Ok(several::validate(several::called(ENTRIES), &config))
                }
            }

            impl world::Guest for __MillraceExports {
                fn open(task: types::TaskContext) -> Result<(), types::Error> {
                    let opened = several::open(several::called(ENTRIES), task)?;
                    TASK.with(|slot| *slot.borrow_mut() = Some(opened));
                    Ok(())
                }
                fn apply(batch: types::RecordBatch) -> Result<world::ApplyOutcome, types::Error> {
                    let (batch, origin, rejected) =
                        TASK.with(|slot| $crate::export::with(slot, |task| task.apply(&batch)))?;
                    Ok(world::ApplyOutcome { batch, origin, rejected })
                }
                fn close() -> Result<(), types::Error> {
                    Ok(TASK.with(|slot| $crate::export::with(slot, |task| task.close()))?)
                }
            }
    $crate::bindings::connector::export!(__MillraceExports with_types_in $crate::bindings::connector);
    $crate::bindings::transform::export!(__MillraceExports with_types_in $crate::bindings::transform);
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Output, RecordRef, Rejection, Task};

    struct Keep;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {}

    impl Transform for Keep {
        type Settings = Settings;

        fn describe() -> Description {
            Description::new("keep", "0.1.0", "Keeps")
        }

        fn validate(_: &Settings) -> Result<Vec<Problem>, Error> {
            Ok(vec![Problem::warning("/x", "odd")])
        }

        fn open(_: &Task, _: Settings) -> Result<Self, Error> {
            Ok(Self)
        }

        fn apply(&mut self, record: &RecordRef<'_>, out: &mut Output<'_>) -> Result<(), Rejection> {
            out.keep(record);
            Ok(())
        }
    }

    #[test]
    fn an_entry_is_its_type() {
        let entry = Entry::of::<Keep>("keep");
        assert_eq!(describe(&entry).name, "keep");
        assert!(validate(&entry, "{}")[0].warning);
        assert!(validate(&entry, r#"{"a":1}"#)[0].message.contains("unknown field `a`"));
    }
}
