//! One call of the demonstration, from the first digit to the last sound; or one that is transferred.

use std::array;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use super::result::{Outcome, Scene};
use super::tape::{Part, Tape};
use super::telephone::{News, Order, RINGS, Telephone, What};
use super::{FRAMES, Progress};
use crate::shell::speech::PACE;
use crate::time::Instant;

/// For everything that should happen at once.
const STEP: Duration = Duration::from_secs(4);
/// Between the answer and the first word.
const BREATH: Duration = Duration::from_millis(200);
/// For the last frames to arrive.
const REST: Duration = Duration::from_millis(500);

/// A call as planned. Of each pair the caller's comes first.
#[derive(Debug)]
pub struct Call {
    /// Who the ends are.
    pub names: [&'static str; 2],
    /// Which end's sound must be encrypted.
    pub secret: [bool; 2],
    /// What they say and hear.
    pub parts: [Part; 2],
    /// The caller's number and the one that is dialled.
    pub numbers: [&'static str; 2],
}

/// What kept a call from being made to its end.
#[derive(Debug, thiserror::Error)]
pub enum Disturbance {
    /// Something did not happen.
    #[error("{0} within {limit} s", limit = .1.as_secs())]
    Late(String, Duration),
    /// A telephone cannot go on.
    #[error("the {0} reports: {1}")]
    Trouble(&'static str, String),
    /// Somebody hung up too early.
    #[error("the call ended before its time, says the {0}: {1}")]
    Ended(&'static str, String),
    /// It was never answered there.
    #[error("the call ended and the {0} had not heard a sound")]
    Deaf(&'static str),
    /// A telephone's task is over.
    #[error("the telephone of the {0} is gone")]
    Gone(&'static str),
}

/// A transfer as planned: the transferor calls the transferee, and connects it with the target.
#[derive(Debug)]
pub struct Transfer {
    /// Who the ends are: transferor, transferee, target.
    pub names: [&'static str; 3],
    /// Which end's sound must be encrypted.
    pub secret: [bool; 3],
    /// What they say and hear; of the transferor's nothing is spoken.
    pub parts: [Part; 3],
    /// The transferor's number, the transferee's and the target's.
    pub numbers: [&'static str; 3],
}

/// What an end has told so far.
#[derive(Debug, Default)]
struct Seen {
    rings: bool,
    connected: Option<Instant>,
    may_end: bool,
    ended: bool,
    tape: Option<Tape>,
}

/// A call under way.
struct Live<'a, const N: usize> {
    names: [&'static str; N],
    ends: [&'a mut Telephone; N],
    seen: [Seen; N],
}

impl Call {
    /// Makes the call; the caller hangs up.
    pub(super) async fn make(self, ends: [&mut Telephone; 2], progress: &Progress) -> Result<Outcome, Disturbance> {
        let Call { names, secret, parts, numbers } = self;
        let mut live = Live::begin(names, ends, parts).await;
        let dialled = progress.now();
        let answered = live.dial(numbers, progress).await?.since(dialled);
        progress.step(&format!("answered after {} ms; now 5 s of speech", answered.as_millis()));
        live.undisturbed(BREATH).await?;
        live.speak([0, 1]).await?;
        live.hang_up([0, 1], progress).await?;
        let tapes = [live.tape(0)?, live.tape(1)?];
        Ok(Outcome::new(Scene::Call, names, secret, answered, &tapes))
    }
}

impl Transfer {
    /// Makes the call and transfers it; the transferee hangs up in the end.
    pub(super) async fn make(self, ends: [&mut Telephone; 3], progress: &Progress) -> Result<Outcome, Disturbance> {
        let Transfer { names, secret, parts, numbers: [transferor, transferee, target] } = self;
        let mut live = Live::begin(names, ends, parts).await;
        live.dial([transferor, transferee], progress).await?;
        progress.step(&format!("answered; the {} transfers the {} to {target}", names[0], names[1]));
        live.undisturbed(BREATH).await?;
        live.seen[0].may_end = true;
        let referred = progress.now();
        live.ends[0].order(Order::Transfer(target)).await;
        live.until(STEP, &format!("the {} did not ring", names[2]), |[.., target]| target.rings).await?;
        progress.step(&format!("the {} rings: the box calls it, and the {} need not know", names[2], names[1]));
        let or = format!("the {} was not connected", names[2]);
        live.until(RINGS + STEP, &or, |[.., target]| target.connected.is_some()).await?;
        let answered = live.seen[2].connected.unwrap_or(referred).since(referred);
        let or = format!("the {} was not let go", names[0]);
        live.until(STEP, &or, |[transferor, ..]| transferor.ended).await?;
        progress.step(&format!(
            "answered after {} ms, and the {} is let go; now 5 s of speech",
            answered.as_millis(),
            names[0]
        ));
        live.undisturbed(BREATH).await?;
        live.speak([1, 2]).await?;
        live.hang_up([1, 2], progress).await?;
        let tapes = [live.tape(1)?, live.tape(2)?];
        Ok(Outcome::new(Scene::Transfer, [names[1], names[2]], [secret[1], secret[2]], answered, &tapes))
    }
}

impl<'a, const N: usize> Live<'a, N> {
    async fn begin(names: [&'static str; N], ends: [&'a mut Telephone; N], parts: [Part; N]) -> Self {
        for (end, part) in ends.iter().zip(parts) {
            end.order(Order::Play(part)).await;
        }
        Live { names, ends, seen: array::from_fn(|_| Seen::default()) }
    }

    /// The first end calls the second one: when it was answered.
    async fn dial(
        &mut self,
        [calling, called]: [&'static str; 2],
        progress: &Progress,
    ) -> Result<Instant, Disturbance> {
        let [caller, callee] = [self.names[0], self.names[1]];
        self.ends[0].order(Order::Call { called, calling }).await;
        self.until(STEP, &format!("the {callee} did not ring"), |seen| seen[1].rings).await?;
        progress.step(&format!("the {callee} rings"));
        let up = |seen: &[Seen; N]| seen[..2].iter().all(|end| end.connected.is_some());
        self.until(RINGS + STEP, &format!("the {caller} got no answer"), up).await?;
        Ok(self.seen[0].connected.unwrap_or_default())
    }

    /// Both say what they have, to the end.
    async fn speak(&mut self, both: [usize; 2]) -> Result<(), Disturbance> {
        for end in both {
            self.ends[end].order(Order::Speak).await;
        }
        self.undisturbed(PACE * FRAMES as u32 + REST).await
    }

    /// The first of them hangs up.
    async fn hang_up(&mut self, [one, other]: [usize; 2], progress: &Progress) -> Result<(), Disturbance> {
        progress.step(&format!("the {} hangs up", self.names[one]));
        self.seen.iter_mut().for_each(|end| end.may_end = true);
        self.ends[one].order(Order::HangUp).await;
        let or = format!("the {} did not hear that the call is over", self.names[other]);
        self.until(STEP, &or, |seen| seen[one].ended && seen[other].ended).await
    }

    /// Waits until what the ends have told is `enough`.
    async fn until(
        &mut self,
        limit: Duration,
        or: &str,
        enough: impl Fn(&[Seen; N]) -> bool,
    ) -> Result<(), Disturbance> {
        let wait = async {
            while !enough(&self.seen) {
                self.next().await?;
            }
            Ok(())
        };
        let late = |_| Err(Disturbance::Late(or.to_owned(), limit));
        tokio::time::timeout(limit, wait).await.unwrap_or_else(late)
    }

    /// Lets time pass in which nothing may go wrong.
    async fn undisturbed(&mut self, time: Duration) -> Result<(), Disturbance> {
        let listen = async {
            loop {
                self.next().await?;
            }
        };
        tokio::time::timeout(time, listen).await.unwrap_or(Ok(()))
    }

    async fn next(&mut self) -> Result<(), Disturbance> {
        let (end, news) = poll_fn(|cx| self.poll_news(cx)).await;
        let (who, seen) = (self.names[end], &mut self.seen[end]);
        let News { at, what } = news.ok_or(Disturbance::Gone(who))?;
        match what {
            What::Called => seen.rings = true,
            What::Ringing => {}
            What::Connected => seen.connected = Some(at),
            What::Ended { tape, .. } if seen.may_end => (seen.ended, seen.tape) = (true, tape),
            What::Ended { release, .. } => return Err(Disturbance::Ended(who, release.why.into_owned())),
            What::Trouble(why) => return Err(Disturbance::Trouble(who, why)),
        }
        Ok(())
    }

    /// The next news of any end.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<(usize, Option<News>)> {
        let mut polled = self.ends.iter_mut().map(|end| end.poll_news(cx)).enumerate();
        let ready = polled.find_map(|(end, polled)| match polled {
            Poll::Ready(news) => Some((end, news)),
            Poll::Pending => None,
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    }

    fn tape(&mut self, end: usize) -> Result<Tape, Disturbance> {
        self.seen[end].tape.take().ok_or(Disturbance::Deaf(self.names[end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cause::Release;

    const SOON: Duration = Duration::from_millis(20);

    /// Waits until both are up and then for a while, when the ends tell this.
    async fn outcome(caller_tells: Vec<What>, called_tells: Vec<What>) -> Result<(), String> {
        let ((mut caller, strings), (mut called, other_strings)) = (Telephone::puppet(), Telephone::puppet());
        for what in caller_tells {
            strings.send(what).await.unwrap();
        }
        for what in called_tells {
            other_strings.send(what).await.unwrap();
        }
        let ends = [&mut caller, &mut called];
        let mut live = Live { names: ["Lync side", "gateway"], ends, seen: Default::default() };
        let up = |seen: &[Seen; 2]| seen.iter().all(|end| end.connected.is_some());
        let limit = Duration::from_secs(1);
        live.until(limit, "the Lync side got no answer", up).await.map_err(|fault| fault.to_string())?;
        live.undisturbed(SOON).await.map_err(|fault| fault.to_string())
    }

    fn hung_up() -> What {
        What::Ended { release: Release::normal("the peer hung up"), tape: None }
    }

    #[tokio::test]
    async fn a_call_that_comes_up_and_stays_up_is_undisturbed() {
        let called = vec![What::Called, What::Connected];
        assert_eq!(outcome(vec![What::Ringing, What::Connected], called).await, Ok(()));
    }

    #[tokio::test]
    async fn each_disturbance_has_its_sentence() {
        let silent = outcome(vec![What::Ringing], vec![What::Called]).await;
        assert_eq!(silent.unwrap_err(), "the Lync side got no answer within 1 s");
        let refused = outcome(vec![hung_up()], vec![]).await;
        assert_eq!(refused.unwrap_err(), "the call ended before its time, says the Lync side: the peer hung up");
        let dropped = outcome(vec![What::Connected], vec![What::Connected, hung_up()]).await;
        assert_eq!(dropped.unwrap_err(), "the call ended before its time, says the gateway: the peer hung up");
        let broken = outcome(vec![], vec![What::Trouble("no ports for sound".into())]).await;
        assert_eq!(broken.unwrap_err(), "the gateway reports: no ports for sound");
    }

    #[tokio::test]
    async fn a_telephone_that_is_gone_is_noticed_at_once() {
        let ((mut caller, strings), (mut called, _kept)) = (Telephone::puppet(), Telephone::puppet());
        let ends = [&mut caller, &mut called];
        let mut live = Live { names: ["Lync side", "gateway"], ends, seen: Default::default() };
        drop(strings);
        let gone = live.until(STEP, "nothing happened", |_| false).await;
        assert!(matches!(gone, Err(Disturbance::Gone("Lync side"))), "{gone:?}");
    }
}
