//! Changes in mid-call: what one side wants is offered to the other and its answer carried back.
//!
//! ```text
//! asker          call           other side
//!  |--- Change --->|--- Change --->|  hold, resume, another codec
//!  |<-- Grant -----|<-- Changed ---|  or Unchanged: it is granted all the same
//! ```
//! With hold music the other side is not told of a hold. Two changes at once: the second one waits (491).

use std::time::Duration;

use super::b2bua::{Act, Around, Call, State};
use super::terms;
use crate::cause::{Cause, Guilty, Release};
use crate::leg::{Order, Terms, Wish};
use crate::session::{Digit, Digits, Direction, Machine, MediaOrder, Side, Stream};

/// A change that `asked` wants and the other side has been offered.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) asked: Side,
    pub(super) wish: Wish,
}

impl Call {
    pub(super) fn change_asked(&mut self, asked: Side, wish: Wish, around: &mut Around<'_>) {
        let (Some(asker), Some(other)) = (self.key_of(asked), self.key_of(asked.other())) else { return };
        let later = |why| Release::new(Guilty::Nobody, Cause::TEMPORARY, why).with_status(491);
        let agreed = self.streams[asked.index()].is_some();
        let trunk = self.half(Some(other)).map(|half| half.trunk.clone()).filter(|_| agreed);
        if self.is_alone(asked) {
            return self.grant(asked, Some(wish.direction), around);
        }
        let (State::Connected { change, .. }, Some(trunk)) = (&mut self.state, trunk) else {
            return self.order(asker, Order::Deny(later("the call is not answered yet")), around);
        };
        if change.is_some() {
            return self.order(asker, Order::Deny(later("both sides want a change at once")), around);
        }
        let passed_on = match self.hold_music() {
            Some(_) if self.stream(asked.other()).is_some_and(|other| terms::stays(other, &wish)) => {
                return self.grant(asked, Some(wish.direction), around);
            }
            Some(_) if terms::holds(&wish) => Wish { direction: Direction::SendRecv, ..wish.clone() },
            _ => wish.clone(),
        };
        self.change(Change { asked, wish });
        let terms = terms::offer_to(&passed_on, &trunk, self.local(asked.other()));
        self.order(other, Order::Change(terms), around);
    }

    /// The other side has agreed to what it was offered. With music it holds or listens as it likes, and so does the asker.
    pub(super) fn changed(&mut self, side: Side, stream: Stream, around: &mut Around<'_>) {
        self.agreed(side, stream, around);
        let Some(change) = self.take_change() else { return };
        let direction = self.hold_music().map(|_| change.wish.direction);
        self.grant(change.asked, direction, around);
    }

    /// The other side refused and stays as it was. The asker has its way all the same: this box simply stops or
    /// goes on sending, and transcodes.
    pub(super) fn unchanged(&mut self, around: &mut Around<'_>) {
        if let Some(change) = self.take_change() {
            self.grant(change.asked, Some(change.wish.direction), around);
        }
    }

    /// Grants a change: as the other side is by now, but for the direction if there is one.
    pub(super) fn grant(&mut self, asked: Side, direction: Option<Direction>, around: &mut Around<'_>) {
        let terms = self.stream(asked.other()).and_then(|other| self.mirrored(other, asked));
        if let (Some(asker), Some(terms)) = (self.key_of(asked), terms) {
            let direction = direction.unwrap_or(terms.direction);
            self.order(asker, Order::Grant(Terms { direction, ..terms }), around);
        }
    }

    /// A fax or a modem talks on a line: it gets through in G.711 alone, so the line asks the other side for its own codec.
    pub(super) fn machine(&mut self, side: Side, machine: Machine, around: &mut Around<'_>) {
        let spoken = |side| self.stream(side).map(|stream| stream.codec);
        let [Some(line), Some(other)] = [side, side.other()].map(spoken) else { return };
        let name = machine.name();
        if other.law().is_some() {
            return self.note(format!("{name} is heard: its sound is left as it is"), around);
        }
        let change = format!("{name} is heard, which {} would spoil: the other side is asked for G.711", other.name());
        self.note(change, around);
        let direction = self.stream(side).map_or(Direction::SendRecv, |stream| stream.direction);
        self.change_asked(side, Wish { codecs: vec![line], direction, comfort_noise: false }, around);
        self.settle(around);
    }

    /// A digit came in signalling: the other side hears of it in its own way.
    pub(super) fn dialled(&mut self, side: Side, digit: Digit, length: Duration, around: &mut Around<'_>) {
        match (self.stream(side.other()).map(|stream| stream.digits), self.key_of(side.other())) {
            (Some(Digits::Info), Some(other)) => self.order(other, Order::Digit(digit, length), around),
            (Some(_), _) => around.out.push(Act::Media(MediaOrder::Press(self.session(), side, digit, length))),
            (None, _) => {}
        }
    }

    fn change(&mut self, wanted: Change) {
        if let State::Connected { change, .. } = &mut self.state {
            *change = Some(wanted);
        }
    }

    pub(super) fn take_change(&mut self) -> Option<Change> {
        match &mut self.state {
            State::Connected { change, .. } => change.take(),
            _ => None,
        }
    }
}
