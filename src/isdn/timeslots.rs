//! The channel table of a line: what each timeslot is used for, which one a call gets, and who may not use which.

use std::collections::BTreeMap;

pub use firmware_io::Line as Carrier;

use crate::config;
pub use crate::config::Hunt;
use crate::time::Instant;
use crate::wire::q921::Side;
use crate::wire::q931::{Channel, Choice};

/// A call on a line, by a number that is not given again soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u32);

/// One timeslot: the span by its place in the line's list, the timeslot as the line counts (T1 1 to 24, E1 1 to 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// Which span.
    pub span: usize,
    /// Which timeslot of it.
    pub timeslot: u8,
}

/// How channel identifications count timeslots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counting {
    /// As the line does.
    #[default]
    Timeslot,
    /// B channels alone, from 1 on: between private exchanges 16 means timeslot 17.
    Logical,
}

/// One span of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// What it carries.
    pub carrier: Carrier,
    /// The interface by which channel identifications name it.
    pub interface: u8,
    /// Does it have a D channel?
    pub signalling: bool,
    /// How its timeslots are counted.
    pub counting: Counting,
}

impl Span {
    /// As it is configured.
    pub fn of(span: &config::Span) -> Span {
        Span {
            carrier: span.line,
            interface: span.interface.unwrap_or(0),
            signalling: span.signals(),
            counting: if span.dialect.is_private() { Counting::Logical } else { Counting::Timeslot },
        }
    }

    /// Every timeslot, the D channel's too.
    fn timeslots(self) -> impl DoubleEndedIterator<Item = u8> {
        1..=self.carrier.timeslots()
    }

    fn is_d(self, timeslot: u8) -> bool {
        self.signalling && timeslot == self.carrier.d_timeslot().number()
    }

    /// As channel identifications count it.
    pub fn number(self, timeslot: u8) -> u8 {
        match self.counting {
            Counting::Logical if self.signalling && timeslot > self.carrier.d_timeslot().number() => timeslot - 1,
            _ => timeslot,
        }
    }

    /// The timeslot of that number, if there is one.
    pub fn timeslot(self, number: u8) -> Option<u8> {
        self.timeslots().find(|timeslot| !self.is_d(*timeslot) && self.number(*timeslot) == number)
    }
}

/// What a timeslot is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nothing.
    Idle,
    /// A call that is not answered yet.
    Setup(CallId),
    /// A call that the far end began.
    In(CallId),
    /// A call that we began.
    Out(CallId),
    /// Both ends shall forget what it was used for.
    Restarting,
    /// The D channel.
    Signalling,
}

/// What operators are shown of a timeslot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum View {
    /// It waits for a call.
    Idle,
    /// In use; the far end began.
    In,
    /// In use; we began.
    Out,
    /// A call is being set up, or the timeslot restarted.
    Setup,
    /// We do not use it.
    BlockedNear,
    /// The far end does not use it.
    BlockedFar,
    /// Nobody knows what the far end thinks of it.
    Unsure,
    /// The D channel.
    DChannel,
}

impl View {
    /// As pages and metrics write it.
    pub fn name(self) -> &'static str {
        match self {
            View::Idle => "idle",
            View::In => "in",
            View::Out => "out",
            View::Setup => "setup",
            View::BlockedNear => "blocked-near",
            View::BlockedFar => "blocked-far",
            View::Unsure => "blocked-unsure",
            View::DChannel => "dchannel",
        }
    }
}

/// Who does not want a timeslot used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// We: an operator's order.
    Near,
    /// The far end: SERVICE.
    Far,
}

#[derive(Clone, Copy, Debug)]
struct Timeslot {
    used: Use,
    near: bool,
    far: bool,
    /// Its restart was not answered: nobody knows what the far end thinks of it.
    doubtful: bool,
    freed: Instant,
}

/// Why a timeslot cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// None is idle.
    #[error("no timeslot is idle")]
    None,
    /// The one that was asked for is not.
    #[error("the timeslot that was asked for is not idle")]
    Requested,
}

