//! Numbered frames in flight (Q.921 section 3.5.2): what waits for acknowledgement, what waits to be sent, what is due next.

use std::collections::VecDeque;

/// Frames are numbered modulo 128.
const MODULUS: u8 = 128;

/// From `first` on to `second`, modulo 128.
fn distance(first: u8, second: u8) -> u8 {
    second.wrapping_sub(first) % MODULUS
}

/// Sequence numbers and the frames that they number.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// V(A): the oldest frame that is not acknowledged; it is the first of `queue`.
    acknowledged: u8,
    /// V(S) - V(A): so many of `queue` were sent.
    sent: u8,
    /// V(R): the number that is due next.
    pub(super) due: u8,
    queue: VecDeque<Vec<u8>>,
    /// The peer said RNR.
    pub(super) peer_busy: bool,
    /// We said REJ for this gap.
    pub(super) rejected: bool,
    /// An I frame is not acknowledged yet.
    pub(super) owes: bool,
}

impl Window {
    /// All numbers zero, `queue` yet to be sent.
    pub(super) fn new(queue: VecDeque<Vec<u8>>) -> Window {
        Window { queue, ..Window::default() }
    }

    pub(super) fn push(&mut self, payload: Vec<u8>) {
        self.queue.push_back(payload);
    }

    /// How many wait, sent or not.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Was all that was sent acknowledged?
    pub(super) fn is_acknowledged(&self) -> bool {
        self.sent == 0
    }

    /// V(A) <= N(R) <= V(S)?
    pub(super) fn covers(&self, received: u8) -> bool {
        distance(self.acknowledged, received) <= self.sent
    }

    /// Takes an N(R) that the window covers. Was it news?
    pub(super) fn acknowledge(&mut self, received: u8) -> bool {
        let count = distance(self.acknowledged, received).min(self.sent);
        self.queue.drain(..usize::from(count).min(self.queue.len()));
        self.acknowledged = (self.acknowledged + count) % MODULUS;
        self.sent -= count;
        count > 0
    }

    /// All that is not acknowledged shall be sent again.
    pub(super) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// The next frame to send and its number, if the peer takes one and fewer than `most` are in flight.
    pub(super) fn next(&mut self, most: u8) -> Option<(u8, &[u8])> {
        if self.peer_busy || self.sent >= most {
            return None;
        }
        let payload = self.queue.get(usize::from(self.sent))?;
        let number = (self.acknowledged + self.sent) % MODULUS;
        self.sent += 1;
        Some((number, payload))
    }

    /// A frame came; is it the one that is due?
    pub(super) fn takes(&mut self, number: u8) -> bool {
        if number != self.due {
            return false;
        }
        self.due = (self.due + 1) % MODULUS;
        self.rejected = false;
        true
    }

    /// What is left for a link that begins anew, and how many frames are lost: where one that was sent was not
    /// acknowledged the peer may have it or not, and what was to follow it must not (section 5.7).
    pub(super) fn leftover(self) -> (VecDeque<Vec<u8>>, usize) {
        match self.sent {
            0 => (self.queue, 0),
            _ => (VecDeque::new(), self.queue.len()),
        }
    }
}
