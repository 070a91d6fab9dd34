//! The data link of a D channel (ITU-T Q.921), point to point: SAPI 0, TEI 0, modulo 128.
//!
//! ```text
//!  we                        far end
//!  | -- SABME, P ------------> |   Establishing: again each T200; after N200 Down is told, and it goes on for ever
//!  | <-------------- UA, F --- |   Up
//!  | -- I 0,0 ---------------> |   T200 runs while something is not acknowledged
//!  | <------------- I 0,1 ---- |   an I frame acknowledges; where none waits, RR does
//!  | -- RR 1 ----------------> |
//!  | <------------ REJ 1 ----- |   a gap: again from there
//!  | <------------ RNR 1 ----- |   it is busy, and asked each T200
//!  |                           |   T203 of silence, or T200:
//!  | -- RR 1, P -------------> |   Recovering: nothing new is sent
//!  | <---------- RR 1, F ----- |   again from there. N200 questions without an answer: SABME, and Reset is told
//!  | -- DISC, P -------------> |   Releasing
//!  | <-------------- UA, F --- |   Released; after a DM or the far end's DISC it tries again after T200
//! ```
//!
//! The states are those of figure B: 4 `Released`, 5 `Establishing`, 6 `Releasing`, 7 and 8 `Up`. TEIs are not managed.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use crate::time::Instant;
use crate::wire::q921::{Address, CALL_CONTROL, Control, Frame, NotAFrame, Role, Side, Supervisory, Unnumbered};
use window::Window;

mod window;

#[cfg(test)]
mod tests;

/// Layer 3 gives its calls up long before so many orders wait behind a busy peer.
const LONGEST_QUEUE: usize = 1024;

/// System parameters (section 5.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// How long an answer or an acknowledgement is waited for.
    pub t200: Duration,
    /// After so long a silence the far end is asked whether it is there.
    pub t203: Duration,
    /// How often a frame is repeated.
    pub n200: u8,
    /// Most octets of information in a frame.
    pub n201: usize,
    /// k: most frames in flight, at most 127.
    pub window: u8,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters { t200: Duration::from_secs(1), t203: Duration::from_secs(10), n200: 3, n201: 260, window: 7 }
    }
}

/// Why a link that was up, or was to come up, is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Down {
    /// The span is in alarm.
    #[error("the line under it is down")]
    Line,
    /// SABME after SABME brought no answer.
    #[error("the far end does not answer; check that its D channel is in the same timeslot and in service")]
    Silent,
    /// DM.
    #[error("the far end refuses it: its D channel is out of service")]
    Refused,
    /// The far end's DISC.
    #[error("the far end took it down")]
    Disconnected,
    /// [`Link::release`].
    #[error("it was released here")]
    Released,
}

/// What is wrong on a link: the error indications of table II.1, by their letters, and one of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// A: a supervisory response with F to no question.
    #[error("the far end answers a question that nobody asked (A)")]
    UnaskedAnswer,
    /// B: DM with F to no question.
    #[error("the far end refuses what nobody asked (B)")]
    UnaskedRefusal,
    /// C, D: UA to nothing.
    #[error("the far end acknowledges what nobody asked (C, D)")]
    UnaskedAcknowledgement,
    /// E: DM without F.
    #[error("the far end lost the link (E)")]
    Lost,
    /// F: SABME on a link that is up.
    #[error("the far end began the link anew (F)")]
    BegunAnew,
    /// G: no answer to SABME.
    #[error("no answer to SABME (G)")]
    NotEstablished,
    /// H: no answer to DISC.
    #[error("no answer to DISC (H)")]
    NotReleased,
    /// I: no answer to RR or RNR with P.
    #[error("no answer on a link that was up: frames are lost on the way, or the far end died (I)")]
    NotRecovered,
    /// J: an N(R) outside of what is in flight.
    #[error("the far end acknowledges frames that were not sent (J)")]
    WrongNumber,
    /// K: FRMR.
    #[error("the far end finds fault with our frames (K)")]
    Rejected,
    /// L, M, N: see [`NotAFrame`].
    #[error("the far end sent what is no frame: {0} (L, M, N)")]
    NotAFrame(NotAFrame),
    /// O: more than N201 octets.
    #[error("the far end sent a frame longer than agreed (O)")]
    TooLong,
    /// Commands come with the C/R bit of our own side.
    #[error("both ends play the same side, user or network, or the line is looped back")]
    SameSide,
}

