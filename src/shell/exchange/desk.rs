//! The thread of an exchange.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use firmware_io::simulated::End;
use firmware_io::{Bearer, DChannel, Span, SpanError, hdlc};
use nix::poll::{PollFd, PollFlags, ppoll};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::{Group, Handset, Inbox, Order};
use crate::config::{self, ScheduledCall};
use crate::exchange::{Exchange, News, Output, Placed, Says, TelephoneId};
use crate::hop::SpanId;
use crate::isdn::call::Access;
use crate::isdn::leg::Numbering;
use crate::isdn::line::Terms;
use crate::isdn::timeslots::{self, Slot};
use crate::media::codec::g711::{self, Law};
use crate::media::tone::Generator;
use crate::private::Private;
use crate::random::Random;
use crate::shell::clock::Clock;
use crate::shell::speech::{Speech, Voice};
use crate::time::Instant;
use crate::tone::COUNTRIES;

/// Octets that are said in advance: a thread that is late for less is not heard.
const LEAD: usize = 160;
/// Octets that are heard at once, at most.
pub(super) const PIECE: usize = 1024;
/// Frames of the speech that is said over and over: 10 s.
const SPEECH: usize = 500;
/// Samples a second.
pub(super) const RATE: u32 = 8000;

/// What the thread owns.
pub(super) struct Desk {
    group: Group,
    exchange: Exchange,
    clock: Clock,
    /// The lines that are there, by their place in the group.
    lines: BTreeMap<usize, Attached>,
    voices: BTreeMap<Slot, Talk>,
    telephones: Vec<Lent>,
    inbox: Arc<Inbox>,
    law: Law,
    /// What is said where somebody speaks.
    speech: Vec<u8>,
    out: Vec<Output>,
}

/// A line that is there.
struct Attached {
    end: End,
    /// None on a line that has its calls set up elsewhere.
    d_channel: Option<Box<dyn DChannel>>,
}

/// A telephone that was lent out.
struct Lent {
    news: mpsc::Sender<News>,
    handset: Option<Box<dyn Handset>>,
}

/// A timeslot in use.
struct Talk {
    bearer: Box<dyn Bearer>,
    says: Says,
    tone: Generator,
    /// How much of the speech was said.
    position: usize,
}

impl Desk {
    pub fn new(inbox: Arc<Inbox>, clock: Clock, mut random: Random) -> Desk {
        let group = inbox.letters().group.clone();
        let law = group[0].line.law();
        Desk {
            exchange: exchange(clock.now().mono, &group),
            group,
            clock,
            lines: BTreeMap::new(),
            voices: BTreeMap::new(),
            telephones: Vec::new(),
            inbox,
            law,
            speech: speech(law, &mut random),
            out: Vec::new(),
        }
    }

    /// Until no line is left.
    pub fn run(mut self) -> io::Result<()> {
        loop {
            self.letters();
            if self.lines.is_empty() && self.leave() {
                return Ok(());
            }
            self.perform();
            self.wait()?;
            self.look();
            self.exchange.tick(self.clock.now().mono, &mut self.out);
            self.sound();
        }
    }

    /// Nothing is left to do, unless a line has come meanwhile.
    fn leave(&self) -> bool {
        let mut letters = self.inbox.letters();
        letters.is_read = !letters.ends.is_empty();
        !letters.is_read
    }

    /// Until something is ready or due.
    fn wait(&self) -> io::Result<()> {
        let lines = self.lines.values().map(|line| line.end.ready());
        let frames = self.lines.values().flat_map(|line| &line.d_channel).map(|channel| channel.ready());
        let sound = self.voices.values().map(|talk| talk.bearer.ready());
        let all = std::iter::once(self.inbox.wake.as_fd()).chain(lines).chain(frames).chain(sound);
        let mut ready: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let now = self.clock.now().mono;
        let limit = self.exchange.timeout().map(|at| at.since(now).into());
        match ppoll(&mut ready, limit, None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(fault) => Err(fault.into()),
        }
    }

    // Lines.

