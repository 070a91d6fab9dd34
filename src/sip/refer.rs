//! The subscription that a REFER brings with it, at the one who is asked to call somebody (RFC 3515, RFC 6665).
//!
//! ```text
//! peer                  us
//!  |---- REFER --------->|
//!  |<--- 202 ------------|
//!  |<--- NOTIFY 100 -----|  Subscription-State: active;expires=240
//!  |<--- NOTIFY 180 -----|  what the new call hears; the latest news, one NOTIFY at a time
//!  |<--- NOTIFY 200 -----|  Subscription-State: terminated;reason=noresource
//! ```
//! It ends early when the peer refuses a NOTIFY or leaves it unanswered, ends the subscription itself, or lets it
//! expire. A peer that wants no news (RFC 4488) has no subscription at all.

use std::time::Duration;

use crate::cause::reason_phrase;
use crate::time::Instant;
use crate::wire::sip::{Builder, Message, Name, Params, SIPFRAG, refer_event};

/// Longer than a call may ring.
const LASTS: Duration = Duration::from_secs(240);

/// One subscription.
#[derive(Debug)]
pub struct Subscription<Id> {
    /// The CSeq of the REFER, which tells it from others in the same dialog (RFC 3515 section 2.4.6).
    id: Option<u32>,
    expires: Instant,
    /// The latest status of the new call, and the fragment that tells it.
    status: u16,
    fragment: Vec<u8>,
    /// Has it been told?
    told: bool,
    underway: Option<Id>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Active,
    /// One more NOTIFY, then nothing.
    Ending(&'static str),
    Over,
}

/// Does the sender of this REFER want to hear how it goes (RFC 4488)?
pub fn wants_news(refer: &Message) -> bool {
    let refer_sub = refer.lines().find(|line| line.text.eq_ignore_ascii_case(b"Refer-Sub"));
    refer_sub.is_none_or(|line| !Params::behind(line.value).0.eq_ignore_ascii_case(b"false"))
}

impl<Id: Copy + PartialEq> Subscription<Id> {
    /// A subscription whose first NOTIFY, `100 Trying`, is due. `first` of its dialog, it needs no number.
    pub fn begin(now: Instant, refer: &Message, first: bool) -> Subscription<Id> {
        let id = refer.cseq().ok().map(|cseq| cseq.number).filter(|_| !first);
        let fragment = Builder::response(100, reason_phrase(100)).fragment();
        Subscription {
            id,
            expires: now + LASTS,
            status: 100,
            fragment,
            told: false,
            underway: None,
            state: State::Active,
        }
    }

    /// The new call is so far, as `fragment` tells; from 200 on it is decided.
    pub fn news(&mut self, status: u16, fragment: Vec<u8>) {
        if self.state == State::Active && (status != self.status) {
            (self.status, self.fragment, self.told) = (status, fragment, false);
            if status >= 200 {
                self.state = State::Ending("noresource");
            }
        }
    }

    /// The headers and body of the NOTIFY that is to go out now, if one is; `begin` begins it, and [`Subscription::sent`]
    /// follows.
    pub fn next(&mut self, now: Instant, begin: impl FnOnce() -> Builder) -> Option<Message> {
        if self.told || self.underway.is_some() || self.state == State::Over {
            return None;
        }
        self.told = true;
        let event = self.id.map_or_else(|| "refer".to_owned(), |id| format!("refer;id={id}"));
        let left = self.expires.since(now).as_secs();
        let state = match self.state {
            State::Ending(reason) => format!("terminated;reason={reason}"),
            State::Active | State::Over => format!("active;expires={left}"),
        };
        let builder = begin().header(Name::Event, event).header(Name::SubscriptionState, state);
        Some(builder.body(SIPFRAG, &self.fragment))
    }

    /// The NOTIFY went out under this name.
    pub fn sent(&mut self, id: Id) {
        self.underway = Some(id);
    }

    /// Is this the NOTIFY that waits for its answer?
    pub fn awaits(&self, id: Id) -> bool {
        self.underway == Some(id)
    }

    /// The NOTIFY was answered so; `None`: not at all. A refusal ends the subscription (RFC 6665 section 4.2.2).
    pub fn answered(&mut self, status: Option<u16>) {
        self.underway = None;
        let heard = status.is_some_and(|status| (200..300).contains(&status));
        if !heard || (self.told && self.state != State::Active) {
            self.state = State::Over;
        }
    }

    /// The peer's SUBSCRIBE: refreshes, or with no time left ends it; the seconds granted. `None`: it is of another
    /// subscription, or this one is over.
    pub fn subscribe(&mut self, now: Instant, subscribe: &Message) -> Option<u64> {
        let id = refer_event(subscribe.value(Name::Event).unwrap_or_default())?;
        if (id.is_some() && id != self.id) || self.state != State::Active {
            return None;
        }
        let wanted = subscribe.number(Name::Expires).map_or(LASTS, |seconds| Duration::from_secs(seconds.into()));
        self.expires = now + wanted.min(LASTS);
        self.told = false;
        if wanted.is_zero() {
            self.state = State::Ending("timeout");
        }
        Some(wanted.min(LASTS).as_secs())
    }

