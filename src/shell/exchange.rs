//! The exchanges at the far ends of simulated lines: one thread for all lines that share a D channel, that carries frames,
//! speaks and listens at the lines' pace, and ends with the last of them.
//!
//! It waits for whatever of a line is ready: alarms, frames, the sound of any timeslot in use; for the exchange's timers; for
//! further lines; and for who has a telephone of it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use firmware_io::simulated::End;
use firmware_io::{Bearer, DChannel, Span, SpanError, hdlc};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use super::clock::Clock;
use super::span::FarEnds;
use super::speech::{Speech, Voice};
use crate::config::{self, ScheduledCall};
use crate::exchange::{Exchange, News, Output, Placed, Says, TelephoneId};
use crate::hop::SpanId;
use crate::isdn::call::Access;
use crate::isdn::leg::Numbering;
use crate::isdn::line::Terms;
use crate::isdn::timeslots::{self, Slot};
use crate::media::Pace;
use crate::media::codec::g711::{self, Law};
use crate::media::tone::Generator;
use crate::private::Private;
use crate::random::Random;
use crate::time::Instant;
use crate::tone::COUNTRIES;

/// Octets that are said in advance: a thread that is late for less is not heard.
const LEAD: usize = 160;
/// Octets that are heard at once, at most.
const PIECE: usize = 1024;
/// Frames of the speech that is said over and over: 10 s.
const SPEECH: usize = 500;
/// Samples a second.
const RATE: u32 = 8000;
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

