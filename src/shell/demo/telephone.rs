//! Telephones: a user agent of our own parts at one end of the demonstration's calls, with a line for
//! each telephone there.
//!
//! One task owns transports, transactions and the leg of each line's call; the sound has a [`Handset`].
//! What they call and who they are stands in a configuration like any other: on the Microsoft side the
//! pool's, with the box as its next hop; on the other side a gateway's.
//!
//! ```text
//! story                telephone               box
//!   |------ Call ---------->|------ INVITE ----->|
//!   |<----- Ringing --------|<----- 180 ---------|
//!   |<----- Connected ------|<----- 200 ---------|
//!
//!   |<----- Called ---------|<----- INVITE ------|  rings for a second,
//!   |<----- Connected ------|------ 200 -------->|  then answers by itself
//!
//!   |------ Transfer ------>|------ REFER ------>|
//!   |                       |<----- NOTIFY ------|  and the box hangs up:
//!   |<----- Ended ----------|<----- BYE ---------|
//!
//!   |------ Speak --------->|
//!   |------ HangUp -------->|------ BYE -------->|
//!   |<----- Ended ----------|
//! ```

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc;

use super::handset::Handset;
use super::tape::{Conversation, Part, Tape};
use crate::cause::{Release, reason_phrase};
use crate::config::{Config, Trunk};
use crate::hop::{Flow, Hop, TrunkId};
use crate::leg::{self, Fork, Outcome, Parties, Passage, Stage, Terms, Word};
use crate::private::Private;
use crate::random::Random;
use crate::session::{Direction, Stream};
use crate::shell::clock::Clock;
use crate::shell::sip_reader::SipReader;
use crate::shell::transport::{self, Transports};
use crate::sip::invite::contact;
use crate::sip::leg::{Leg, Output as LegOutput, RequestId};
use crate::sip::response::response_to;
use crate::sip::transaction::{self, ClientId, ServerId, Transactions};
use crate::sip::uas::{self, Accepted};
use crate::time::{Instant, Now, soonest};
use crate::wire::sip::{Message, Method, Name};

/// How long it rings before it answers.
pub const RINGS: Duration = Duration::from_secs(1);
const QUEUE: usize = 256;

/// What the story tells a telephone.
#[derive(Debug)]
pub enum Order {
    /// Its part in the calls from now on.
    Play(Part),
    /// Dial this number and show that one.
    Call {
        /// Who is called.
        called: &'static str,
        /// Who calls.
        calling: &'static str,
    },
    /// Say what the part has.
    Speak,
    /// Connect the other end with this number at one's own place, and be let go.
    Transfer(&'static str),
    /// End the call.
    HangUp,
}

/// What a telephone tells.
#[derive(Debug)]
pub struct News {
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// What happened to a telephone.
#[derive(Debug)]
pub enum What {
    /// It rings here.
    Called,
    /// It rings at the other end.
    Ringing,
    /// The call is up.
    Connected,
    /// The call is over.
    Ended {
        /// Why.
        release: Release,
        /// How it sounded; `None` when it never was up.
        tape: Option<Tape>,
    },
    /// Something the story cannot go on with.
    Trouble(String),
}

/// The story's end of a telephone. Dropping it unplugs it.
pub struct Telephone {
    line: usize,
    orders: mpsc::Sender<(usize, Order)>,
    news: mpsc::Receiver<News>,
}

impl Telephone {
    /// Plugs telephones in: they take the calls of this trunk of their configuration, the first that
    /// is free, and make their calls there.
    pub async fn start<const N: usize>(
        config: Arc<Config>,
        trunk: TrunkId,
        clock: Clock,
        random: Random,
    ) -> Result<[Telephone; N], transport::StartError> {
        let (events, network) = mpsc::channel(QUEUE);
        let (orders, orders_in) = mpsc::channel(QUEUE);
        let mut lines = Vec::with_capacity(N);
        let telephones = std::array::from_fn(|line| {
            let (news_out, news) = mpsc::channel(QUEUE);
            lines.push(Line { part: None, call: None, news: news_out });
            Telephone { line, orders: orders.clone(), news }
        });
        let trunk = config.trunk(trunk).unwrap_or(config.lync()).clone();
        let address = config.media.address;
        let transports =
            Transports::start(config, SipReader::new(clock.clone()), events, transport::Options::default()).await?;
        let agent = Agent {
            clock,
            random,
            trunk,
            address,
            transports,
            transactions: Transactions::default(),
            lines,
            heard: Vec::new(),
            said: Vec::new(),
        };
        tokio::spawn(agent.run(orders_in, network));
        Ok(telephones)
    }

