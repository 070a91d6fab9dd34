//! The exchanges at the far ends of simulated lines: one thread for all lines that share a D channel, that carries frames,
//! speaks and listens at the lines' pace, and ends with the last of them.
//!
//! It waits for whatever of a line is ready: alarms, frames, the sound of any timeslot in use; for the exchange's timers; for
//! further lines; and for who has a telephone of it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use firmware_io::simulated::End;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::clock::Clock;
use super::span::FarEnds;
use crate::config::{self};
use crate::exchange::{News, Placed, TelephoneId};
use crate::hop::SpanId;
use crate::media::Pace;
use crate::random::Random;

mod desk;

use self::desk::Desk;

/// News of a telephone that may wait.
const QUEUE: usize = 64;

/// Somebody's ear and mouth on a timeslot.
pub trait Handset: Send {
    /// This was heard until now; as many octets are to be said from now on.
    fn converse(&mut self, heard: &[u8], said: &mut [u8]);
}

/// What a telephone wants of its exchange.
enum Order {
    Take { telephone: TelephoneId, handset: Box<dyn Handset> },
    Dial { telephone: TelephoneId, what: Placed },
    HangUp { telephone: TelephoneId },
}

/// What is on its way to an exchange. It outlives the lines, which may go away and come back.
struct Inbox {
    letters: Mutex<Letters>,
    wake: EventFd,
}

#[derive(Default)]
struct Letters {
    orders: Vec<Order>,
    /// The last digits of each telephone that was lent out, and who listens there.
    lent: Vec<(String, mpsc::Sender<News>)>,
    /// The lines of which it is the exchange, the one with the D channel first; at least one once the letters are read.
    group: Group,
    /// Their far ends, as they are opened.
    ends: Vec<(SpanId, End)>,
    /// A thread reads this.
    is_read: bool,
}

type Group = Vec<Arc<config::Span>>;

impl Inbox {
    fn new() -> io::Result<Inbox> {
        let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Inbox { letters: Mutex::default(), wake })
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put<R>(&self, put: impl FnOnce(&mut Letters) -> R) -> R {
        let put = put(&mut self.letters());
        // A refusal means that it is awake already.
        let _ = self.wake.write(1);
        put
    }
}

/// A telephone of an exchange. It rings and is answered by itself.
pub struct Telephone {
    inbox: Arc<Inbox>,
    telephone: TelephoneId,
    news: mpsc::Receiver<News>,
}

impl Telephone {
    /// The handset of the next call. It is dropped when that is over.
    pub fn take(&self, handset: Box<dyn Handset>) {
        self.order(Order::Take { telephone: self.telephone, handset });
    }

    /// Calls.
    pub fn dial(&self, what: Placed) {
        self.order(Order::Dial { telephone: self.telephone, what });
    }

    /// Ends the call.
    pub fn hang_up(&self) {
        self.order(Order::HangUp { telephone: self.telephone });
    }

    /// What happens next.
    pub async fn news(&mut self) -> Option<News> {
        self.news.recv().await
    }

    fn order(&self, order: Order) {
        self.inbox.put(|letters| letters.orders.push(order));
    }
}

/// All exchanges of a box.
pub struct Exchanges {
    clock: Clock,
    random: Mutex<Random>,
    inboxes: Mutex<HashMap<SpanId, Arc<Inbox>>>,
}

impl Exchanges {
    /// None yet.
    pub fn new(clock: Clock, random: Random) -> Exchanges {
        Exchanges { clock, random: Mutex::new(random), inboxes: Mutex::default() }
    }

    /// The far end of one of these lines, which share a D channel, is answered by their exchange. That ends when nobody has
    /// a near end any more.
    pub fn answer(&self, group: Group, line: SpanId, end: End) -> io::Result<()> {
        self.start(group, line, end).map(drop)
    }

    /// Where the exchange is there already, it gets a line more.
    fn start(&self, group: Group, line: SpanId, end: End) -> io::Result<Option<JoinHandle<()>>> {
        let Some(first) = group.first().map(|first| first.id) else { return Ok(None) };
        let (inbox, clock) = (self.inbox(first)?, self.clock.clone());
        let is_there = inbox.put(|letters| {
            letters.group = group;
            letters.ends.push((line, end));
            std::mem::replace(&mut letters.is_read, true)
        });
        if is_there {
            return Ok(None);
        }
        let seed = self.random.lock().unwrap_or_else(PoisonError::into_inner).octets();
        let (its_inbox, name) = (inbox.clone(), format!("Span{}", first.0));
        let run = move || {
            // Its calls are to be heard as they are, not as late as it is.
            let _ = Pace::take();
            match Desk::new(its_inbox.clone(), clock, Random::seeded(seed)).run() {
                Ok(()) => debug!(span = name, "the exchange of {name} is gone with its line"),
                Err(fault) => warn!(span = name, "the exchange of {name} ended: {fault}"),
            }
            its_inbox.letters().close();
        };
        let thread = std::thread::Builder::new().name("exchange".into()).spawn(run);
        thread.map(Some).inspect_err(|_| inbox.letters().close())
    }

    /// What takes the far ends of simulated lines.
    pub fn far_ends(exchanges: &Arc<Exchanges>) -> FarEnds {
        let exchanges = exchanges.clone();
        Arc::new(move |group, line, end| {
            if let Err(fault) = exchanges.answer(group, line, end) {
                warn!("Span{} has nobody at its far end: {fault}", line.0);
            }
        })
    }

    /// The telephone at the exchange of a line with a D channel whose number ends with these digits. It may be asked for
    /// before the line is there.
    pub fn telephone(&self, line: SpanId, digits: &str) -> io::Result<Telephone> {
        let inbox = self.inbox(line)?;
        let (news_out, news) = mpsc::channel(QUEUE);
        let telephone = inbox.put(|letters| {
            letters.lent.push((digits.to_owned(), news_out));
            TelephoneId(letters.lent.len() - 1)
        });
        Ok(Telephone { inbox, telephone, news })
    }

    fn inbox(&self, line: SpanId) -> io::Result<Arc<Inbox>> {
        let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inbox) = inboxes.get(&line) {
            return Ok(inbox.clone());
        }
        let inbox = Arc::new(Inbox::new()?);
        inboxes.insert(line, inbox.clone());
        Ok(inbox)
    }
}

impl Letters {
    /// Nobody reads them any more.
    fn close(&mut self) {
        self.ends.clear();
        self.is_read = false;
    }
}

#[cfg(test)]
mod tests;