/// All timeslots of a line.
#[derive(Debug)]
pub struct Timeslots {
    side: Side,
    spans: Vec<Span>,
    slots: BTreeMap<Slot, Timeslot>,
    /// Spans in alarm.
    alarms: Vec<bool>,
}

impl Timeslots {
    /// All idle, all spans in alarm until they are seen to be up.
    pub fn new(side: Side, spans: Vec<Span>) -> Timeslots {
        let slots = spans.iter().enumerate().flat_map(|(place, span)| {
            span.timeslots().map(move |timeslot| {
                let used = if span.is_d(timeslot) { Use::Signalling } else { Use::Idle };
                let new = Timeslot { used, near: false, far: false, doubtful: false, freed: Instant::START };
                (Slot { span: place, timeslot }, new)
            })
        });
        Timeslots { side, slots: slots.collect(), alarms: vec![true; spans.len()], spans }
    }

    /// The spans, in their order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// A span goes into alarm, or out of it.
    pub fn alarm(&mut self, span: usize, alarm: bool) {
        if let Some(is) = self.alarms.get_mut(span) {
            *is = alarm;
        }
    }

    /// Is the span in alarm?
    pub fn is_in_alarm(&self, span: usize) -> bool {
        self.alarms.get(span).copied().unwrap_or(true)
    }

