//! Ladders of live and recent calls, kept in memory within bounds: what `demarc trace` prints.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use crate::call::{CallEnd, Way};
use crate::cause::reason_phrase;
use crate::identity::ReferredBy;
use crate::private::Private;
use crate::wire::q931::{self, People};
use crate::wire::sdp;
use crate::wire::sip::{Address, Message, Method, Name, Start, Uri, fragment, fragment_status};

/// Ladders never take more memory than this, however many calls are to be kept.
const MOST_BYTES: usize = 48 << 20;
/// A call that talks more than this is cut: somebody is repeating himself.
const MOST_RUNGS: usize = 400;
/// Width of the column between two posts.
const COLUMN: usize = 38;

/// One line of a ladder.
struct Rung {
    at: jiff::Timestamp,
    what: What,
}

enum What {
    Message { trunk: Box<str>, transport: &'static str, way: Way, message: Kept },
    Signal { span: Box<str>, way: Way, octets: Private<Box<[u8]>> },
    Note(Cow<'static, str>),
}

/// A Q.931 message that is kept: it was read before, so it can be read again.
fn signal(octets: &Private<Box<[u8]>>) -> Option<q931::Message<'_>> {
    q931::Message::read(octets.get()).ok()
}

/// A message that is kept for long: its octets alone, without the places of its lines and the buffer it was read from.
struct Kept(Box<[u8]>);

impl Kept {
    /// It was read before: it can be read again.
    fn read(&self) -> Option<Message> {
        Message::parse(Bytes::copy_from_slice(&self.0)).ok()
    }
}

/// One call's ladder.
#[derive(Default)]
struct Ladder {
    rungs: Vec<Rung>,
    cut: usize,
    bytes: usize,
    end: Option<String>,
}

impl Ladder {
    /// Who stands beside the box. Spans have the far end of the row: what they say takes more room.
    fn posts(&self) -> Vec<&str> {
        let of = |what: fn(&What) -> Option<&str>| self.rungs.iter().filter_map(move |rung| what(&rung.what));
        let trunks = of(|what| if let What::Message { trunk, .. } = what { Some(trunk) } else { None });
        let spans = of(|what| if let What::Signal { span, .. } = what { Some(span) } else { None });
        let mut posts = Vec::new();
        for post in trunks.chain(spans) {
            if !posts.contains(&post) {
                posts.push(post);
            }
        }
        posts
    }
}

/// The ladders of the last calls, oldest dropped first.
pub struct Ladders {
    keep: usize,
    order: VecDeque<Arc<str>>,
    calls: HashMap<Arc<str>, Ladder>,
    bytes: usize,
}

impl Ladders {
    /// Room for this many calls.
    pub fn new(keep: usize) -> Ladders {
        Ladders { keep, order: VecDeque::new(), calls: HashMap::new(), bytes: 0 }
    }

    /// Room for this many from now on.
    pub fn keep(&mut self, keep: usize) {
        self.keep = keep;
        self.make_room();
    }

    /// A message of a call passed.
    pub fn message(
        &mut self,
        call: &Arc<str>,
        at: jiff::Timestamp,
        trunk: String,
        transport: &'static str,
        way: Way,
        message: &Message,
    ) {
        let bytes = message.bytes().len() + 128;
        let (trunk, message) = (trunk.into(), Kept(message.bytes()[..].into()));
        self.add(call, Rung { at, what: What::Message { trunk, transport, way, message } }, bytes);
    }

    /// A Q.931 message of a call passed.
    pub fn signal(
        &mut self,
        call: &Arc<str>,
        at: jiff::Timestamp,
        span: String,
        way: Way,
        Private(octets): Private<Vec<u8>>,
    ) {
        let bytes = octets.len() + 128;
        let (span, octets) = (span.into(), Private(octets.into()));
        self.add(call, Rung { at, what: What::Signal { span, way, octets } }, bytes);
    }

