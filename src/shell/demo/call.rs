//! One call of the demonstration, from the first digit to the last sound.

use std::time::Duration;

use super::handset::{Part, Tape};
use super::result::Outcome;
use super::sound::PACE;
use super::telephone::{News, Order, RINGS, Telephone, What};
use super::{FRAMES, Progress};
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

/// What the ends have told so far.
#[derive(Debug, Default)]
struct Seen {
    rings: bool,
    connected: [Option<Instant>; 2],
    hanging_up: bool,
    ended: [bool; 2],
    tapes: [Option<Tape>; 2],
}

/// A call under way.
struct Live<'a> {
    names: [&'static str; 2],
    ends: [&'a mut Telephone; 2],
    seen: Seen,
}

impl Call {
    /// Makes the call; the caller hangs up.
    pub(super) async fn make(self, ends: [&mut Telephone; 2], progress: &Progress) -> Result<Outcome, Disturbance> {
        let Call { names, secret, parts, numbers: [calling, called] } = self;
        for (end, part) in ends.iter().zip(parts) {
            end.order(Order::Play(part)).await;
        }
        let mut live = Live { names, ends, seen: Seen::default() };
        let dialled = progress.now();
        live.ends[0].order(Order::Call { called, calling }).await;
        live.until(STEP, &format!("the {} did not ring", names[1]), |seen| seen.rings).await?;
        progress.step(&format!("the {} rings", names[1]));

        let up = |seen: &Seen| seen.connected.iter().all(Option::is_some);
        live.until(RINGS + STEP, &format!("the {} got no answer", names[0]), up).await?;
        let answered = live.seen.connected[0].unwrap_or(dialled).since(dialled);
        progress.step(&format!("answered after {} ms; now 5 s of speech", answered.as_millis()));
        live.undisturbed(BREATH).await?;
        live.order_both(|| Order::Speak).await;
        live.undisturbed(PACE * FRAMES as u32 + REST).await?;

        progress.step(&format!("the {} hangs up", names[0]));
        live.seen.hanging_up = true;
        live.ends[0].order(Order::HangUp).await;
        let over = |seen: &Seen| seen.ended == [true, true];
        live.until(STEP, &format!("the {} did not hear that the call is over", names[1]), over).await?;
        let tapes = live.tapes()?;
        Ok(Outcome::new(names, secret, answered, &tapes))
    }
}

impl Live<'_> {
    async fn order_both(&self, order: impl Fn() -> Order) {
        for end in &self.ends {
            end.order(order()).await;
        }
    }

    /// Waits until what the ends have told is `enough`.
    async fn until(&mut self, limit: Duration, or: &str, enough: impl Fn(&Seen) -> bool) -> Result<(), Disturbance> {
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
        let [caller, called] = &mut self.ends;
        let (end, news) = tokio::select! {
            news = caller.news() => (0, news),
            news = called.news() => (1, news),
        };
        let who = self.names[end];
        let News { at, what } = news.ok_or(Disturbance::Gone(who))?;
        match what {
            What::Called => self.seen.rings = true,
            What::Ringing => {}
            What::Connected => self.seen.connected[end] = Some(at),
            What::Ended { tape, .. } if self.seen.hanging_up => {
                self.seen.ended[end] = true;
                self.seen.tapes[end] = tape;
            }
            What::Ended { release, .. } => return Err(Disturbance::Ended(who, release.why.into_owned())),
            What::Trouble(why) => return Err(Disturbance::Trouble(who, why)),
        }
        Ok(())
    }

    fn tapes(&mut self) -> Result<[Tape; 2], Disturbance> {
        let mut tape = |end: usize| self.seen.tapes[end].take().ok_or(Disturbance::Deaf(self.names[end]));
        Ok([tape(0)?, tape(1)?])
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
        let mut live = Live { names: ["Lync side", "gateway"], ends, seen: Seen::default() };
        let up = |seen: &Seen| seen.connected.iter().all(Option::is_some);
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
        let mut live = Live { names: ["Lync side", "gateway"], ends, seen: Seen::default() };
        drop(strings);
        let gone = live.until(STEP, "nothing happened", |_| false).await;
        assert!(matches!(gone, Err(Disturbance::Gone("Lync side"))), "{gone:?}");
    }
}