    /// What operators are shown, in the order of spans and timeslots.
    pub fn view(&self) -> impl Iterator<Item = (Slot, View)> + '_ {
        self.slots.iter().map(|(slot, timeslot)| (*slot, timeslot.view()))
    }

    /// Every timeslot for sound, of one span or of all.
    pub fn bearers(&self, span: Option<usize>) -> impl Iterator<Item = Slot> + '_ {
        let wanted = move |slot: &Slot| span.is_none_or(|span| slot.span == span);
        self.slots.iter().filter(|(_, timeslot)| timeslot.used != Use::Signalling).map(|(slot, _)| *slot).filter(wanted)
    }

    /// What it is used for; `None` where there is no such timeslot.
    pub fn used(&self, slot: Slot) -> Option<Use> {
        self.slots.get(&slot).map(|timeslot| timeslot.used)
    }

    /// The call that has it.
    pub fn call(&self, slot: Slot) -> Option<CallId> {
        self.used(slot).and_then(Use::call)
    }

    /// May a new call have it?
    pub fn is_free(&self, slot: Slot) -> bool {
        !self.is_in_alarm(slot.span) && self.slots.get(&slot).is_some_and(Timeslot::is_free)
    }

    /// Is it idle here, whatever the far end thinks?
    pub fn is_idle(&self, slot: Slot) -> bool {
        let idle = |timeslot: &Timeslot| timeslot.used == Use::Idle && !timeslot.near;
        !self.is_in_alarm(slot.span) && self.slots.get(&slot).is_some_and(idle)
    }

    /// How many new calls could have one.
    pub fn free(&self) -> usize {
        self.slots.keys().filter(|slot| self.is_free(**slot)).count()
    }

    /// The idle timeslot that a call gets by this order.
    pub fn hunt(&self, order: Hunt) -> Option<Slot> {
        let mut free = self.slots.iter().filter(|(slot, _)| self.is_free(**slot));
        let freed = |(_, timeslot): &(&Slot, &Timeslot)| timeslot.freed;
        let found = match (order, self.side) {
            (Hunt::Ascending, _) | (Hunt::Opposite, Side::Network) => free.next(),
            (Hunt::Descending, _) | (Hunt::Opposite, Side::User) => free.next_back(),
            (Hunt::LeastRecent, _) => free.min_by_key(freed),
            (Hunt::MostRecent, _) => free.max_by_key(freed),
        };
        found.map(|(slot, _)| *slot)
    }

    /// The idle timeslot for a call that the far end began with this wish (Q.931 sections 5.1.2 and 5.2.3.1).
    pub fn grant(&self, wish: Option<&Channel>, order: Hunt) -> Result<Slot, Unavailable> {
        let asked =
            wish.filter(|wish| !matches!(wish.choice, Choice::Any)).map(|wish| (self.find(wish), wish.exclusive));
        match asked {
            // It knows best what it holds for idle.
            Some((Some(slot), _)) if self.is_idle(slot) => Ok(slot),
            Some((_, true)) => Err(Unavailable::Requested),
            _ => self.hunt(order).ok_or(Unavailable::None),
        }
    }

    /// The timeslot that a channel identification names, if it names one that we have.
    pub fn find(&self, channel: &Channel) -> Option<Slot> {
        channel.single().and_then(|number| self.named(channel.interface, number))
    }

    /// All timeslots that a channel identification names.
    pub fn find_all(&self, channel: &Channel) -> Vec<Slot> {
        match channel.choice {
            Choice::Interface => self.bearers(self.span(channel.interface)).collect(),
            _ => channel.numbers().into_iter().filter_map(|number| self.named(channel.interface, number)).collect(),
        }
    }

    /// The span of an interface; without one that of the D channel.
    pub fn span(&self, interface: Option<u8>) -> Option<usize> {
        let named = |span: &Span| interface.map_or(span.signalling, |interface| span.interface == interface);
        match self.spans.len() {
            // There is nothing to be mistaken: whatever the number, it is the only one.
            1 => Some(0),
            _ => self.spans.iter().position(named),
        }
    }

    fn named(&self, interface: Option<u8>, number: u8) -> Option<Slot> {
        let span = self.span(interface)?;
        self.spans.get(span)?.timeslot(number).map(|timeslot| Slot { span, timeslot })
    }

    /// As a channel identification. One span needs no interface.
    pub fn channel(&self, slot: Slot, exclusive: bool) -> Channel {
        let span = self.spans.get(slot.span);
        let number = span.map_or(slot.timeslot, |span| span.number(slot.timeslot));
        Channel::slot(self.interface(slot.span), number, exclusive)
    }

    /// How channel identifications name a span: not at all where there is only one.
    pub fn interface(&self, span: usize) -> Option<u8> {
        self.spans.get(span).filter(|_| self.spans.len() > 1).map(|span| span.interface)
    }

    /// A call that is being set up has it.
    pub fn take(&mut self, slot: Slot, call: CallId) {
        self.change(slot, Use::Setup(call));
    }

    /// Its call is answered.
    pub fn connect(&mut self, slot: Slot, used: Use) {
        self.change(slot, used);
    }

    /// Its restart is under way.
    pub fn restart(&mut self, slot: Slot) {
        self.change(slot, Use::Restarting);
    }

    /// Nobody uses it any more.
    pub fn release(&mut self, slot: Slot, now: Instant) {
        self.change(slot, Use::Idle);
        if let Some(timeslot) = self.slots.get_mut(&slot) {
            timeslot.freed = now;
        }
    }

    /// One end does, or does not, want it used; was that news? Its call goes on.
    pub fn block(&mut self, slot: Slot, end: End, block: bool) -> bool {
        let Some(timeslot) = self.slots.get_mut(&slot).filter(|timeslot| timeslot.used != Use::Signalling) else {
            return false;
        };
        let blocked = match end {
            End::Near => &mut timeslot.near,
            End::Far => &mut timeslot.far,
        };
        std::mem::replace(blocked, block) != block
    }

    /// Do we, or the far end, not want it used?
    pub fn is_blocked(&self, slot: Slot, end: End) -> bool {
        self.slots.get(&slot).is_some_and(|timeslot| match end {
            End::Near => timeslot.near,
            End::Far => timeslot.far,
        })
    }

    /// Both ends agree, or nobody knows what the far end thinks of it.
    pub fn doubt(&mut self, slot: Slot, doubtful: bool) {
        if let Some(timeslot) = self.slots.get_mut(&slot) {
            timeslot.doubtful = doubtful;
        }
    }

    /// Those that nobody knows about.
    pub fn doubtful(&self) -> impl Iterator<Item = Slot> + '_ {
        self.slots.iter().filter(|(_, timeslot)| timeslot.doubtful).map(|(slot, _)| *slot)
    }

    fn change(&mut self, slot: Slot, used: Use) {
        if let Some(timeslot) = self.slots.get_mut(&slot).filter(|timeslot| timeslot.used != Use::Signalling) {
            timeslot.used = used;
        }
    }
}

