//! A line's driver, open now and then, and as an operator wants it.
//!
//! A driver may take its time, so whoever asks it something does so on a thread that may wait ([`Driven::ask`]).

use std::sync::{Arc, Mutex, PoisonError};

use firmware_io::{Alarms, Bearer, Law, LoopBack, Span, SpanError};

use super::capture::Capture;
use super::order;
use crate::call::{SpanCounters, SpanView};

/// What an operator wants of a line's driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverOrder {
    /// Loop the line back, or end that.
    LoopBack(Option<LoopBack>),
    /// Take the line down so that the far end sees it, or let it up again.
    Force {
        /// Down?
        down: bool,
    },
}

/// A line that is open now and then, and how an operator wants it.
#[derive(Default)]
pub(super) struct Held {
    open: Option<Box<dyn Span>>,
    /// Of its D channel.
    capture: Option<Capture>,
    loop_back: Option<LoopBack>,
    down: bool,
}

/// The same, held by all who ask it something.
#[derive(Clone, Default)]
pub(super) struct Driven(Arc<Mutex<Held>>);

impl Driven {
    /// Asks the driver, on a thread that may wait. `Gone` where that thread broke.
    pub async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Held) -> Result<T, SpanError> + Send + 'static,
    ) -> Result<T, SpanError> {
        let held = self.0.clone();
        let asked = move || what(&mut held.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(asked).await.unwrap_or(Err(SpanError::Gone))
    }
}

impl Held {
    /// Once it is open: as the operator wants it.
    pub fn opened(&mut self, mut span: Box<dyn Span>, capture: Option<Capture>) -> Result<(), SpanError> {
        if self.down {
            force_down(&mut *span, true)?;
        }
        if self.loop_back.is_some() {
            span.loop_back(self.loop_back)?;
        }
        (self.open, self.capture) = (Some(span), capture);
        Ok(())
    }

    /// It is closed, or went away.
    pub fn closed(&mut self) {
        (self.open, self.capture) = (None, None);
    }

    /// A timeslot of it, for sound.
    pub fn bearer(&mut self, timeslot: u8) -> Result<(Box<dyn Bearer>, Law), SpanError> {
        let span = self.open.as_mut().ok_or(SpanError::Gone)?;
        let none = || SpanError::NotConfigured("the line has no such timeslot");
        let timeslot = span.line().timeslot(timeslot).ok_or_else(none)?;
        Ok((span.bearer(timeslot)?, span.law()))
    }

    /// Its alarms, where they changed.
    pub fn poll(&mut self) -> Result<Option<Alarms>, SpanError> {
        self.open.as_mut().ok_or(SpanError::Gone)?.poll()
    }

    /// Its alarms, while it is open; and whether an operator took it down.
    pub fn stands(&self) -> (Option<Alarms>, bool) {
        (self.open.as_ref().map(|span| span.alarms()), self.down)
    }

    /// Does what an operator wants, and goes on so when it is opened anew.
    pub fn obey(&mut self, order: DriverOrder) -> Result<(), SpanError> {
        let span = self.open.as_mut().ok_or(SpanError::Gone)?;
        match order {
            DriverOrder::LoopBack(kind) => {
                span.loop_back(kind)?;
                self.loop_back = kind;
            }
            DriverOrder::Force { down } => {
                force_down(&mut **span, down)?;
                self.down = down;
            }
        }
        Ok(())
    }

    /// What only the driver knows of a line, added to its view.
    pub fn complete(&self, mut view: SpanView) -> SpanView {
        let Some(span) = &self.open else { return view };
        let counters = span.counters();
        view.capture = self.capture.as_ref().and_then(Capture::view);
        view.loop_back = self.loop_back.map(order::mode);
        view.counters = Some(SpanCounters {
            errored_seconds: counters.errored_seconds,
            code_violations: counters.code_violations,
            frame_errors: counters.frame_errors,
            slips: counters.slips,
            bad_hdlc_frames: counters.bad_hdlc_frames,
        });
        view
    }
}

/// Where the driver cannot, its D channel falls silent: the switch gives it nothing more to say.
fn force_down(span: &mut dyn Span, down: bool) -> Result<(), SpanError> {
    match span.force_down(down) {
        Err(SpanError::Unsupported) => Ok(()),
        done => done,
    }
}