    /// A line is there, or there anew.
    fn attach(&mut self, id: SpanId, mut end: End) {
        let Some(place) = self.group.iter().position(|span| span.id == id) else { return };
        self.detach(place);
        let (signals, name) = (self.group[place].signals(), &self.group[place].name);
        let d_channel = match signals.then(|| end.d_channel()).transpose() {
            Ok(channel) => channel,
            Err(fault) => return warn!(span = name, "{name} has nobody at its far end: {fault}"),
        };
        info!(span = name, "{name} has an exchange at its far end");
        self.exchange.span(self.clock.now().mono, place, end.alarms().is_empty(), &mut self.out);
        self.lines.insert(place, Attached { end, d_channel });
    }

    fn detach(&mut self, place: usize) {
        if self.lines.remove(&place).is_some() {
            self.voices.retain(|slot, _| slot.span != place);
            self.exchange.span(self.clock.now().mono, place, false, &mut self.out);
        }
    }

    /// The box has other lines on the same D channel than before: it begins them anew, and so do we.
    fn regroup(&mut self, group: Group) {
        self.exchange = exchange(self.clock.now().mono, &group);
        self.voices.clear();
        self.telephones.clear();
        self.out.clear();
        let old = std::mem::replace(&mut self.group, group);
        for (place, line) in std::mem::take(&mut self.lines) {
            let id = old.get(place).map(|span| span.id);
            if let Some(place) = self.group.iter().position(|span| Some(span.id) == id) {
                self.exchange.span(self.clock.now().mono, place, line.end.alarms().is_empty(), &mut self.out);
                self.lines.insert(place, line);
            }
        }
    }

    fn look(&mut self) {
        for place in 0..self.group.len() {
            if let Err(fault) = self.look_at(place) {
                debug!("the exchange of Span{} lost a line: {fault}", self.group[place].id.0);
                self.detach(place);
            }
        }
    }

    fn look_at(&mut self, place: usize) -> Result<(), SpanError> {
        let Some(line) = self.lines.get_mut(&place) else { return Ok(()) };
        let now = self.clock.now().mono;
        if let Some(alarms) = line.end.poll()? {
            self.exchange.span(now, place, alarms.is_empty(), &mut self.out);
        }
        let Some(channel) = &mut line.d_channel else { return Ok(()) };
        let mut frame = [0; hdlc::LONGEST];
        while let Some(length) = channel.receive(&mut frame)? {
            let now = self.clock.now().mono;
            self.exchange.receive(now, place, frame.get(..length).unwrap_or_default(), &mut self.out);
        }
        Ok(())
    }

    // Letters.

    fn letters(&mut self) {
        // Before they are taken: what comes later wakes us again.
        let _ = self.inbox.wake.read();
        let inbox = self.inbox.clone();
        let mut letters = inbox.letters();
        if !config::go_on(self.group.iter(), letters.group.iter()) {
            self.regroup(letters.group.clone());
        }
        for (id, end) in letters.ends.drain(..) {
            self.attach(id, end);
        }
        for (digits, news) in letters.lent.get(self.telephones.len()..).unwrap_or_default() {
            self.exchange.lend(digits, &mut self.out);
            self.telephones.push(Lent { news: news.clone(), handset: None });
        }
        let orders = std::mem::take(&mut letters.orders);
        drop(letters);
        orders.into_iter().for_each(|order| self.obey(order));
    }

    fn obey(&mut self, order: Order) {
        let now = self.clock.now().mono;
        match order {
            Order::Take { telephone: TelephoneId(which), handset } => {
                if let Some(lent) = self.telephones.get_mut(which) {
                    lent.handset = Some(handset);
                }
            }
            Order::Dial { telephone, what } => self.exchange.dial(now, telephone, what, &mut self.out),
            Order::HangUp { telephone } => self.exchange.hang_up(now, telephone, &mut self.out),
        }
    }

