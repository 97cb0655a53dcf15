//! What is logged, as one line with fields, before it gets a form.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Something that happened. Nothing of it is escaped yet.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) time: Timestamp,
    pub(super) level: Level,
    pub(super) message: String,
    /// Each name once: what the event says itself, then where it happened, from the widest to the narrowest.
    pub(super) fields: Vec<(&'static str, Value)>,
}

/// Makes a line of each event and hands it on.
pub(super) struct Lines<F>(pub(super) F);

/// What a span knows, for the lines inside it.
struct SpanFields(Vec<(&'static str, Value)>);

impl<S, F> Layer<S> for Lines<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    F: Fn(&Line) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut collected = Collected::default();
            attributes.record(&mut collected);
            span.extensions_mut().insert(SpanFields(collected.fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(known) = span.extensions_mut().get_mut::<SpanFields>()
        {
            let mut collected = Collected::default();
            values.record(&mut collected);
            known.0.extend(collected.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut collected = Collected::default();
        event.record(&mut collected);
        let Collected { message, mut fields } = collected;
        for span in context.event_scope(event).into_iter().flatten().collect::<Vec<_>>().iter().rev() {
            if let Some(known) = span.extensions().get::<SpanFields>() {
                fields.extend(known.0.iter().cloned());
            }
        }
        let mut seen = Vec::new();
        fields.retain(|(name, _)| {
            let new = !seen.contains(name);
            seen.push(name);
            new
        });
        (self.0)(&Line { time: Timestamp::now(), level: *event.metadata().level(), message, fields });
    }
}

#[derive(Default)]
struct Collected {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Collected {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.push((field.name(), value.into()));
    }
}

impl Visit for Collected {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.add(field, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut shown = String::new();
        // Writing to a string fails only where the value itself gives up; what it wrote until then is the best there is.
        let _incomplete = write!(shown, "{value:?}");
        self.record_str(field, &shown);
    }
}
