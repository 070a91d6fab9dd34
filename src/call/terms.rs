//! What one side agreed becomes what the other side may: codecs, direction, addresses; and both
//! together become the media [`Session`].
//!
//! Both sides speaking the same codec comes first: then packets are only passed on. Whatever else a trunk
//! speaks stands behind that, for the media plane transcodes between any two.
//!
//! A hold is passed on, unless there is hold music: then the held side stays as it is and hears that. To Microsoft it could
//! not be said otherwise, for whom a held call has no media at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Span, Switches, Trunk};
use crate::leg::{Terms, Wish};
use crate::session::{Codec, Direction, Play, Remote, Session, Side, Sound, Stream, Timeslot, Watch};
use crate::tone::Cadence;

/// A peer from which neither RTP nor RTCP came for this long is gone (Microsoft KB 981218).
pub(super) const DEAD_MEDIA: Duration = Duration::from_secs(30);

/// What to offer the called side. `None` when the caller wants only what its own trunk may not speak. Without a
/// wish (an INVITE without SDP) the caller is taken to speak all that its trunk may.
pub(super) fn offer_to_called(wish: Option<&Wish>, from: &Trunk, to: &Trunk, local: SocketAddr) -> Option<Terms> {
    let all = Wish { codecs: from.codecs.clone(), direction: Direction::SendRecv, comfort_noise: false };
    let wish = wish.unwrap_or(&all);
    let speakable = wish.codecs.iter().any(|codec| from.codecs.contains(codec));
    speakable.then(|| offer_to(wish, to, local))
}

/// What to offer one side when the other has this wish.
pub(super) fn offer_to(wish: &Wish, to: &Trunk, local: SocketAddr) -> Terms {
    Terms {
        local,
        codecs: preferring(&wish.codecs, &to.codecs),
        direction: wish.direction.reversed(),
        telephone_event: true,
        comfort_noise: wish.comfort_noise,
    }
}

/// What one side, of trunk `own`, may agree on, now that the other side speaks `agreed`.
pub(super) fn mirror(agreed: &Stream, own: &Trunk, local: SocketAddr) -> Terms {
    Terms {
        local,
        codecs: preferring(&[agreed.codec], &own.codecs),
        direction: agreed.direction.reversed(),
        telephone_event: true,
        comfort_noise: agreed.comfort_noise.is_some(),
    }
}

/// Does this wish mean that the peer does not listen: a hold?
pub(super) fn holds(wish: &Wish) -> bool {
    !wish.direction.sends()
}

/// Can the other side, which speaks `agreed`, stay as it is? With music it need not know of a hold.
pub(super) fn stays(agreed: &Stream, wish: &Wish) -> bool {
    wish.codecs.contains(&agreed.codec) && (holds(wish) || agreed.direction == wish.direction.reversed())
}

/// What each side hears from ourselves, once answered: this music while the other side does not listen.
pub(super) fn held(streams: &[Option<Stream>; 2], music: &Arc<Sound>) -> [Option<Play>; 2] {
    let sends = |side: Side| streams[side.index()].as_ref().map(|stream| stream.direction.sends());
    let hears = |side: Side| sends(side) == Some(true) && sends(side.other()) == Some(false);
    [Side::A, Side::B].map(|side| hears(side).then(|| Play::Music(music.clone())))
}

/// What each side hears from ourselves while the called telephone rings: the caller, if it has early media, its tone.
pub(super) fn ringing(streams: &[Option<Stream>; 2], ring: Cadence) -> [Option<Play>; 2] {
    let [caller, _] = streams;
    let hears = caller.as_ref().is_some_and(|stream| stream.direction.sends());
    [hears.then_some(Play::Tone(ring)), None]
}

/// The media of a call from what both sides agreed, each watched by its own trunk's switches.
pub(super) fn session(
    streams: &[Option<Stream>; 2],
    plays: [Option<Play>; 2],
    switches: [&Switches; 2],
    answered: bool,
) -> Session {
    let side = |side: Side| {
        let stream = streams[side.index()].as_ref()?;
        // A line has alarms of its own.
        let packets = stream.remote.addresses().is_some();
        let watch = watch(stream.direction, switches[side.index()]).filter(|_| answered && packets);
        Some(Stream { watch, ..stream.clone() })
    };
    Session { sides: [side(Side::A), side(Side::B)], plays }
}

/// The sound of a timeslot, in the line's law. Digits are tones, as on every line.
pub(super) fn through(span: &Span, number: u8) -> Stream {
    let law = Codec::from(span.line.law());
    let Span { id, receive_gain, transmit_gain, echo_tail, .. } = *span;
    let timeslot = Timeslot { span: id, number, receive_gain, transmit_gain, canceller: echo_tail };
    Stream::new(Remote::Timeslot(timeslot), law)
}

/// Our media address on a port.
pub(super) fn local(config: &Config, port: u16) -> SocketAddr {
    SocketAddr::new(config.media.address, port)
}

fn watch(direction: Direction, switches: &Switches) -> Option<Watch> {
    let held = !direction.receives();
    let watched = if held { switches.rtcp_calls_on_hold } else { switches.rtcp_active_calls };
    watched.then_some(Watch { limit: DEAD_MEDIA })
}

/// All of `allowed`: first what is wanted, in that order, then the rest in its own.
fn preferring(wanted: &[Codec], allowed: &[Codec]) -> Vec<Codec> {
    let first = wanted.iter().filter(|codec| allowed.contains(codec));
    let rest = allowed.iter().filter(|codec| !wanted.contains(codec));
    first.chain(rest).copied().collect()
}
