//! What an end of a call says and hears, frame by frame, and what it remembers of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use crate::shell::clock::Clock;
use crate::shell::speech::{FRAME, Frame, SILENCE, Speech, Times};

/// What an end of a call says and what it waits to hear.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it says; `None`: whatever it hears.
    pub says: Option<Arc<Speech>>,
    /// What the other end says.
    pub hears: Arc<Speech>,
}

impl Part {
    /// How many frames of speech it will say.
    fn frames(&self) -> usize {
        self.says.as_ref().unwrap_or(&self.hears).len()
    }
}

/// What an end remembers of a call.
#[derive(Clone, Debug)]
pub struct Tape {
    /// When each frame of its own speech, or of its echo, was said.
    pub said: Times,
    /// When each frame of the other's speech was heard.
    pub heard: Times,
    /// Packets missing by sequence number.
    pub lost: u64,
    /// Packets that the agreed key does not open, or that come from elsewhere.
    pub rejected: u64,
    /// Did the call have keys?
    pub encrypted: bool,
    /// Is the end one of a line? Sound is fitted to a line's clock: a frame now and then comes changed, and none is missing.
    pub line: bool,
}

#[derive(Debug, Default)]
struct Switches {
    speak: AtomicBool,
    end: AtomicBool,
}

/// A call's sound under way. Dropping it ends it as well.
#[derive(Debug)]
pub struct Conversation {
    switches: Arc<Switches>,
    tape: oneshot::Receiver<Tape>,
}

impl Conversation {
    /// Begins its speech; silence until then.
    pub fn speak(&self) {
        self.switches.speak.store(true, Ordering::Relaxed);
    }

    /// Hangs up; `None` if whoever has the sound broke.
    pub async fn end(mut self) -> Option<Tape> {
        self.switches.end.store(true, Ordering::Relaxed);
        (&mut self.tape).await.ok()
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.switches.end.store(true, Ordering::Relaxed);
    }
}

/// Plays a part and keeps the tape, for whoever has the sound. Dropping it gives the tape away.
#[derive(Debug)]
pub struct Recorder {
    /// What is remembered so far.
    pub tape: Tape,
    part: Part,
    clock: Clock,
    switches: Arc<Switches>,
    position: usize,
    /// What was heard and is no whole frame yet.
    heard: Vec<u8>,
    out: Option<oneshot::Sender<Tape>>,
}

impl Recorder {
    /// For a call with or without keys.
    pub fn new(part: Part, clock: Clock, encrypted: bool) -> (Recorder, Conversation) {
        let (switches, (out, tape)) = (Arc::<Switches>::default(), oneshot::channel());
        let conversation = Conversation { switches: switches.clone(), tape };
        let (said, heard) = (Times::new(part.frames()), Times::new(part.hears.len()));
        let tape = Tape { said, heard, lost: 0, rejected: 0, encrypted, line: false };
        (Recorder { tape, part, clock, switches, position: 0, heard: Vec::new(), out: Some(out) }, conversation)
    }

    /// Did the owner of the call hang up?
    pub fn is_over(&self) -> bool {
        self.switches.end.load(Ordering::Relaxed)
    }

    /// Does this end say back what it hears?
    pub fn echoes(&self) -> bool {
        self.part.says.is_none()
    }

    /// The next frame of its own speech; silence before and behind it.
    pub fn next(&mut self) -> Frame {
        let speaking = self.switches.speak.load(Ordering::Relaxed);
        let frame = self.part.says.as_ref().and_then(|says| says.frame(self.position)).filter(|_| speaking);
        let Some(frame) = frame.copied() else { return SILENCE };
        self.said(self.position);
        self.position += 1;
        frame
    }

    /// This frame of its speech, or of its echo, is said now.
    pub fn said(&mut self, number: usize) {
        self.tape.said.note(number, self.clock.now().mono);
    }

    /// Hears more of the sound: the numbers of the frames of the other's speech that are whole now. Nothing on a line says
    /// where a frame begins: it is looked for at every octet, and after one the next should follow.
    pub fn hear(&mut self, octets: &[u8]) -> Vec<usize> {
        let now = self.clock.now().mono;
        self.heard.extend_from_slice(octets);
        let (mut at, mut numbers) = (0, Vec::new());
        while let Some(frame) = self.heard.get(at..at + FRAME) {
            let number = self.part.hears.recognise(frame);
            numbers.extend(number);
            at += if number.is_some() { FRAME } else { 1 };
        }
        self.heard.drain(..at);
        numbers.iter().for_each(|number| self.tape.heard.note(*number, now));
        numbers
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Whoever no longer wants the tape has failed already.
        let _ = self.out.take().map(|out| out.send(self.tape.clone()));
    }
}
