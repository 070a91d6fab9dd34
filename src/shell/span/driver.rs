//! A line's driver, open now and then, and as an operator wants it.
//!
//! A driver may take its time, so whoever asks it something does so on a thread that may wait ([`Driven::ask`]).

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use firmware_io::{Alarms, Bearer, Law, LoopBack, Span, SpanError};
use tracing::{info, warn};

use super::capture::Capture;
use super::{Wanted, order};
use crate::call::{SpanCounters, SpanView};
use crate::session::Tail;

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
    /// As the timeslot has it that was opened last.
    canceller: Option<Canceller>,
}

/// Who takes the echo out of what a line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Canceller {
    Card,
    Ours,
}

impl Canceller {
    /// Operators' word for it.
    fn name(self) -> &'static str {
        match self {
            Canceller::Card => "card",
            Canceller::Ours => "software",
        }
    }
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
    pub fn bearer(&mut self, wanted: Wanted) -> Result<(Box<dyn Bearer>, Law), SpanError> {
        let span = self.open.as_mut().ok_or(SpanError::Gone)?;
        let none = || SpanError::NotConfigured("the line has no such timeslot");
        let timeslot = span.line().timeslot(wanted.timeslot).ok_or_else(none)?;
        let (mut bearer, law) = (span.bearer(timeslot)?, span.law());
        match wanted.echo_tail {
            Some(tail) => self.let_cancel(wanted.span.0, &mut *bearer, tail),
            None => self.canceller = None,
        }
        Ok((bearer, law))
    }

    /// Has the card take the echo out of what a timeslot says: that costs nothing, and no driver's delay lies between. Where it
    /// cannot, the media thread does.
    fn let_cancel(&mut self, line: u16, bearer: &mut dyn Bearer, tail: Tail) {
        let taps = match tail {
            Tail::Ms64 => 512,
            Tail::Ms128 => 1024,
        };
        let done = bearer.cancel_echo(taps);
        let canceller = if bearer.cancels_echo() { Canceller::Card } else { Canceller::Ours };
        if self.canceller.replace(canceller) == Some(canceller) {
            return;
        }
        match done {
            Err(fault) if fault.kind() != io::ErrorKind::Unsupported => {
                warn!(line, "the card does not cancel echoes, it is done here: {fault}");
            }
            _ => info!(line, canceller = canceller.name(), "echoes are cancelled"),
        }
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
        view.echo_canceller = self.canceller.map(Canceller::name);
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

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use firmware_io::Line;
    use firmware_io::simulated::Cable;

    use super::*;

    /// A timeslot of a card that takes echoes out over so many taps at most; without any it breaks when it is asked.
    struct Card(Option<u16>, bool);

    impl Bearer for Card {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }

        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            Ok(octets.len())
        }

        fn ready(&self) -> BorrowedFd<'_> {
            unreachable!("nobody polls it")
        }

        fn cancel_echo(&mut self, taps: u16) -> io::Result<()> {
            let most = self.0.ok_or(io::ErrorKind::BrokenPipe)?;
            self.1 = taps <= most;
            if self.1 { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
        }

        fn cancels_echo(&self) -> bool {
            self.1
        }
    }

    #[test]
    fn echoes_are_the_cards_affair_where_it_can() {
        for (most, tail, expected) in [
            (Some(1024), Tail::Ms128, Canceller::Card),
            (Some(512), Tail::Ms64, Canceller::Card),
            (Some(512), Tail::Ms128, Canceller::Ours),
            (None, Tail::Ms64, Canceller::Ours),
        ] {
            let mut held = Held::default();
            held.let_cancel(1, &mut Card(most, false), tail);
            assert_eq!(held.canceller, Some(expected), "{most:?} {tail:?}");
        }
        let (_, mut near, _far) = Cable::new(Line::T1, 1).unwrap();
        let mut bearer = near.bearer(Line::T1.timeslot(1).unwrap()).unwrap();
        let mut held = Held::default();
        held.let_cancel(1, &mut *bearer, Tail::Ms128);
        held.open = Some(Box::new(near));
        let view = held.complete(order::tests::view(&[]));
        assert_eq!(view.echo_canceller, Some("software"));
    }
}