/// Who must do something about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guilty {
    /// The far end breaks the rules.
    FarEnd,
    /// Frames are lost on the way, or nobody is there.
    Line,
    /// The configuration of one of both ends.
    Configuration,
}

impl Fault {
    /// Who is to blame.
    pub fn guilty(self) -> Guilty {
        match self {
            Fault::NotEstablished | Fault::NotReleased | Fault::NotRecovered => Guilty::Line,
            // An answer that comes late was asked for once.
            Fault::UnaskedAnswer | Fault::UnaskedRefusal | Fault::UnaskedAcknowledgement => Guilty::Line,
            Fault::Lost | Fault::BegunAnew | Fault::WrongNumber | Fault::Rejected => Guilty::FarEnd,
            Fault::NotAFrame(_) | Fault::TooLong => Guilty::FarEnd,
            Fault::SameSide => Guilty::Configuration,
        }
    }
}

/// What comes of a call into the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the D channel.
    Frame(Vec<u8>),
    /// To layer 3: the information of an I frame, once, in order.
    Data(Vec<u8>),
    /// The link is there (DL-ESTABLISH).
    Up,
    /// The link was interrupted, and begun anew by one of both ends.
    Reset {
        /// So many of our orders did not go through, or nobody knows.
        lost: usize,
    },
    /// The link is gone (DL-RELEASE), and with it all that was not acknowledged; or it stays down for another reason.
    Down(Down),
    /// For operators (MDL-ERROR).
    Fault(Fault),
}

/// Why something is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unsent {
    /// There is no link.
    #[error("the data link is down")]
    Down,
    /// The far end takes nothing any more.
    #[error("too much waits for a far end that is busy")]
    Full,
    /// More than N201 octets.
    #[error("the message is too long for a frame")]
    TooLong,
}

/// What operators are shown of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The span is in alarm.
    NoLine,
    /// It is down, as somebody here or there wants it.
    Released,
    /// It is being set up.
    Establishing,
    /// It is up.
    Up,
    /// It is up, and the far end takes nothing for now.
    PeerBusy,
    /// It is up, and the far end owes us an answer.
    Recovering,
    /// It is being taken down.
    Releasing,
}

impl Condition {
    /// Does it carry what layer 3 says, if at times slowly?
    pub fn is_up(self) -> bool {
        matches!(self, Condition::Up | Condition::PeerBusy | Condition::Recovering)
    }

    /// As pages write it.
    pub fn name(self) -> &'static str {
        match self {
            Condition::NoLine => "no-line",
            Condition::Released => "released",
            Condition::Establishing => "establishing",
            Condition::Up => "up",
            Condition::PeerBusy => "peer-busy",
            Condition::Recovering => "recovering",
            Condition::Releasing => "releasing",
        }
    }
}

/// Figure B.
#[derive(Debug)]
enum State {
    /// The line is down; shall the link come up with it?
    NoLine { wanted: bool },
    /// State 4. When it is tried again; never: whoever asks is refused.
    Released { again: Option<Instant> },
    /// State 5.
    Establishing { t200: Instant, tries: u8, before: Option<Before> },
    /// States 7 and 8.
    Up { window: Window, phase: Phase },
    /// State 6.
    Releasing { t200: Instant, tries: u8 },
}

/// What layer 3 still believes to be up while it is established anew.
#[derive(Debug)]
struct Before {
    queue: VecDeque<Vec<u8>>,
    lost: usize,
}