    /// Another kind of telephone: who obeys the orders and tells the news.
    pub(super) fn other() -> (Telephone, mpsc::Receiver<(usize, Order)>, mpsc::Sender<News>) {
        let (orders, orders_in) = mpsc::channel(QUEUE);
        let (news_out, news) = mpsc::channel(QUEUE);
        (Telephone { line: 0, orders, news }, orders_in, news_out)
    }

    /// Tells it something.
    pub async fn order(&self, order: Order) {
        // A telephone that is gone has no news either, and that is noticed.
        let _ = self.orders.send((self.line, order)).await;
    }

    /// What happens next; `None` when the telephone is gone.
    pub fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Option<News>> {
        self.news.poll_recv(cx)
    }
}

/// The task.
struct Agent {
    clock: Clock,
    random: Random,
    trunk: Arc<Trunk>,
    address: IpAddr,
    transports: Transports<SipReader>,
    transactions: Transactions<Asker>,
    lines: Vec<Line>,
    heard: Vec<transaction::Output<Asker>>,
    said: Vec<(usize, LegOutput)>,
}

/// Which line's request.
type Asker = (usize, RequestId);

/// One telephone of the place.
struct Line {
    part: Option<Part>,
    /// The call. What an ended one might still repeat is dropped when the next begins: streams lose
    /// nothing.
    call: Option<Call>,
    news: mpsc::Sender<News>,
}

impl Line {
    fn is_free(&self) -> bool {
        self.call.as_ref().is_none_or(|call| matches!(call.sound, Sound::Over))
    }
}

struct Call {
    leg: Leg,
    terms: Terms,
    invite: Option<ClientId>,
    answer_at: Option<Instant>,
    sound: Sound,
}

enum Sound {
    Idle(Handset),
    Live(Conversation),
    Over,
}

impl Agent {
    async fn run(
        mut self,
        mut orders: mpsc::Receiver<(usize, Order)>,
        mut network: mpsc::Receiver<transport::Event<SipReader>>,
    ) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some((line, order)) => self.obey(line, order).await,
                    None => return,
                },
                Some(event) = network.recv() => self.receive(event),
                () = self.clock.until(self.timeout()) => self.tick(),
            }
            self.settle().await;
        }
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn timeout(&self) -> Option<Instant> {
        let calls = self.lines.iter().filter_map(|line| line.call.as_ref());
        let dues = calls.map(|call| soonest(call.leg.timeout(), call.answer_at));
        dues.fold(self.transactions.timeout(), soonest)
    }

    fn tick(&mut self) {
        let now = self.now();
        self.transactions.tick(now, &mut self.heard);
        for line in 0..self.lines.len() {
            let Some(call) = self.call(line) else { continue };
            let answer = call.answer_at.take_if(|at| *at <= now.mono);
            let answer =
                answer.map(|_| leg::Order::Answer { terms: call.terms.clone(), fork: Fork(0), told: Box::default() });
            if call.leg.timeout().is_some_and(|at| at <= now.mono) {
                self.with_leg(line, |leg, now, random, out| leg.tick(now, random, out));
            }
            if let Some(answer) = answer {
                self.tell_leg(line, answer);
            }
        }
    }

    fn call(&mut self, line: usize) -> Option<&mut Call> {
        self.lines.get_mut(line)?.call.as_mut()
    }

    // What the story wants.

    async fn obey(&mut self, line: usize, order: Order) {
        match order {
            Order::Play(part) => {
                if let Some(line) = self.lines.get_mut(line) {
                    line.part = Some(part);
                }
            }
            Order::Call { called, calling } => self.dial(line, called, calling),
            Order::Speak => {
                if let Some(Call { sound: Sound::Live(conversation), .. }) = self.call(line) {
                    conversation.speak();
                }
            }
            Order::Transfer(number) => self.transfer(line, number),
            Order::HangUp => {
                let release = Release::normal("this end hung up");
                self.tell_leg(line, leg::Order::Release(release.clone()));
                self.ended(line, release).await;
            }
        }
    }

    fn dial(&mut self, line: usize, called: &str, calling: &str) {
        let Some(hop) = self.trunk.hops.first().cloned().map(Hop::Target) else { return };
        let (handset, terms) = match self.handset() {
            Ok(open) => open,
            Err(fault) => return self.trouble(line, format!("no ports for sound: {fault}")),
        };
        let parties =
            Parties { called: Private(called.to_owned()), calling: Private(calling.to_owned()), ..Parties::default() };
        let (now, trunk, mut out) = (self.now(), self.trunk.clone(), Vec::new());
        let leg = Leg::outgoing(now, &mut self.random, trunk, hop, &parties, &terms, &mut out);
        self.begin(line, Call { leg, terms, invite: None, answer_at: None, sound: Sound::Idle(handset) }, out);
    }

    fn begin(&mut self, line: usize, call: Call, said: Vec<LegOutput>) {
        if let Some(line) = self.lines.get_mut(line) {
            line.call = Some(call);
        }
        self.said.extend(said.into_iter().map(|output| (line, output)));
    }

    fn transfer(&mut self, line: usize, number: &str) {
        let referrer = format!("<sip:{}>", self.trunk.own_host);
        let passage = Passage {
            number: Private(number.to_owned()),
            token: self.random.token(),
            referred_by: Some(Private(referrer.into_bytes())),
        };
        self.tell_leg(line, leg::Order::Refer(Box::new(passage)));
    }

    fn handset(&self) -> io::Result<(Handset, Terms)> {
        let handset = Handset::open(self.address)?;
        let terms = Terms {
            local: handset.address()?,
            codecs: self.trunk.codecs.clone(),
            direction: Direction::SendRecv,
            telephone_event: true,
            comfort_noise: false,
        };
        Ok((handset, terms))
    }

    // What comes from the network.

    fn receive(&mut self, event: transport::Event<SipReader>) {
        match event {
            transport::Event::Received { flow, message } => {
                let now = self.now();
                self.transactions.receive(now, flow, message, &mut self.random, &mut self.heard);
            }
            transport::Event::Unsent { why, .. } => self.trouble(0, why.to_string()),
            transport::Event::Refused(refused) => self.trouble(0, refused.to_string()),
            _ => {}
        }
    }

    /// Carries out what transactions and leg say, and what follows from it, until all is done.
    async fn settle(&mut self) {
        while !self.heard.is_empty() || !self.said.is_empty() {
            for output in std::mem::take(&mut self.heard) {
                self.heed(output);
            }
            for (line, output) in std::mem::take(&mut self.said) {
                self.carry_out(line, output).await;
            }
        }
    }

    fn heed(&mut self, output: transaction::Output<Asker>) {
        use transaction::Output;
        match output {
            Output::Send { hop, message, .. } => {
                if let Err(why) = self.transports.send(&hop, message.bytes().clone(), 0) {
                    self.trouble(0, why.to_string());
                }
            }
            Output::Request { id, flow, message } => self.requested(id, flow, message),
            Output::Ack { message, .. } => {
                let Some(line) = self.owner(&message) else { return };
                self.with_leg(line, |leg, now, random, out| leg.ack(now, random, &message, out));
            }
            Output::Cancelled { cancel, .. } => {
                let Some(line) = self.line(|leg| cancel.call_id() == Ok(leg.call_id())) else { return };
                self.with_leg(line, |leg, now, random, out| leg.cancelled(now, random, &cancel, out));
            }
            Output::Response { user: (line, id), flow, message } => {
                self.with_leg(line, |leg, now, random, out| leg.response(now, random, flow, id, &message, out));
            }
            Output::Failed { user: (line, id), why } => {
                self.with_leg(line, |leg, now, random, out| leg.failed(now, random, id, why, out));
            }
            Output::NotAcknowledged { .. } => {}
        }
    }

    fn line(&self, wanted: impl Fn(&Leg) -> bool) -> Option<usize> {
        self.lines.iter().position(|line| line.call.as_ref().is_some_and(|call| wanted(&call.leg)))
    }

    fn owner(&self, message: &Message) -> Option<usize> {
        self.line(|leg| leg.owns(message))
    }

    fn requested(&mut self, id: ServerId, flow: Flow, message: Message) {
        if let Some(line) = self.owner(&message) {
            return self.with_leg(line, |leg, now, random, out| leg.request(now, random, flow, id, message, out));
        }
        match message.method() {
            Some(Method::Invite) if message.tag(Name::To).is_none() => self.called(id, flow, message),
            Some(Method::Options) => {
                let (tag, contact) = (self.random.token(), contact(&self.trunk, flow.transport));
                let answer = uas::capabilities(&message, flow, &tag, &Accepted::default(), contact);
                self.answer(id, answer.empty_body());
            }
            _ => self.refuse(id, flow, &message, 481),
        }
    }

    fn refuse(&mut self, id: ServerId, flow: Flow, message: &Message, status: u16) {
        let tag = self.random.token();
        self.answer(id, response_to(message, flow, status, reason_phrase(status), Some(&tag)).empty_body());
    }

    fn answer(&mut self, id: ServerId, response: Message) {
        let now = self.now();
        self.transactions.respond(now, id, response, &mut self.heard);
    }

    /// It rings.
    fn called(&mut self, id: ServerId, flow: Flow, invite: Message) {
        let Some(line) = self.lines.iter().position(Line::is_free) else {
            return self.refuse(id, flow, &invite, 486);
        };
        let (now, trunk) = (self.now(), self.trunk.clone());
        let leg = match Leg::incoming(now, &mut self.random, trunk, flow, id, invite) {
            Ok((leg, _)) => leg,
            Err(rejection) => {
                self.trouble(line, format!("the call was not taken: {}", rejection.release.why));
                return self.answer(id, rejection.response);
            }
        };
        let (handset, terms) = match self.handset() {
            Ok(open) => open,
            Err(fault) => return self.trouble(line, format!("no ports for sound: {fault}")),
        };
        let answer_at = Some(now.mono + RINGS);
        let call = Call { leg, terms, invite: None, answer_at, sound: Sound::Idle(handset) };
        self.begin(line, call, Vec::new());
        self.tell_leg(
            line,
            leg::Order::Progress { stage: Stage::Ringing, fork: Fork(0), terms: None, told: Box::default() },
        );
        self.tell(line, What::Called);
    }

    // What the leg does.

    fn with_leg(&mut self, line: usize, act: impl FnOnce(&mut Leg, Now, &mut Random, &mut Vec<LegOutput>)) {
        let (now, mut out) = (self.now(), Vec::new());
        if let Some(call) = self.lines.get_mut(line).and_then(|line| line.call.as_mut()) {
            act(&mut call.leg, now, &mut self.random, &mut out);
        }
        self.said.extend(out.into_iter().map(|output| (line, output)));
    }

    fn tell_leg(&mut self, line: usize, order: leg::Order) {
        self.with_leg(line, |leg, now, random, out| leg.order(now, random, order, out));
    }

    async fn carry_out(&mut self, line: usize, output: LegOutput) {
        let now = self.now();
        match output {
            LegOutput::Request { id, hop, message } => {
                let sent_by = self.trunk.sent_by();
                let (random, heard) = (&mut self.random, &mut self.heard);
                let client = self.transactions.request(now, (line, id), hop, &sent_by, &message, random, heard);
                if let Some(call) = self.call(line).filter(|_| message.is(Method::Invite)) {
                    call.invite = Some(client);
                }
            }
            LegOutput::Cancel { reason, .. } => {
                if let Some(client) = self.call(line).and_then(|call| call.invite) {
                    self.transactions.cancel(now, client, &[(Name::Reason, &reason)], &mut self.heard);
                }
            }
            LegOutput::Ack { hop, message } => {
                let sent_by = self.trunk.sent_by();
                Transactions::<Asker>::acknowledge(hop, &sent_by, &message, &mut self.random, &mut self.heard);
            }
            LegOutput::Respond { transaction, message } => self.answer(transaction, message),
            LegOutput::Word(word) => self.word(line, word).await,
            LegOutput::Note(_) => {}
        }
    }

    async fn word(&mut self, line: usize, word: Word) {
        match word {
            Word::Progress { stage: Stage::Ringing, .. } => self.tell(line, What::Ringing),
            Word::Answer { media, .. } | Word::Media(media) => self.connect(line, &media),
            Word::Change(_) => {
                let Some(terms) = self.call(line).map(|call| call.terms.clone()) else { return };
                self.tell_leg(line, leg::Order::Grant(terms));
            }
            Word::Referred(Outcome::Refused(release)) => self.trouble(line, format!("no transfer: {}", release.why)),
            Word::Referred(Outcome::Failed(release)) => {
                self.trouble(line, format!("the transfer failed: {}", release.why));
            }
            Word::Released(release) => self.ended(line, release).await,
            _ => {}
        }
    }

    /// Sound begins; what changes later is not followed: to a transferred end the box stays where it was.
    fn connect(&mut self, line: usize, stream: &Stream) {
        let Some(Line { part: Some(part), call: Some(call), .. }) = self.lines.get_mut(line) else { return };
        call.sound = match std::mem::replace(&mut call.sound, Sound::Over) {
            Sound::Idle(handset) => match handset.connect(stream, part.clone(), self.clock.clone(), &mut self.random) {
                Ok(conversation) => Sound::Live(conversation),
                Err(fault) => return self.trouble(line, format!("no sound: {fault}")),
            },
            sound => {
                call.sound = sound;
                return;
            }
        };
        self.tell(line, What::Connected);
    }

    async fn ended(&mut self, line: usize, release: Release) {
        let sound = self.call(line).map(|call| std::mem::replace(&mut call.sound, Sound::Over));
        let tape = match sound {
            Some(Sound::Live(conversation)) => conversation.end().await,
            Some(Sound::Over) => return,
            Some(Sound::Idle(_)) | None => None,
        };
        self.tell(line, What::Ended { release, tape });
    }

    fn trouble(&self, line: usize, why: String) {
        self.tell(line, What::Trouble(why));
    }

    fn tell(&self, line: usize, what: What) {
        let Some(line) = self.lines.get(line) else { return };
        // A story that does not listen has failed already.
        let _ = line.news.try_send(News { at: self.now().mono, what });
    }
}