    /// A decision and its reason.
    pub fn note(&mut self, call: &Arc<str>, at: jiff::Timestamp, text: Cow<'static, str>) {
        let bytes = text.len() + 64;
        self.add(call, Rung { at, what: What::Note(text) }, bytes);
    }

    /// The call is over.
    pub fn end(&mut self, end: &CallEnd) {
        if let Some(ladder) = self.calls.get_mut(&end.call) {
            let (cause, why) = (end.release.cause, &end.release.why);
            ladder.end = Some(format!("ended by {}: Q.850 cause {cause}; {why}", end.ended_by));
        }
    }

    /// The ids of all kept calls, newest first.
    pub fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.order.iter().rev()
    }

    /// The ladder as text. `redact` hides users and addresses as well as keys; the beginning of an
    /// id will do. `None` when no such call is kept.
    pub fn render(&self, id: &str, redact: bool) -> Option<String> {
        let (id, ladder) = self.find(id)?;
        let posts = ladder.posts();
        let mut text = format!("call {id}\n");
        let names = posts.iter().map(|post| format!("{post:<COLUMN$}")).collect::<String>();
        let _ = writeln!(text, "{:>12}  demarc{:width$}{names}", "", "", width = 6);
        for rung in &ladder.rungs {
            render_rung(&mut text, rung, &posts, redact);
        }
        if ladder.cut > 0 {
            let _ = writeln!(text, "{:>12}  ({} further lines were not kept)", "", ladder.cut);
        }
        if let Some(end) = &ladder.end {
            let _ = writeln!(text, "{end}");
        }
        text.push('\n');
        for rung in &ladder.rungs {
            render_message(&mut text, rung, redact);
        }
        Some(text)
    }

    /// The ladder as JSON: rungs in order.
    pub fn json(&self, id: &str, redact: bool) -> Option<serde_json::Value> {
        let (id, ladder) = self.find(id)?;
        let rungs: Vec<serde_json::Value> = ladder.rungs.iter().map(|rung| rung_json(rung, redact)).collect();
        Some(serde_json::json!({ "id": &**id, "rungs": rungs, "not_kept": ladder.cut, "end": ladder.end }))
    }

    fn find(&self, id: &str) -> Option<(&Arc<str>, &Ladder)> {
        let exact = self.calls.get_key_value(id);
        exact.or_else(|| {
            let mut begins = self.calls.iter().filter(|(known, _)| !id.is_empty() && known.starts_with(id));
            let first = begins.next()?;
            begins.next().is_none().then_some(first)
        })
    }

    fn add(&mut self, call: &Arc<str>, rung: Rung, bytes: usize) {
        let ladder = match self.calls.get_mut(call) {
            Some(ladder) => ladder,
            None => {
                self.order.push_back(call.clone());
                self.calls.entry(call.clone()).or_default()
            }
        };
        if ladder.rungs.len() >= MOST_RUNGS {
            ladder.cut += 1;
            return;
        }
        ladder.rungs.push(rung);
        ladder.bytes += bytes;
        self.bytes += bytes;
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.order.len() > self.keep.max(1) || (self.bytes > MOST_BYTES && self.order.len() > 1) {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= self.calls.remove(&oldest).map_or(0, |ladder| ladder.bytes);
        }
    }
}

fn clock_time(at: jiff::Timestamp) -> String {
    at.strftime("%H:%M:%S%.3f").to_string()
}

/// One rung: an arrow from the box to the peer's post or back.
fn render_rung(text: &mut String, rung: &Rung, posts: &[&str], redact: bool) {
    let time = clock_time(rung.at);
    let (post, way, label) = match &rung.what {
        What::Note(note) => {
            let _ = writeln!(text, "{time}  | {note}");
            return;
        }
        What::Message { trunk, transport, way, message } => {
            let label = message.read().as_ref().map(summary).unwrap_or_default();
            (trunk, way, format!("{label} ({transport})"))
        }
        What::Signal { span, way, octets } => (span, way, line(octets, redact)),
    };
    let place = posts.iter().position(|name| **name == **post).unwrap_or(0);
    let width = (place + 1) * COLUMN - 4;
    let body = format!("{label:-^width$.width$}");
    let _ = match way {
        Way::Sent => writeln!(text, "{time}  |{body}>  {post}"),
        Way::Received => writeln!(text, "{time}  |<{body}  {post}"),
    };
}