/// What is waited for on a link that is up.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// For a sign of life.
    Idle { t203: Instant },
    /// For an acknowledgement, or for the peer to be no longer busy.
    Awaiting { t200: Instant },
    /// State 8: for the answer to a question.
    Recovering { t200: Instant, tries: u8 },
}

/// One end of a data link.
#[derive(Debug)]
pub struct Link {
    side: Side,
    parameters: Parameters,
    state: State,
    /// Layer 3 takes nothing for now.
    busy: bool,
    /// What layer 3 was told last; `None` is "up".
    down: Option<Down>,
    fault: Option<Fault>,
}

impl Link {
    /// A link that comes up with its line.
    pub fn new(side: Side, parameters: Parameters) -> Link {
        let parameters = Parameters { window: parameters.window.clamp(1, 127), ..parameters };
        let (state, down) = (State::NoLine { wanted: true }, Some(Down::Line));
        Link { side, parameters, state, busy: false, down, fault: None }
    }

    /// Which end we are.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Why it is down, as layer 3 was told; `None` while it is up.
    pub fn down(&self) -> Option<Down> {
        self.down
    }

    /// What operators are shown.
    pub fn condition(&self) -> Condition {
        match &self.state {
            State::NoLine { .. } => Condition::NoLine,
            State::Released { .. } => Condition::Released,
            State::Establishing { .. } => Condition::Establishing,
            State::Up { phase: Phase::Recovering { .. }, .. } => Condition::Recovering,
            State::Up { window, .. } if window.peer_busy => Condition::PeerBusy,
            State::Up { .. } => Condition::Up,
            State::Releasing { .. } => Condition::Releasing,
        }
    }

