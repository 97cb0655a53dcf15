//! The fakes do what their originals do, and break what they are told to break.

mod support;