/// What the thread owns.
struct Desk {
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
    fn new(inbox: Arc<Inbox>, clock: Clock, mut random: Random) -> Desk {
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
    fn run(mut self) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use firmware_io::simulated::{Cable, Pacer};

    use super::*;
    use crate::config::Driver;
    use crate::isdn::call::{self, Setup, Word};
    use crate::isdn::line::{self, Line, Report};
    use crate::isdn::timeslots::CallId;
    use crate::wire::q931::{Number, NumberType};

    /// For everything that takes its time.
    const LIMIT: Duration = Duration::from_secs(10);

    fn settings(line: &str) -> config::Span {
        let text = format!(
            "[Lync]\nFqdn=a.example\nNextHop=b.example\n[Media]\nAddress=192.0.2.10\n[Span1]\nDriver=simulated\nLine={line}\n"
        );
        let span = crate::config::parse(text.as_bytes(), "test.ini").unwrap().0.spans[0].clone();
        assert_eq!(span.driver, Driver::Simulated);
        (*span).clone()
    }

    /// A box: our own line on the user's side, and the bearer of its call.
    struct Near {
        line: Line,
        end: End,
        d_channel: Box<dyn DChannel>,
        clock: Clock,
        bearer: Option<Box<dyn Bearer>>,
        words: Vec<Word>,
        restarted: bool,
        exchange: JoinHandle<()>,
        exchanges: Exchanges,
        _pacer: Pacer,
    }

    impl Near {
        fn new(kind: &str) -> Near {
            let (settings, clock) = (settings(kind), Clock::start());
            let exchanges = Exchanges::new(clock.clone(), Random::test(5));
            let (cable, mut end, far) = Cable::new(settings.line, 1).unwrap();
            let pacer = Pacer::start(|| {}).unwrap();
            pacer.add(cable);
            let exchange = exchanges.start(vec![Arc::new(settings.clone())], settings.id, far).unwrap().unwrap();
            let terms = Terms::new(Arc::new(Access::of(&settings)), vec![timeslots::Span::of(&settings)]);
            let d_channel = end.d_channel().unwrap();
            let (bearer, words) = (None, Vec::new());
            let line = Line::new(terms);
            let restarted = false;
            let mut near =
                Near { line, end, d_channel, clock, bearer, words, restarted, exchange, exchanges, _pacer: pacer };
            near.act(|line, now, out| line.span_up(now, 0, out));
            near.until("the line comes up", |near| near.restarted);
            near
        }

        fn dial(&mut self, digits: &str) {
            let law = crate::session::Codec::from(self.end.line().law());
            let called = Number::new(NumberType::NATIONAL, digits);
            let setup = Setup::new(crate::wire::q931::Bearer::speech(law), called);
            self.act(|line, now, out| {
                line.place(now, setup, out).unwrap();
            });
        }

        fn act(&mut self, act: impl FnOnce(&mut Line, Instant, &mut Vec<line::Output>)) {
            let mut out = Vec::new();
            act(&mut self.line, self.clock.now().mono, &mut out);
            for output in out {
                match output {
                    line::Output::Frame { octets, .. } => self.d_channel.send(&octets).unwrap(),
                    line::Output::Bearer { slot, .. } => {
                        let timeslot = self.end.line().timeslot(slot.timeslot).unwrap();
                        self.bearer = Some(self.end.bearer(timeslot).unwrap());
                    }
                    line::Output::Word { word, .. } => self.words.push(word),
                    line::Output::Report(Report::Restarted { by: timeslots::End::Far, .. }) => self.restarted = true,
                    line::Output::Report(_)
                    | line::Output::Message { .. }
                    | line::Output::Over(_)
                    | line::Output::Joined { .. } => {}
                }
            }
        }

        /// Waits for the line, a wake-up at a time.
        #[track_caller]
        fn until(&mut self, what: &str, enough: impl Fn(&Near) -> bool) {
            let until = self.clock.after(LIMIT);
            while !enough(self) {
                assert!(self.clock.now().mono < until, "{what}");
                self.step();
            }
        }

        fn step(&mut self) {
            let mut ready = vec![PollFd::new(self.d_channel.ready(), PollFlags::POLLIN)];
            ready.extend(self.bearer.iter().map(|bearer| PollFd::new(bearer.ready(), PollFlags::POLLIN)));
            ppoll(&mut ready, Some(Duration::from_millis(100).into()), None).unwrap();
            let mut frame = [0; hdlc::LONGEST];
            while let Some(length) = self.d_channel.receive(&mut frame).unwrap() {
                self.act(|line, now, out| line.receive(now, 0, &frame[..length], out));
            }
            self.act(|line, now, out| line.tick(now, out));
        }

        /// What is heard until there is so much of it, while this is said.
        fn hear(&mut self, count: usize, say: &[u8]) -> Vec<u8> {
            let mut heard = Vec::new();
            // The bearer is filled: who is late for less than 64 ms is not heard.
            let mut said = self.bearer.as_mut().unwrap().write(say).unwrap();
            while heard.len() < count {
                self.step();
                let Some(bearer) = &mut self.bearer else { continue };
                let mut octets = [0; PIECE];
                let new = bearer.read(&mut octets).unwrap();
                heard.extend_from_slice(&octets[..new]);
                said += bearer.write(&say[said..say.len().min(said + new)]).unwrap();
            }
            heard
        }

        fn is_up(&self) -> bool {
            self.words.iter().any(|word| matches!(word, Word::Answer(_)))
        }
    }

    fn contains(heard: &[u8], wanted: &[u8]) -> bool {
        heard.windows(wanted.len()).any(|window| window == wanted)
    }

    #[test]
    fn an_echo_is_exact_octet_for_octet() {
        let mut near = Near::new("T1");
        near.dial("3125553000");
        near.until("it is answered", Near::is_up);
        let said: [u8; 4000] = Random::test(1).octets();
        let heard = near.hear(8000, &said);
        let exact = said.chunks(1000).filter(|piece| contains(&heard, piece)).count();
        assert!(exact >= 2, "{exact}");
    }

    #[test]
    fn tones_are_in_the_timeslot_by_the_line_s_law() {
        for (kind, law, country) in [("T1", Law::Mu, "us"), ("E1", Law::A, "de")] {
            let mut near = Near::new(kind);
            near.dial("3125551000");
            let listen = |near: &Near| near.words.iter().any(|word| matches!(word, Word::Progress { .. }));
            near.until("a tone is announced", listen);
            let busy = COUNTRIES.iter().find(|tones| tones.country == country).unwrap().busy;
            let (mut sound, mut expected) = ([0; 4000], [0; 4000]);
            Generator::new(busy, RATE).read(&mut sound);
            g711::encode(law, &sound, &mut expected);
            let heard = near.hear(10_000, &[]);
            assert!(contains(&heard, &expected[800..3200]), "{kind}");
        }
    }

    #[test]
    fn speech_is_heard_and_the_thread_ends_with_its_line() {
        let mut near = Near::new("E1");
        near.dial("3125552000");
        near.until("it is answered", Near::is_up);
        let heard = near.hear(8000, &[]);
        let silence = near.end.law().silence();
        assert!(heard.iter().filter(|octet| **octet != silence).count() > 4000);
        let Near { end, d_channel, bearer, exchange, _pacer, .. } = near;
        drop((end, d_channel, bearer));
        exchange.join().unwrap();
    }

    /// Says what it has, once.
    struct Parrot(mpsc::Sender<usize>, usize);

    impl Handset for Parrot {
        fn converse(&mut self, heard: &[u8], said: &mut [u8]) {
            said.fill(7);
            self.1 += heard.iter().filter(|octet| **octet == 9).count();
        }
    }

    impl Drop for Parrot {
        fn drop(&mut self) {
            let _ = self.0.try_send(self.1);
        }
    }

    #[test]
    fn a_telephone_that_is_lent_out_hears_and_says_what_its_owner_does() {
        let mut near = Near::new("T1");
        let mut telephone = near.exchanges.telephone(SpanId(1), "5556789").unwrap();
        let (counted, mut count) = mpsc::channel(1);
        telephone.take(Box::new(Parrot(counted, 0)));
        near.dial("3125556789");
        near.until("it is answered", Near::is_up);
        let heard = near.hear(4000, &[9; 4000]);
        assert!(heard.iter().filter(|octet| **octet == 7).count() > 2000);
        near.act(|line, now, out| {
            let hang_up = call::Order::Release { cause: crate::cause::Cause::NORMAL, tones: false };
            line.order(now, CallId(1), hang_up, out);
        });
        near.until("the timeslot is idle", |near| near.line.free() == 23);
        let counted = count.blocking_recv().unwrap();
        assert!((2000..=4000).contains(&counted), "{counted}");
        let news = std::iter::from_fn(|| telephone.news.try_recv().ok());
        let names: Vec<String> = news.map(|news| format!("{news:?}")[..5].to_owned()).collect();
        assert_eq!(names, ["InSer", "Calle", "Conne", "Ended"]);
        let what = Placed {
            called: Number::new(NumberType::NATIONAL, "4255550100"),
            calling: Number::new(NumberType::NATIONAL, "3125556789"),
            name: Private(String::new()),
            says: Says::Silence,
            lasts: None,
        };
        telephone.dial(what);
        near.until("it calls", |near| near.words.iter().any(|word| matches!(word, Word::Setup(_))));
        telephone.hang_up();
        near.until("it hangs up", |near| matches!(near.words.last(), Some(Word::Released(_))));
    }
}