fn render_message(text: &mut String, rung: &Rung, redact: bool) {
    let (post, way, whole) = match &rung.what {
        What::Message { trunk, way, message, .. } => {
            (trunk, way, message.read().map(|message| shown(&message, redact)))
        }
        What::Signal { span, way, octets } => (span, way, whole(octets, redact)),
        What::Note(_) => return,
    };
    if let Some(whole) = whole {
        let (time, way) = (clock_time(rung.at), if *way == Way::Sent { "to" } else { "from" });
        let _ = writeln!(text, "--- {time} {way} {post}\n{whole}");
    }
}

fn rung_json(rung: &Rung, redact: bool) -> serde_json::Value {
    let at = rung.at.to_string();
    match &rung.what {
        What::Note(note) => serde_json::json!({ "at": at, "note": note }),
        What::Message { trunk, transport, way, message } => {
            let message = message.read();
            serde_json::json!({
                "at": at, "protocol": "sip", "trunk": trunk, "transport": transport, "way": way,
                "summary": message.as_ref().map(summary), "message": message.as_ref().map(|message| shown(message, redact)),
            })
        }
        What::Signal { span, way, octets } => serde_json::json!({
            "at": at, "protocol": "q931", "span": span, "way": way,
            "summary": line(octets, redact), "message": whole(octets, redact),
        }),
    }
}

/// `SETUP to …789 from …100, timeslot 23 exclusive, speech µ-law`.
fn line(octets: &Private<Box<[u8]>>, redact: bool) -> String {
    signal(octets).map(|message| message.line(People::unless(redact))).unwrap_or_default()
}

fn whole(octets: &Private<Box<[u8]>>, redact: bool) -> Option<String> {
    signal(octets).map(|message| message.text(People::unless(redact)))
}

/// `INVITE + SDP`, `183 Session Progress + SDP (INVITE)`, `NOTIFY + 180 Ringing`.
fn summary(message: &Message) -> String {
    let body = match (message.body(), fragment_status(message.body())) {
        ([], _) => String::new(),
        (_, Some(status)) => format!(" + {status} {}", reason_phrase(status)),
        _ => " + SDP".to_owned(),
    };
    match message.start() {
        Start::Request { text, .. } => format!("{}{body}", text.escape_ascii()),
        Start::Response { status, reason } => {
            let method = message.cseq_method().unwrap_or_default().escape_ascii();
            format!("{status} {}{body} ({method})", reason.escape_ascii())
        }
    }
}

/// The message as text: keys are never shown.
fn shown(message: &Message, redact: bool) -> String {
    let text = sdp::redacted(&String::from_utf8_lossy(message.bytes()));
    if redact { without_people(message, &text) } else { text }
}