impl Use {
    /// The call that has the timeslot.
    pub fn call(self) -> Option<CallId> {
        match self {
            Use::Setup(call) | Use::In(call) | Use::Out(call) => Some(call),
            Use::Idle | Use::Restarting | Use::Signalling => None,
        }
    }
}

impl Timeslot {
    fn is_free(&self) -> bool {
        self.used == Use::Idle && !self.near && !self.far && !self.doubtful
    }

    fn view(&self) -> View {
        match self.used {
            Use::Signalling => View::DChannel,
            Use::In(_) => View::In,
            Use::Out(_) => View::Out,
            Use::Setup(_) => View::Setup,
            Use::Idle | Use::Restarting if self.near => View::BlockedNear,
            Use::Idle | Use::Restarting if self.far => View::BlockedFar,
            Use::Idle | Use::Restarting if self.doubtful => View::Unsure,
            Use::Restarting => View::Setup,
            Use::Idle => View::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const T1: Span = Span { carrier: Carrier::T1, interface: 0, signalling: true, counting: Counting::Timeslot };
    const E1: Span = Span { carrier: Carrier::E1, ..T1 };

    fn up(side: Side, spans: &[Span]) -> Timeslots {
        let mut slots = Timeslots::new(side, spans.to_vec());
        (0..spans.len()).for_each(|span| slots.alarm(span, false));
        slots
    }

    fn at(span: usize, timeslot: u8) -> Slot {
        Slot { span, timeslot }
    }

    #[test]
    fn each_order_of_hunting_takes_its_own_way() {
        use Hunt::{Ascending, Descending, LeastRecent, MostRecent, Opposite};
        for (order, side, expected) in [
            (Ascending, Side::User, [1, 2, 3]),
            (Descending, Side::Network, [23, 22, 21]),
            (Opposite, Side::Network, [1, 2, 3]),
            (Opposite, Side::User, [23, 22, 21]),
            (LeastRecent, Side::User, [4, 6, 5]),
            (MostRecent, Side::User, [5, 6, 4]),
        ] {
            let mut slots = up(side, &[T1]);
            let freed = |slots: &mut Timeslots, timeslot, seconds| {
                slots.release(at(0, timeslot), Instant::START + Duration::from_secs(seconds));
            };
            (1..24).for_each(|timeslot| freed(&mut slots, timeslot, 100));
            if [LeastRecent, MostRecent].contains(&order) {
                (1..24).filter(|timeslot| ![4, 5, 6].contains(timeslot)).for_each(|timeslot| {
                    slots.block(at(0, timeslot), End::Near, true);
                });
                [(4, 1), (6, 2), (5, 3)].into_iter().for_each(|(timeslot, at)| freed(&mut slots, timeslot, at));
            }
            for (place, timeslot) in expected.into_iter().enumerate() {
                let slot = slots.hunt(order).unwrap();
                assert_eq!(slot, at(0, timeslot), "{order:?} {side:?}");
                slots.take(slot, CallId(place as u32));
            }
        }
    }

    #[test]
    fn only_what_is_idle_at_both_ends_and_without_alarm_is_given_out() {
        let mut slots = up(Side::Network, &[T1]);
        assert_eq!(slots.free(), 23);
        slots.take(at(0, 1), CallId(1));
        slots.block(at(0, 2), End::Near, true);
        slots.block(at(0, 3), End::Far, true);
        slots.restart(at(0, 4));
        slots.doubt(at(0, 5), true);
        assert_eq!((slots.free(), slots.hunt(Hunt::Ascending)), (18, Some(at(0, 6))));
        let shown: Vec<&str> = slots.view().take(6).map(|(_, view)| view.name()).collect();
        assert_eq!(shown, ["setup", "blocked-near", "blocked-far", "setup", "blocked-unsure", "idle"]);
        assert_eq!(slots.view().last(), Some((at(0, 24), View::DChannel)));
        slots.alarm(0, true);
        assert_eq!((slots.free(), slots.hunt(Hunt::Ascending)), (0, None));
        slots.take(at(0, 24), CallId(2));
        assert!(!slots.block(at(0, 24), End::Near, true));
        assert_eq!(slots.used(at(0, 24)), Some(Use::Signalling));
    }

    #[test]
    fn a_wish_is_granted_if_it_can_be_and_an_exclusive_one_or_nothing() {
        let mut slots = up(Side::Network, &[E1]);
        slots.take(at(0, 7), CallId(1));
        let grant = |slots: &Timeslots, channel: Channel| slots.grant(Some(&channel), Hunt::Ascending);
        assert_eq!(grant(&slots, Channel::slot(None, 5, true)), Ok(at(0, 5)));
        assert_eq!(grant(&slots, Channel::slot(Some(3), 5, false)), Ok(at(0, 5)));
        assert_eq!(grant(&slots, Channel::slot(None, 7, true)), Err(Unavailable::Requested));
        assert_eq!(grant(&slots, Channel::slot(None, 7, false)), Ok(at(0, 1)));
        assert_eq!(grant(&slots, Channel::slot(None, 16, true)), Err(Unavailable::Requested));
        assert_eq!(grant(&slots, Channel::slot(None, 99, false)), Ok(at(0, 1)));
        assert_eq!(grant(&slots, Channel::any()), Ok(at(0, 1)));
        assert_eq!(slots.grant(None, Hunt::Descending), Ok(at(0, 31)));
        slots.alarm(0, true);
        assert_eq!(grant(&slots, Channel::slot(None, 5, true)), Err(Unavailable::Requested));
        assert_eq!(grant(&slots, Channel::any()), Err(Unavailable::None));
    }

    #[test]
    fn several_spans_are_told_apart_by_their_interface() {
        let more = Span { interface: 4, signalling: false, ..T1 };
        let slots = up(Side::User, &[T1, more]);
        assert_eq!(slots.channel(at(1, 24), true), Channel::slot(Some(4), 24, true));
        assert_eq!(slots.find(&Channel::slot(Some(4), 24, true)), Some(at(1, 24)));
        assert_eq!(slots.find(&Channel::slot(Some(0), 24, true)), None);
        assert_eq!(slots.find(&Channel::slot(None, 3, true)), Some(at(0, 3)));
        assert_eq!(slots.find(&Channel::slot(Some(9), 3, true)), None);
        assert_eq!(slots.hunt(Hunt::Descending), Some(at(1, 24)));
        let whole = Channel { interface: Some(4), exclusive: true, choice: Choice::Interface };
        assert_eq!(slots.find_all(&whole).len(), 24);
        assert_eq!(up(Side::User, &[T1]).channel(at(0, 3), false), Channel::slot(None, 3, false));
    }

    #[test]
    fn private_exchanges_may_count_past_the_d_channel() {
        let span = Span { counting: Counting::Logical, ..E1 };
        assert_eq!([1, 15, 17, 31].map(|timeslot| span.number(timeslot)), [1, 15, 16, 30]);
        assert_eq!(
            [1, 15, 16, 30, 31].map(|number| span.timeslot(number)),
            [Some(1), Some(15), Some(17), Some(31), None]
        );
        assert_eq!([15, 16, 17, 32, 0].map(|number| E1.timeslot(number)), [Some(15), None, Some(17), None, None]);
    }
}
