//! A telephone at the exchange of a simulated line: the story's orders in the exchange's words, and its news in the story's.

use std::time::Duration;

use tokio::sync::mpsc;

use super::tape::{Conversation, Part, Recorder};
use super::telephone::{News, Order, Telephone, What};
use crate::exchange::{News as LineNews, Placed, Says};
use crate::isdn::leg::Numbering;
use crate::private::Private;
use crate::shell::clock::Clock;
use crate::shell::exchange;

/// How long the line may take to come up.
const UP: Duration = Duration::from_secs(10);

/// The line did not come up.
#[derive(Debug, thiserror::Error)]
#[error("the line is not in service after {} s", UP.as_secs())]
pub struct NotInService;

/// Plugs in a telephone that the exchange lends out, once its line is in service.
pub async fn plug_in(mut lent: exchange::Telephone, clock: Clock) -> Result<Telephone, NotInService> {
    let in_service = async { while !matches!(lent.news().await, Some(LineNews::InService) | None) {} };
    tokio::time::timeout(UP, in_service).await.map_err(|_| NotInService)?;
    let (telephone, orders, news) = Telephone::other();
    tokio::spawn(Agent { lent, clock, news, part: None, conversation: None }.run(orders));
    Ok(telephone)
}

/// The task.
struct Agent {
    lent: exchange::Telephone,
    clock: Clock,
    news: mpsc::Sender<News>,
    part: Option<Part>,
    conversation: Option<Conversation>,
}

impl Agent {
    async fn run(mut self, mut orders: mpsc::Receiver<(usize, Order)>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some((_, order)) => self.obey(order),
                    None => return,
                },
                news = self.lent.news() => match news {
                    Some(news) => self.heed(news).await,
                    None => return,
                },
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Play(part) => self.part = Some(part),
            Order::Call { called, calling } => {
                self.lift();
                let number = |number| Numbering::default().number(number);
                let (called, calling, name) = (number(called), number(calling), Private(String::new()));
                self.lent.dial(Placed { called, calling, name, says: Says::Silence, lasts: None });
            }
            Order::Speak => self.conversation.iter().for_each(Conversation::speak),
            Order::Transfer(_) => self.tell(What::Trouble("this telephone transfers nobody".to_owned())),
            Order::HangUp => self.lent.hang_up(),
        }
    }

    async fn heed(&mut self, news: LineNews) {
        match news {
            LineNews::InService => {}
            LineNews::Called => {
                self.lift();
                self.tell(What::Called);
            }
            LineNews::Ringing => self.tell(What::Ringing),
            LineNews::Connected => self.tell(What::Connected),
            LineNews::Ended(release) => {
                let tape = match self.conversation.take() {
                    Some(conversation) => conversation.end().await,
                    None => None,
                };
                self.tell(What::Ended { release, tape });
            }
        }
    }

    /// Somebody is there for the next call.
    fn lift(&mut self) {
        let Some(part) = self.part.clone() else { return };
        let (mut recorder, conversation) = Recorder::new(part, self.clock.clone(), false);
        recorder.tape.line = true;
        self.lent.take(Box::new(Handset { recorder, waiting: Vec::new() }));
        self.conversation = Some(conversation);
    }

    fn tell(&self, what: What) {
        // A story that does not listen has failed already.
        let _ = self.news.try_send(News { at: self.clock.now().mono, what });
    }
}

/// The sound.
struct Handset {
    recorder: Recorder,
    /// The rest of the frame that is being said.
    waiting: Vec<u8>,
}

impl exchange::Handset for Handset {
    fn converse(&mut self, heard: &[u8], said: &mut [u8]) {
        let numbers = self.recorder.hear(heard);
        if self.recorder.echoes() {
            numbers.into_iter().for_each(|number| self.recorder.said(number));
            said.copy_from_slice(heard);
        } else {
            self.say(said);
        }
    }
}

impl Handset {
    fn say(&mut self, said: &mut [u8]) {
        while self.waiting.len() < said.len() {
            let frame = self.recorder.next();
            self.waiting.extend_from_slice(&frame);
        }
        let rest = self.waiting.split_off(said.len());
        said.copy_from_slice(&std::mem::replace(&mut self.waiting, rest));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tape::Part;
    use super::*;
    use crate::random::Random;
    use crate::shell::exchange::Handset as _;
    use crate::shell::speech::{Passage, Speech, Voice};

    fn handset(part: Part, clock: &Clock) -> (Handset, Conversation) {
        let (recorder, conversation) = Recorder::new(part, clock.clone(), false);
        (Handset { recorder, waiting: Vec::new() }, conversation)
    }

    /// One speaks, the other says it back: in pieces of all lengths, behind some silence, with an octet lost on the way.
    #[tokio::test]
    async fn frames_are_found_wherever_they_begin() {
        let (clock, speech) = (Clock::start(), Arc::new(Speech::new(Voice::Low, 50, &mut Random::test(3))));
        let part = |says| Part { says, hears: speech.clone() };
        let (mut mouth, speaking) = handset(part(Some(speech.clone())), &clock);
        let (mut ear, listening) = handset(part(None), &clock);
        speaking.speak();
        let mut way = vec![0xff; 41];
        for length in (0..200).map(|length| length % 97) {
            let mut piece = vec![0; length];
            mouth.converse(&vec![0xff; length], &mut piece);
            way.extend(piece);
        }
        way.remove(2000);
        for piece in way.chunks(37) {
            let mut echo = vec![0; piece.len()];
            ear.converse(piece, &mut echo);
            assert_eq!(piece, echo);
        }
        drop((mouth, ear));
        let (mouth, ear) = (speaking.end().await.unwrap(), listening.end().await.unwrap());
        let there = Passage::measure(&mouth.said, &ear.heard);
        assert_eq!((there.said, there.heard), (50, 49), "but for the frame that lost an octet");
        let echoed = Passage::measure(&ear.said, &ear.heard);
        assert_eq!((echoed.said, echoed.heard), (49, 49));
    }
}