    fn perform(&mut self) {
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::Frame { span, octets } => {
                    let line = self.lines.get_mut(&span);
                    if let Some(channel) = line.and_then(|line| line.d_channel.as_mut()) {
                        // What finds no room is repeated by the data link.
                        let _ = channel.send(&octets);
                    }
                }
                Output::Sound { slot, says } => {
                    if let Err(fault) = self.say(slot, says) {
                        warn!("the exchange says nothing in timeslot {}: {fault}", slot.timeslot);
                    }
                }
                Output::Closed(slot) => drop(self.voices.remove(&slot)),
                Output::Telephone { telephone: TelephoneId(which), news } => self.tell(which, news),
                Output::Report(report) => debug!("the exchange of {}: {report:?}", self.group[0].name),
            }
        }
    }

    fn say(&mut self, slot: Slot, says: Says) -> Result<(), SpanError> {
        if !self.voices.contains_key(&slot) {
            let line = self.lines.get_mut(&slot.span).ok_or(SpanError::Gone)?;
            let no_such = SpanError::NotConfigured("the line has no such timeslot");
            let timeslot = line.end.line().timeslot(slot.timeslot).ok_or(no_such)?;
            let mut bearer = line.end.bearer(timeslot)?;
            bearer.write(&[self.law.silence(); LEAD])?;
            self.voices.insert(slot, Talk { bearer, says, tone: Generator::new(&[], RATE), position: 0 });
        }
        if let Some(talk) = self.voices.get_mut(&slot) {
            (talk.says, talk.position) = (says, 0);
            if let Says::Tone(cadence) = says {
                talk.tone = Generator::new(cadence, RATE);
            }
        }
        Ok(())
    }

    fn tell(&mut self, which: usize, news: News) {
        let Some(lent) = self.telephones.get_mut(which) else { return };
        if matches!(news, News::Ended(_)) {
            lent.handset = None;
        }
        // Who does not listen does not want to know.
        let _ = lent.news.try_send(news);
    }

    /// As much is said as was heard: the line is the clock.
    fn sound(&mut self) {
        let Desk { voices, telephones, speech, law, .. } = self;
        // A timeslot that fails does so with its line.
        voices.retain(|_, talk| talk.converse(*law, speech, telephones).is_ok());
    }
}

impl Talk {
    fn converse(&mut self, law: Law, speech: &[u8], telephones: &mut [Lent]) -> io::Result<()> {
        let (mut heard, mut said) = ([0; PIECE], [law.silence(); PIECE]);
        let count = self.bearer.read(&mut heard)?;
        let (heard, said) = (&heard[..count], &mut said[..count]);
        match self.says {
            Says::Silence => {}
            Says::Echo => said.copy_from_slice(heard),
            Says::Tone(_) => self.tone(law, said),
            Says::Speech => self.speak(speech, said),
            Says::Telephone(TelephoneId(which)) => {
                let handset = telephones.get_mut(which).and_then(|lent| lent.handset.as_mut());
                if let Some(handset) = handset {
                    handset.converse(heard, said);
                }
            }
        }
        self.bearer.write(said).map(drop)
    }

    fn tone(&mut self, law: Law, said: &mut [u8]) {
        let mut sound = [0; PIECE];
        let sound = &mut sound[..said.len()];
        self.tone.read(sound);
        g711::encode(law, sound, said);
    }

    fn speak(&mut self, speech: &[u8], said: &mut [u8]) {
        for octet in said {
            *octet = speech.get(self.position).copied().unwrap_or(*octet);
            self.position = (self.position + 1) % speech.len().max(1);
        }
    }
}

/// The exchange of these lines, of a country that has such: the same D channel from its other end.
fn exchange(now: Instant, group: &Group) -> Exchange {
    let first = &group[0];
    let far = config::Span { side: first.side.other(), ..config::Span::clone(first) };
    let lines = group.iter().map(|span| timeslots::Span::of(span)).collect();
    let country = match first.line {
        firmware_io::Line::T1 => "us",
        firmware_io::Line::E1 => "de",
    };
    let tones = COUNTRIES.iter().find(|tones| tones.country == country).unwrap_or(&COUNTRIES[0]);
    let mut exchange = Exchange::new(Terms::new(Arc::new(Access::of_exchange(&far)), lines), tones);
    for span in group {
        for call in &span.simulation.calls {
            exchange.plan(now + call.every, Some(call.every), placed(call, &Numbering::of(span)));
        }
    }
    exchange
}

fn placed(call: &ScheduledCall, numbering: &Numbering) -> Placed {
    Placed {
        called: numbering.number(call.to.get()),
        calling: numbering.number(call.from.get()),
        name: Private(String::new()),
        says: Says::Speech,
        lasts: Some(call.lasts),
    }
}

fn speech(law: Law, random: &mut Random) -> Vec<u8> {
    let speech = Speech::new(Voice::High, SPEECH, random);
    let mut octets: Vec<u8> = (0..speech.len()).filter_map(|number| speech.frame(number)).flatten().copied().collect();
    if law == Law::A {
        g711::convert(Law::Mu, &mut octets);
    }
    octets
}