#[cfg(test)]
impl Telephone {
    /// One that does what a test says.
    pub(super) fn puppet() -> (Telephone, mpsc::Sender<What>) {
        let (telephone, _, news_out) = Telephone::other();
        let (strings, mut pulled) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Some(what) = pulled.recv().await {
                let _ = news_out.send(News { at: Instant::START, what }).await;
            }
        });
        (telephone, strings)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::stage::{Network, Stage};
    use super::*;
    use crate::shell::speech::{PACE, Passage, Speech, Voice};

    const FRAMES: usize = 50;

    async fn until(telephone: &mut Telephone, wanted: impl Fn(&What) -> bool) -> News {
        let wait = async {
            loop {
                let news = poll_fn(|cx| telephone.poll_news(cx)).await.unwrap();
                assert!(!matches!(news.what, What::Trouble(_)), "{news:?}");
                if wanted(&news.what) {
                    return news;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(5), wait).await.unwrap()
    }

    fn tape(news: News) -> Tape {
        match news.what {
            What::Ended { tape: Some(tape), .. } => tape,
            what => panic!("{what:?}"),
        }
    }

    /// Without a box between them: two ends of the Microsoft side, over mutual TLS with SRTP.
    #[tokio::test]
    async fn two_telephones_talk_to_each_other() {
        let (clock, mut random) = (Clock::start(), Random::test(9));
        let stage = Stage::build(Network::Sip, &mut random, false).unwrap();
        let own = std::fs::read(stage.file()).unwrap();
        let own = Arc::new(crate::config::parse(&own, &stage.file().to_string_lossy()).unwrap().0);
        let start = |config, seed| Telephone::start(config, TrunkId::LYNC, clock.clone(), Random::test(seed));
        let [mut alice] = start(stage.pool().unwrap(), 1).await.unwrap();
        let [mut bob] = start(own, 2).await.unwrap();
        let speech = Arc::new(Speech::new(Voice::Low, FRAMES, &mut random));
        alice.order(Order::Play(Part { says: Some(speech.clone()), hears: speech.clone() })).await;
        bob.order(Order::Play(Part { says: None, hears: speech })).await;

        alice.order(Order::Call { called: "+13125556789", calling: "+14255550100" }).await;
        until(&mut bob, |what| matches!(what, What::Called)).await;
        let rang = until(&mut alice, |what| matches!(what, What::Ringing)).await;
        let answered = until(&mut alice, |what| matches!(what, What::Connected)).await;
        until(&mut bob, |what| matches!(what, What::Connected)).await;
        assert!(answered.at.since(rang.at) >= RINGS * 9 / 10);

        alice.order(Order::Speak).await;
        tokio::time::sleep(PACE * (FRAMES as u32 + 20)).await;
        bob.order(Order::HangUp).await;
        let alice = tape(until(&mut alice, |what| matches!(what, What::Ended { .. })).await);
        let bob = tape(until(&mut bob, |what| matches!(what, What::Ended { .. })).await);

        let (there, back) = (Passage::measure(&alice.said, &bob.heard), Passage::measure(&bob.said, &alice.heard));
        assert_eq!((there.said, there.heard, back.said, back.heard), (FRAMES, FRAMES, FRAMES, FRAMES));
        assert!(there.delay < PACE && back.delay < PACE, "{there:?} {back:?}");
        assert!(alice.encrypted && bob.encrypted);
        assert_eq!((alice.lost, bob.lost, alice.rejected, bob.rejected), (0, 0, 0, 0));
    }
}