    /// The last that went wrong since the link came up.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// When [`Link::tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        match &self.state {
            State::NoLine { .. } => None,
            State::Released { again } => *again,
            State::Establishing { t200, .. } | State::Releasing { t200, .. } => Some(*t200),
            State::Up { phase, .. } => Some(phase.timeout()),
        }
    }

    /// The alarms of the span are over.
    pub fn line_up(&mut self, now: Instant, out: &mut Vec<Output>) {
        match self.state {
            State::NoLine { wanted: true } => self.state = self.establish_from(now, None, out),
            State::NoLine { wanted: false } => self.state = State::Released { again: None },
            _ => {}
        }
    }

    /// The span went into alarm.
    pub fn line_down(&mut self, out: &mut Vec<Output>) {
        self.fall(Down::Line, out);
        let wanted = match self.state {
            State::NoLine { wanted } => wanted,
            State::Released { again } => again.is_some(),
            State::Establishing { .. } | State::Up { .. } => true,
            State::Releasing { .. } => false,
        };
        self.state = State::NoLine { wanted };
    }

    /// The link shall be up, and come up again whenever it goes down.
    pub fn establish(&mut self, now: Instant, out: &mut Vec<Output>) {
        match self.state {
            State::NoLine { .. } => self.state = State::NoLine { wanted: true },
            State::Released { .. } | State::Releasing { .. } => self.state = self.establish_from(now, None, out),
            State::Establishing { .. } | State::Up { .. } => {}
        }
    }

    /// The link shall be down, and stay down.
    pub fn release(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.fall(Down::Released, out);
        self.state = match self.take() {
            State::NoLine { .. } => State::NoLine { wanted: false },
            State::Released { .. } => State::Released { again: None },
            State::Establishing { .. } | State::Up { .. } => {
                self.unnumbered(Role::Command, Unnumbered::Disc, true, out);
                State::Releasing { t200: now + self.parameters.t200, tries: 0 }
            }
            State::Releasing { t200, tries } => State::Releasing { t200, tries },
        }
    }

    /// A message for the far end (DL-DATA). Taken, it arrives once and in order, or [`Output::Reset`] or
    /// [`Output::Down`] follow.
    pub fn send(&mut self, now: Instant, payload: Vec<u8>, out: &mut Vec<Output>) -> Result<(), Unsent> {
        if payload.len() > self.parameters.n201 {
            return Err(Unsent::TooLong);
        }
        match self.take() {
            State::Up { mut window, phase } => {
                let fits = window.len() < LONGEST_QUEUE;
                if fits {
                    window.push(payload);
                }
                self.state = self.flush(now, window, phase, out);
                if fits { Ok(()) } else { Err(Unsent::Full) }
            }
            State::Establishing { t200, tries, before: Some(mut before) } => {
                let fits = before.queue.len() < LONGEST_QUEUE;
                if fits {
                    before.queue.push_back(payload);
                }
                self.state = State::Establishing { t200, tries, before: Some(before) };
                if fits { Ok(()) } else { Err(Unsent::Full) }
            }
            state => {
                self.state = state;
                Err(Unsent::Down)
            }
        }
    }

    /// Layer 3 takes nothing for now, or takes again: the far end hears RNR or RR.
    pub fn set_busy(&mut self, busy: bool, out: &mut Vec<Output>) {
        if mem::replace(&mut self.busy, busy) == busy {
            return;
        }
        if let State::Up { mut window, phase } = self.take() {
            self.supervise(Role::Response, &mut window, false, out);
            self.state = State::Up { window, phase };
        }
    }

    /// A frame from the D channel.
    pub fn receive(&mut self, now: Instant, octets: &[u8], out: &mut Vec<Output>) {
        // Other links of the D channel, and broadcasts, are none of ours.
        if Address::read(octets) != Some(CALL_CONTROL) {
            return;
        }
        let frame = match Frame::read(octets) {
            Ok(frame) if frame.information.len() <= self.parameters.n201 => frame,
            Ok(_) => return self.refuse(now, Fault::TooLong, out),
            Err(why) => return self.refuse(now, Fault::NotAFrame(why), out),
        };
        let role = frame.role(self.side.other());
        let only = match frame.control {
            Control::I { .. } => Some(Role::Command),
            Control::S { .. } => None,
            Control::U { kind, .. } => kind.role(),
        };
        if only.is_some_and(|only| only != role) {
            return self.refuse(now, Fault::SameSide, out);
        }
        self.state = match (self.take(), frame.control) {
            (state @ State::NoLine { .. }, _) => state,
            (State::Released { again }, Control::U { kind, poll }) => self.released(now, again, kind, poll, out),
            (State::Establishing { t200, tries, before }, Control::U { kind, poll }) => {
                self.establishing(now, (t200, tries, before), kind, poll, out)
            }
            (State::Releasing { t200, tries }, Control::U { kind, poll }) => {
                self.releasing((t200, tries), kind, poll, out)
            }
            (State::Up { window, phase }, Control::U { kind, poll }) => {
                self.interrupted(now, window, phase, kind, poll, out)
            }
            (State::Up { window, phase }, Control::S { kind, received, poll }) => {
                self.supervised(now, window, phase, role, (kind, received, poll), out)
            }
            (State::Up { window, phase }, Control::I { sent, received, poll }) => {
                self.informed(now, window, phase, (sent, received, poll), frame.information, out)
            }
            (state, _) => state,
        }
    }

    /// The timer that ran out.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.timeout().is_none_or(|at| now < at) {
            return;
        }
        let Parameters { t200, n200, .. } = self.parameters;
        self.state = match self.take() {
            State::Released { .. } => self.establish_from(now, None, out),
            State::Establishing { tries, before, .. } if tries < n200 => {
                self.unnumbered(Role::Command, Unnumbered::Sabme, true, out);
                State::Establishing { t200: now + t200, tries: tries + 1, before }
            }
            State::Establishing { .. } => {
                if self.fall(Down::Silent, out) {
                    self.blame(Fault::NotEstablished, out);
                }
                self.establish_from(now, None, out)
            }
            State::Releasing { tries, .. } if tries < n200 => {
                self.unnumbered(Role::Command, Unnumbered::Disc, true, out);
                State::Releasing { t200: now + t200, tries: tries + 1 }
            }
            State::Releasing { .. } => {
                self.blame(Fault::NotReleased, out);
                State::Released { again: None }
            }
            State::Up { window, phase: Phase::Recovering { tries, .. } } if tries >= n200 => {
                self.blame(Fault::NotRecovered, out);
                self.establish_from(now, Some(window), out)
            }
            State::Up { mut window, phase } => {
                let tries = match phase {
                    Phase::Recovering { tries, .. } => tries + 1,
                    Phase::Idle { .. } | Phase::Awaiting { .. } => 0,
                };
                self.supervise(Role::Command, &mut window, true, out);
                State::Up { window, phase: Phase::Recovering { t200: now + t200, tries } }
            }
            state @ State::NoLine { .. } => state,
        };
    }

    /// State 4.
    fn released(
        &mut self,
        now: Instant,
        again: Option<Instant>,
        kind: Unnumbered,
        poll: bool,
        out: &mut Vec<Output>,
    ) -> State {
        match kind {
            Unnumbered::Sabme if again.is_some() => {
                self.unnumbered(Role::Response, Unnumbered::Ua, poll, out);
                self.up(now, None, out)
            }
            Unnumbered::Sabme | Unnumbered::Disc => {
                self.unnumbered(Role::Response, Unnumbered::Dm, poll, out);
                State::Released { again }
            }
            // The far end asks us to begin (section 5.5.1.2).
            Unnumbered::Dm if !poll && again.is_some() => self.establish_from(now, None, out),
            Unnumbered::Ua => {
                self.blame(Fault::UnaskedAcknowledgement, out);
                State::Released { again }
            }
            _ => State::Released { again },
        }
    }

    /// State 5.
    fn establishing(
        &mut self,
        now: Instant,
        (t200, tries, before): (Instant, u8, Option<Before>),
        kind: Unnumbered,
        poll: bool,
        out: &mut Vec<Output>,
    ) -> State {
        match kind {
            Unnumbered::Ua if poll => self.up(now, before, out),
            Unnumbered::Dm if poll => {
                self.fall(Down::Refused, out);
                State::Released { again: Some(now + self.parameters.t200) }
            }
            Unnumbered::Sabme => {
                self.unnumbered(Role::Response, Unnumbered::Ua, poll, out);
                State::Establishing { t200, tries, before }
            }
            Unnumbered::Disc => {
                self.unnumbered(Role::Response, Unnumbered::Dm, poll, out);
                State::Establishing { t200, tries, before }
            }
            Unnumbered::Ua => {
                self.blame(Fault::UnaskedAcknowledgement, out);
                State::Establishing { t200, tries, before }
            }
            _ => State::Establishing { t200, tries, before },
        }
    }

    /// State 6.
    fn releasing(
        &mut self,
        (t200, tries): (Instant, u8),
        kind: Unnumbered,
        poll: bool,
        out: &mut Vec<Output>,
    ) -> State {
        match kind {
            Unnumbered::Ua | Unnumbered::Dm if poll => return State::Released { again: None },
            Unnumbered::Ua => self.blame(Fault::UnaskedAcknowledgement, out),
            Unnumbered::Sabme => self.unnumbered(Role::Response, Unnumbered::Dm, poll, out),
            Unnumbered::Disc => self.unnumbered(Role::Response, Unnumbered::Ua, poll, out),
            _ => {}
        }
        State::Releasing { t200, tries }
    }

    /// States 7 and 8: frames without numbers.
    fn interrupted(
        &mut self,
        now: Instant,
        window: Window,
        phase: Phase,
        kind: Unnumbered,
        poll: bool,
        out: &mut Vec<Output>,
    ) -> State {
        let fault = match kind {
            Unnumbered::Sabme => {
                self.unnumbered(Role::Response, Unnumbered::Ua, poll, out);
                self.blame(Fault::BegunAnew, out);
                let (queue, lost) = window.leftover();
                return self.up(now, Some(Before { queue, lost }), out);
            }
            Unnumbered::Disc => {
                self.unnumbered(Role::Response, Unnumbered::Ua, poll, out);
                self.fall(Down::Disconnected, out);
                return State::Released { again: Some(now + self.parameters.t200) };
            }
            Unnumbered::Ua => Fault::UnaskedAcknowledgement,
            Unnumbered::Dm if poll => Fault::UnaskedRefusal,
            Unnumbered::Dm => Fault::Lost,
            Unnumbered::Frmr => Fault::Rejected,
            Unnumbered::Ui | Unnumbered::Xid => return State::Up { window, phase },
        };
        self.blame(fault, out);
        match fault {
            Fault::Lost | Fault::Rejected => self.establish_from(now, Some(window), out),
            _ => State::Up { window, phase },
        }
    }

    /// States 7 and 8: RR, RNR, REJ.
    fn supervised(
        &mut self,
        now: Instant,
        mut window: Window,
        phase: Phase,
        role: Role,
        (kind, received, poll): (Supervisory, u8, bool),
        out: &mut Vec<Output>,
    ) -> State {
        window.peer_busy = kind == Supervisory::Rnr;
        let asked = role == Role::Command && poll;
        let answered = role == Role::Response && poll;
        if asked {
            self.supervise(Role::Response, &mut window, true, out);
        }
        let recovering = matches!(phase, Phase::Recovering { .. });
        if answered && !recovering {
            self.blame(Fault::UnaskedAnswer, out);
        }
        if !window.covers(received) {
            self.blame(Fault::WrongNumber, out);
            return self.establish_from(now, Some(window), out);
        }
        let news = window.acknowledge(received);
        let phase = match kind {
            _ if recovering && !answered => phase,
            Supervisory::Rr if !recovering => self.waiting(now, &window, phase, news),
            Supervisory::Rr | Supervisory::Rej => {
                window.rewind();
                self.idle(now)
            }
            Supervisory::Rnr => {
                if answered {
                    window.rewind();
                }
                Phase::Awaiting { t200: now + self.parameters.t200 }
            }
        };
        self.flush(now, window, phase, out)
    }

    /// States 7 and 8: I frames.
    fn informed(
        &mut self,
        now: Instant,
        mut window: Window,
        phase: Phase,
        (sent, received, poll): (u8, u8, bool),
        information: &[u8],
        out: &mut Vec<Output>,
    ) -> State {
        if !self.busy && window.takes(sent) {
            out.push(Output::Data(information.to_vec()));
            window.owes = true;
            if poll {
                self.supervise(Role::Response, &mut window, true, out);
            }
        } else if self.busy || window.rejected {
            if poll {
                self.supervise(Role::Response, &mut window, true, out);
            }
        } else {
            (window.rejected, window.owes) = (true, false);
            let reject = Control::S { kind: Supervisory::Rej, received: window.due, poll };
            self.say(Role::Response, reject, &[], out);
        }
        if !window.covers(received) {
            self.blame(Fault::WrongNumber, out);
            return self.establish_from(now, Some(window), out);
        }
        let news = window.acknowledge(received);
        let phase = match phase {
            Phase::Recovering { .. } => phase,
            _ if window.peer_busy => phase,
            _ => self.waiting(now, &window, phase, news),
        };
        self.flush(now, window, phase, out)
    }

    /// T200 or T203 after an acknowledgement.
    fn waiting(&self, now: Instant, window: &Window, phase: Phase, news: bool) -> Phase {
        match phase {
            _ if window.is_acknowledged() => self.idle(now),
            _ if news => Phase::Awaiting { t200: now + self.parameters.t200 },
            phase => phase,
        }
    }

    fn idle(&self, now: Instant) -> Phase {
        Phase::Idle { t203: now + self.parameters.t203 }
    }

    /// Sends what may be sent, and acknowledges what no I frame acknowledged.
    fn flush(&mut self, now: Instant, mut window: Window, mut phase: Phase, out: &mut Vec<Output>) -> State {
        let (received, most) = (window.due, self.parameters.window);
        while !matches!(phase, Phase::Recovering { .. })
            && let Some((sent, payload)) = window.next(most)
        {
            self.say(Role::Command, Control::I { sent, received, poll: false }, payload, out);
            window.owes = false;
            if matches!(phase, Phase::Idle { .. }) {
                phase = Phase::Awaiting { t200: now + self.parameters.t200 };
            }
        }
        if window.owes {
            self.supervise(Role::Response, &mut window, false, out);
        }
        State::Up { window, phase }
    }

    /// What cannot be understood: on a link that is up both ends begin anew (section 5.8.5).
    fn refuse(&mut self, now: Instant, fault: Fault, out: &mut Vec<Output>) {
        self.state = match self.take() {
            state @ State::NoLine { .. } => state,
            State::Up { window, .. } => {
                self.blame(fault, out);
                self.establish_from(now, Some(window), out)
            }
            state => {
                self.blame(fault, out);
                state
            }
        };
    }

    /// SABME; with the window of a link that was up until now.
    fn establish_from(&mut self, now: Instant, window: Option<Window>, out: &mut Vec<Output>) -> State {
        self.unnumbered(Role::Command, Unnumbered::Sabme, true, out);
        let before = window.map(Window::leftover).map(|(queue, lost)| Before { queue, lost });
        State::Establishing { t200: now + self.parameters.t200, tries: 0, before }
    }

    /// Both ends agree that the link begins.
    fn up(&mut self, now: Instant, before: Option<Before>, out: &mut Vec<Output>) -> State {
        let mut window = match before {
            Some(before) => {
                out.push(Output::Reset { lost: before.lost });
                Window::new(before.queue)
            }
            None => {
                (self.fault, self.down) = (None, None);
                out.push(Output::Up);
                Window::default()
            }
        };
        if self.busy {
            self.supervise(Role::Response, &mut window, false, out);
        }
        let phase = self.idle(now);
        self.flush(now, window, phase, out)
    }

    /// RR, or RNR while layer 3 is busy; it acknowledges all that came.
    fn supervise(&self, role: Role, window: &mut Window, poll: bool, out: &mut Vec<Output>) {
        let kind = if self.busy { Supervisory::Rnr } else { Supervisory::Rr };
        window.owes = false;
        self.say(role, Control::S { kind, received: window.due, poll }, &[], out);
    }

    fn unnumbered(&self, role: Role, kind: Unnumbered, poll: bool, out: &mut Vec<Output>) {
        self.say(role, Control::U { kind, poll }, &[], out);
    }

    fn say(&self, role: Role, control: Control, information: &[u8], out: &mut Vec<Output>) {
        let frame = Frame { information, ..Frame::new(self.side, role, CALL_CONTROL, control) };
        out.push(Output::Frame(frame.write()));
    }

    /// Tells why the link is down. Is it news?
    fn fall(&mut self, why: Down, out: &mut Vec<Output>) -> bool {
        let news = self.down.replace(why) != Some(why);
        if news {
            out.push(Output::Down(why));
        }
        news
    }

    /// While the link is down the same fault is told once.
    fn blame(&mut self, fault: Fault, out: &mut Vec<Output>) {
        let news = self.fault.replace(fault) != Some(fault);
        if news || self.down.is_none() {
            out.push(Output::Fault(fault));
        }
    }

    /// The state, to be put back by whoever takes it.
    fn take(&mut self) -> State {
        mem::replace(&mut self.state, State::NoLine { wanted: true })
    }
}

impl Phase {
    fn timeout(self) -> Instant {
        match self {
            Phase::Idle { t203 } => t203,
            Phase::Awaiting { t200 } | Phase::Recovering { t200, .. } => t200,
        }
    }
}