/// Hides what names a person: user parts and display names.
fn without_people(message: &Message, text: &str) -> String {
    let people = [Name::From, Name::To, Name::Contact, Name::PAssertedIdentity, Name::ReferTo, Name::ReferredBy];
    let several = [Name::HistoryInfo, Name::Diversion, Name::PAssertedIdentity];
    let several = several.iter().flat_map(|name| message.elements(*name)).filter_map(Address::parse);
    let addresses = people.iter().filter_map(|name| message.address(*name).ok()).chain(several);
    let users = message.all(Name::UserToUser).map(|value| String::from_utf8_lossy(value).into_owned());
    let referee = message.value(Name::ReferredBy).and_then(|value| ReferredBy::parse(value).ok()?.identity?.referee());
    let told = fragment(message.body()).filter(|_| message.is(Method::Notify));
    let said = message.diagnostics().chain(told.iter().flat_map(Message::diagnostics));
    let accused = said.filter_map(|line| Uri::parse(line.params.text("Referrer")?.as_bytes()));
    let bare = accused.chain(referee).chain(message.uri()).filter_map(|uri| uri.user().map(str::to_owned));
    let mut words: Vec<String> = addresses
        .flat_map(|address| [address.uri.user().map(str::to_owned), Some(address.display_text())])
        .flatten()
        .chain(bare)
        .chain(users)
        .filter(|word| word.len() > 1)
        .collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words.iter().fold(text.to_owned(), |text, word| text.replace(word.as_str(), "(hidden)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::Cause;
    use crate::session::Codec;
    use crate::wire::q931::{Bearer, Builder, Called, Channel, Display, Kind, Location, Number, NumberType, Reference};

    fn invite() -> Message {
        Message::request(Method::Invite, "sip:+13125556789@gw")
            .header(Name::From, "\"Alice\" <sip:+14255550100@ms1>;tag=1")
            .header(Name::To, "<sip:+13125556789@gw>")
            .header(Name::CSeq, "1 INVITE")
            .body(
                "application/sdp",
                b"v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^31\r\n",
            )
    }

    fn at() -> jiff::Timestamp {
        crate::time::Now::virtual_start().wall
    }

    #[test]
    fn a_notify_says_how_far_the_transfer_is() {
        let notify = Message::request(Method::Notify, "sip:alice@ms1");
        let notify = notify.body("message/sipfrag", b"SIP/2.0 180 Far away");
        assert_eq!(summary(&notify), "NOTIFY + 180 Ringing");
        assert_eq!(summary(&invite()), "INVITE + SDP");
    }

    #[test]
    fn a_ladder_shows_both_posts_and_no_key() {
        let mut ladders = Ladders::new(10);
        let call: Arc<str> = "9f3a".into();
        ladders.message(&call, at(), "lync".into(), "TLS", Way::Received, &invite());
        ladders.note(&call, at(), "trying Gateway1".into());
        ladders.message(&call, at(), "Gateway1".into(), "UDP", Way::Sent, &invite());
        let text = ladders.render("9f", false).unwrap();
        assert!(text.contains("INVITE + SDP (TLS)") && text.contains("trying Gateway1"), "{text}");
        assert!(text.contains("+13125556789") && !text.contains("d0RmdmcmVCsp"), "{text}");
        let hidden = ladders.render("9f3a", true).unwrap();
        assert!(
            !hidden.contains("3125556789") && !hidden.contains("Alice") && !hidden.contains("4255550100"),
            "{hidden}"
        );
    }

    /// A call to a line: SETUP, and the far end is busy.
    fn to_a_line() -> Ladders {
        let reference = Reference { value: 1, to_origin: false };
        let setup = Builder::new(reference, Kind::Setup)
            .with(&Bearer::speech(Codec::Pcmu))
            .with(&Channel::slot(None, 23, true))
            .with(&Called(Number::new(NumberType::NATIONAL, "3125556789")))
            .with(&Display { charset: None, text: Private("Alice".into()) });
        let busy = q931::Cause::new(Location::PUBLIC_FAR, Cause::BUSY);
        let busy = Builder::new(reference.reply(), Kind::Disconnect).with(&busy);
        let (mut ladders, call) = (Ladders::new(10), "9f3a".into());
        ladders.signal(&call, at(), "Span1".into(), Way::Sent, Private(setup.octets()));
        ladders.message(&call, at(), "lync".into(), "TLS", Way::Received, &invite());
        ladders.signal(&call, at(), "Span1".into(), Way::Received, Private(busy.octets()));
        ladders
    }

    #[test]
    fn q931_stands_beside_sip() {
        let text = to_a_line().render("9f3a", false).unwrap();
        let rows: Vec<&str> = text.lines().skip(1).map(|row| row.get(14..).unwrap_or_default().trim()).collect();
        assert_eq!(
            rows[..4],
            [
                "demarc      lync                                  Span1",
                "|-----------SETUP to …789, timeslot 23 exclusive, speech µ-law----------->  Span1",
                "|<--------INVITE + SDP (TLS)--------  lync",
                "|<-----DISCONNECT cause 17 (User busy) from the remote user's network-----  Span1",
            ],
            "{text}"
        );
        assert!(
            text.contains("to Span1\nSETUP, call reference 1 of the sender\n  bearer capability: speech"),
            "{text}"
        );
        assert!(text.contains("  called party number: …789, national, ISDN plan\n"), "{text}");
    }

    #[test]
    fn q931_names_nobody_when_redacted() {
        let ladders = to_a_line();
        let text = ladders.render("9f3a", true).unwrap() + &ladders.json("9f3a", true).unwrap().to_string();
        assert!(text.contains("SETUP to (hidden)") && !text.contains("789") && !text.contains("Alice"), "{text}");
    }

    #[test]
    fn q931_in_json_has_its_summary_and_its_whole() {
        let json = to_a_line().json("9f3a", false).unwrap();
        let protocols = json["rungs"].as_array().unwrap().iter().map(|rung| rung["protocol"].as_str().unwrap());
        assert_eq!(protocols.collect::<Vec<_>>(), ["q931", "sip", "q931"]);
        let end = &json["rungs"][2];
        assert_eq!((&end["span"], &end["way"]), (&"Span1".into(), &"received".into()));
        assert_eq!(end["summary"], "DISCONNECT cause 17 (User busy) from the remote user's network");
        assert_eq!(
            end["message"],
            "DISCONNECT, call reference 1 of the receiver\n  cause: 17 (User busy) from the remote user's network\n"
        );
    }

    #[test]
    fn a_referrer_and_a_referee_are_hidden_as_well() {
        let refer = Message::request(Method::Refer, "sip:ms1.contoso.com")
            .header(
                Name::ReferredBy,
                "<sip:bob@contoso.com>;ms-referee-uri=\"sip:+13125550177@contoso.com\";ms-identity=\"MIIB\"",
            )
            .empty_body();
        let refusal = Message::response(429, "Provide Referrer Identity")
            .header(Name::MsDiagnostics, "1020;Referrer=\"sip:carol@contoso.com\";source=\"edge.contoso.com\"")
            .empty_body();
        let told = "SIP/2.0 429 x\r\nms-diagnostics: 1020;Referrer=\"sip:dave@contoso.com\"\r\n";
        let notify = Message::request(Method::Notify, "sip:x").body("message/sipfrag", told.as_bytes());
        let hidden = shown(&refer, true) + &shown(&refusal, true) + &shown(&notify, true);
        assert!(["bob@", "3125550177", "carol", "dave"].iter().all(|word| !hidden.contains(word)), "{hidden}");
        assert!(hidden.contains("edge.contoso.com") && hidden.contains("ms-identity"), "{hidden}");
    }

    #[test]
    fn the_oldest_call_goes_first() {
        let mut ladders = Ladders::new(2);
        for id in ["a", "b", "c"] {
            ladders.note(&id.into(), at(), "x".into());
        }
        assert!(ladders.render("a", false).is_none());
        assert!(ladders.render("c", false).is_some());
        assert_eq!(ladders.ids().map(|id| &**id).collect::<Vec<_>>(), ["c", "b"]);
        ladders.keep(1);
        assert_eq!(ladders.ids().map(|id| &**id).collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn one_endless_call_is_cut() {
        let mut ladders = Ladders::new(2);
        for _ in 0..MOST_RUNGS + 5 {
            ladders.note(&"a".into(), at(), "x".into());
        }
        assert!(ladders.render("a", false).unwrap().contains("(5 further lines were not kept)"));
    }
}