    /// Has it said its last word?
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// When [`Subscription::tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        (self.state == State::Active).then_some(self.expires)
    }

    /// Lets it expire.
    pub fn tick(&mut self, now: Instant) {
        if self.state == State::Active && self.expires <= now {
            (self.state, self.told) = (State::Ending("timeout"), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::time::Now;
    use crate::wire::sip::Method;

    fn request(headers: &str) -> Message {
        let text = format!("REFER sip:us SIP/2.0\nCSeq: 7 REFER\n{headers}\n").replace('\n', "\r\n");
        Message::parse(Bytes::from(text)).unwrap()
    }

    struct Bench {
        now: Instant,
        subscription: Subscription<u32>,
        sent: u32,
    }

    impl Bench {
        fn new(first: bool) -> Bench {
            let now = Now::virtual_start().mono;
            Bench { now, subscription: Subscription::begin(now, &request(""), first), sent: 0 }
        }

        /// `100 active;expires=240`, or nothing.
        fn next(&mut self) -> String {
            let begin = || Builder::request(Method::Notify, "sip:peer");
            let Some(notify) = self.subscription.next(self.now, begin) else { return String::new() };
            self.sent += 1;
            self.subscription.sent(self.sent);
            let line = std::str::from_utf8(notify.body()).unwrap().trim_end();
            let state = notify.text(Name::SubscriptionState).unwrap();
            format!("{} | {state} | {}", line.strip_prefix("SIP/2.0 ").unwrap(), notify.text(Name::Event).unwrap())
        }

        fn news(&mut self, status: u16) {
            self.subscription.news(status, format!("SIP/2.0 {status} {}\r\n", reason_phrase(status)).into_bytes());
        }

        fn answered(&mut self, status: u16) {
            assert!(self.subscription.awaits(self.sent));
            self.subscription.answered(Some(status));
        }
    }

    #[test]
    fn each_step_is_told_once_and_one_at_a_time() {
        let mut bench = Bench::new(true);
        assert_eq!(bench.next(), "100 Trying | active;expires=240 | refer");
        bench.now = bench.now + Duration::from_secs(10);
        bench.news(180);
        bench.news(183);
        assert_eq!(bench.next(), "");
        bench.answered(200);
        // Only the latest is told.
        assert_eq!(bench.next(), "183 Session Progress | active;expires=230 | refer");
        bench.answered(200);
        bench.news(183);
        assert_eq!(bench.next(), "");
        bench.news(200);
        assert_eq!(bench.next(), "200 OK | terminated;reason=noresource | refer");
        assert!(!bench.subscription.is_over());
        bench.answered(200);
        assert!(bench.subscription.is_over());
        bench.news(486);
        assert_eq!(bench.next(), "");
    }

    #[test]
    fn the_second_of_a_dialog_has_a_number() {
        assert_eq!(Bench::new(false).next(), "100 Trying | active;expires=240 | refer;id=7");
    }

    #[test]
    fn a_refused_or_unanswered_notify_ends_it() {
        for refusal in [Some(481), Some(489), Some(500), None] {
            let mut bench = Bench::new(true);
            bench.next();
            bench.news(180);
            bench.subscription.answered(refusal);
            assert!(bench.subscription.is_over(), "{refusal:?}");
            bench.news(200);
            assert_eq!((bench.next().as_str(), bench.subscription.timeout()), ("", None));
        }
    }

    #[test]
    fn the_peer_refreshes_it_and_ends_it() {
        let mut bench = Bench::new(true);
        bench.next();
        bench.answered(200);
        bench.now = bench.now + Duration::from_secs(100);
        assert_eq!(bench.subscription.subscribe(bench.now, &request("Event: refer\nExpires: 60\n")), Some(60));
        assert_eq!(bench.next(), "100 Trying | active;expires=60 | refer");
        bench.answered(200);
        assert_eq!(bench.subscription.subscribe(bench.now, &request("Event: presence\n")), None);
        assert_eq!(bench.subscription.subscribe(bench.now, &request("Event: refer;id=9\n")), None);
        assert_eq!(bench.subscription.subscribe(bench.now, &request("Event: refer\nExpires: 0\n")), Some(0));
        assert_eq!(bench.next(), "100 Trying | terminated;reason=timeout | refer");
        bench.news(200);
        bench.answered(200);
        assert!(bench.subscription.is_over());
        assert_eq!(bench.subscription.subscribe(bench.now, &request("Event: refer\n")), None);
    }

    #[test]
    fn it_expires() {
        let mut bench = Bench::new(true);
        bench.next();
        bench.answered(200);
        bench.now = bench.subscription.timeout().unwrap();
        bench.subscription.tick(bench.now);
        assert_eq!(bench.next(), "100 Trying | terminated;reason=timeout | refer");
        bench.answered(200);
        assert!(bench.subscription.is_over() && bench.subscription.timeout().is_none());
    }

    #[test]
    fn a_peer_may_want_no_news() {
        assert!(wants_news(&request("")));
        assert!(wants_news(&request("Refer-Sub: true\n")));
        assert!(!wants_news(&request("refer-sub: FALSE;x\n")));
    }
}
