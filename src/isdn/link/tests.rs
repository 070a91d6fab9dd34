//! Ladders against a scripted far end, then two links on a bad line.

use super::*;
use crate::random::Random;
use crate::wire::q921::tests::libpri;

fn ms(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

/// A frame as the ladders write it: `SABME P`, `UA F`, `I 0,1 hello`, `RR 1`, `RR 1 P`, `RNR 1 F`.
fn shown(frame: &Frame<'_>, from: Side) -> String {
    let bit = |poll| match (poll, frame.role(from)) {
        (false, _) => "",
        (true, Role::Command) => " P",
        (true, Role::Response) => " F",
    };
    match frame.control {
        Control::I { sent, received, poll } => {
            format!("I {sent},{received}{} {}", bit(poll), String::from_utf8_lossy(frame.information))
        }
        Control::S { kind, received, poll } => {
            format!("{} {received}{}", format!("{kind:?}").to_uppercase(), bit(poll))
        }
        Control::U { kind, poll } => format!("{}{}", format!("{kind:?}").to_uppercase(), bit(poll)),
    }
}

/// The other way.
fn written(text: &str, from: Side) -> Vec<u8> {
    let mut words = text.split(' ').peekable();
    let name = words.next().unwrap();
    let mut numbers = words.next_if(|word| word.starts_with(|c: char| c.is_ascii_digit())).unwrap_or("").split(',');
    let mut number = || numbers.next().unwrap().parse().unwrap();
    let flag = words.next_if(|word| ["P", "F"].contains(word));
    let poll = flag.is_some();
    let information = words.next().unwrap_or_default().as_bytes();
    let mut s = |kind| Control::S { kind, received: number(), poll };
    let u = |kind| Control::U { kind, poll };
    let control = match name {
        "RR" => s(Supervisory::Rr),
        "RNR" => s(Supervisory::Rnr),
        "REJ" => s(Supervisory::Rej),
        "I" => Control::I { sent: number(), received: number(), poll },
        "SABME" => u(Unnumbered::Sabme),
        "DM" => u(Unnumbered::Dm),
        "UI" => u(Unnumbered::Ui),
        "DISC" => u(Unnumbered::Disc),
        "UA" => u(Unnumbered::Ua),
        "FRMR" => u(Unnumbered::Frmr),
        _ => panic!("{text}"),
    };
    let role = match control {
        Control::I { .. } => Role::Command,
        Control::S { .. } if flag == Some("P") => Role::Command,
        Control::S { .. } => Role::Response,
        Control::U { kind, .. } => kind.role().unwrap(),
    };
    Frame { information, ..Frame::new(from, role, CALL_CONTROL, control) }.write()
}

struct Ladder {
    link: Link,
    now: Instant,
    out: Vec<Output>,
}

impl Ladder {
    fn new() -> Ladder {
        let mut t = Ladder { link: Link::new(Side::User, Parameters::default()), now: Instant::START, out: Vec::new() };
        t.link.line_up(t.now, &mut t.out);
        t.sees(0, "SABME P");
        t
    }

    fn up() -> Ladder {
        let mut t = Ladder::new();
        t.hears("UA F");
        t.sees(0, "up");
        t
    }

    /// The far end says a frame.
    fn hears(&mut self, frame: &str) {
        self.link.receive(self.now, &written(frame, Side::Network), &mut self.out);
    }

    /// Layer 3 says a message.
    fn says(&mut self, payload: &str) {
        self.link.send(self.now, payload.into(), &mut self.out).unwrap();
    }

    fn establish(&mut self) {
        self.link.establish(self.now, &mut self.out);
    }

    fn release(&mut self) {
        self.link.release(self.now, &mut self.out);
    }

    /// All that came out until then, with timers run, and nothing else did.
    #[track_caller]
    fn sees(&mut self, at: u64, expected: &str) {
        while let Some(due) = self.link.timeout().filter(|due| *due <= ms(at)) {
            self.now = self.now.max(due);
            self.link.tick(self.now, &mut self.out);
        }
        self.now = ms(at);
        let shown = self.out.drain(..).map(|output| match output {
            Output::Frame(octets) => shown(&Frame::read(&octets).unwrap(), Side::User),
            Output::Data(payload) => format!("data {}", String::from_utf8(payload).unwrap()),
            Output::Up => "up".to_owned(),
            Output::Reset { lost } => format!("reset, {lost} lost"),
            Output::Down(why) => format!("down: {why:?}"),
            Output::Fault(fault) => format!("fault: {fault:?}"),
        });
        assert_eq!(shown.collect::<Vec<_>>().join("; "), expected, "at {at} ms");
    }
}

#[test]
fn sabme_is_repeated_each_t200_for_ever_and_silence_told_once() {
    let mut t = Ladder::new();
    t.sees(999, "");
    t.sees(1000, "SABME P");
    t.sees(2000, "SABME P");
    t.sees(3000, "SABME P");
    t.sees(4000, "down: Silent; fault: NotEstablished; SABME P");
    t.sees(8999, "SABME P; SABME P; SABME P; SABME P");
    assert_eq!((t.link.condition(), t.link.down()), (Condition::Establishing, Some(Down::Silent)));
    t.hears("UA F");
    t.sees(9000, "up");
    assert_eq!((t.link.condition(), t.link.down(), t.link.fault()), (Condition::Up, None, None));
}

#[test]
fn a_refused_link_is_tried_again_after_t200_and_comes_up_when_the_far_end_begins() {
    let mut t = Ladder::new();
    t.hears("DM F");
    t.sees(0, "down: Refused");
    assert_eq!(t.link.condition(), Condition::Released);
    t.sees(1000, "SABME P");
    t.hears("DM F");
    t.sees(1500, "");
    t.hears("DM");
    t.sees(1500, "SABME P");
    t.hears("DM F");
    t.hears("SABME P");
    t.sees(1500, "UA F; up");
}

#[test]
fn both_ends_may_begin_at_once() {
    let mut t = Ladder::new();
    t.hears("SABME P");
    t.sees(0, "UA F");
    t.hears("UA F");
    t.sees(0, "up");
    t.hears("I 0,0 setup");
    t.sees(0, "data setup; RR 1");
}

#[test]
fn while_it_comes_up_only_an_answer_counts() {
    let mut t = Ladder::new();
    for frame in ["DM", "I 0,0 early", "RR 0 P", "UI x", "FRMR"] {
        t.hears(frame);
    }
    t.sees(0, "");
    t.hears("DISC P");
    t.sees(0, "DM F");
    t.hears("UA");
    t.sees(0, "fault: UnaskedAcknowledgement");
    assert_eq!(t.link.send(t.now, b"early".into(), &mut t.out), Err(Unsent::Down));
}

#[test]
fn an_i_frame_acknowledges_and_rr_where_none_waits() {
    let mut t = Ladder::up();
    t.says("setup");
    t.sees(0, "I 0,0 setup");
    t.hears("I 0,1 proceeding");
    t.sees(0, "data proceeding; RR 1");
    t.says("a");
    t.says("b");
    t.sees(0, "I 1,1 a; I 2,1 b");
    for n in 3..8 {
        t.says(&n.to_string());
    }
    t.sees(0, "I 3,1 3; I 4,1 4; I 5,1 5; I 6,1 6; I 7,1 7");
    t.says("waits");
    t.sees(0, "");
    t.hears("I 1,3 alerting");
    t.sees(0, "data alerting; I 8,2 waits");
    t.hears("RR 9");
    t.sees(9_999, "");
}

#[test]
fn t200_asks_and_what_the_far_end_lacks_is_sent_again() {
    let mut t = Ladder::up();
    t.says("a");
    t.says("b");
    t.sees(0, "I 0,0 a; I 1,0 b");
    t.sees(999, "");
    t.sees(1000, "RR 0 P");
    t.says("c");
    t.hears("I 0,1 x");
    t.sees(1000, "data x; RR 1");
    assert_eq!(t.link.condition(), Condition::Recovering);
    t.hears("RR 1 F");
    t.sees(1000, "I 1,1 b; I 2,1 c");
    t.hears("RR 3");
    t.sees(10_999, "");
    t.sees(11_000, "RR 1 P");
}

#[test]
fn what_is_acknowledged_in_part_gets_its_t200_anew() {
    let mut t = Ladder::up();
    t.says("a");
    t.says("b");
    t.sees(600, "I 0,0 a; I 1,0 b");
    t.hears("RR 1");
    t.hears("RR 1");
    t.sees(1599, "");
    t.sees(1600, "RR 0 P");
}

#[test]
fn only_the_answer_to_the_question_ends_the_recovery() {
    let mut t = Ladder::up();
    for payload in ["a", "b", "c"] {
        t.says(payload);
    }
    t.sees(1000, "I 0,0 a; I 1,0 b; I 2,0 c; RR 0 P");
    for frame in ["RR 1", "REJ 1", "RNR 1", "RR 1 P"] {
        t.hears(frame);
        assert_eq!(t.link.condition(), Condition::Recovering, "{frame}");
    }
    t.sees(2000, "RR 0 F; RR 0 P");
    t.hears("REJ 2 F");
    t.sees(2000, "I 2,0 c");
    t.hears("RR 3");
    t.sees(11_999, "");
}

#[test]
fn t203_asks_a_silent_far_end_and_t200_asks_n200_times_more() {
    let mut t = Ladder::up();
    t.sees(9_999, "");
    t.sees(10_000, "RR 0 P");
    t.hears("RR 0 F");
    t.sees(19_999, "");
    t.sees(20_000, "RR 0 P");
    t.sees(23_999, "RR 0 P; RR 0 P; RR 0 P");
    t.sees(24_000, "fault: NotRecovered; SABME P");
    t.hears("UA F");
    t.sees(24_000, "reset, 0 lost");
}

#[test]
fn a_link_that_dies_tells_what_is_lost_and_then_that_it_is_down() {
    let mut t = Ladder::up();
    t.says("a");
    t.sees(4_999, "I 0,0 a; RR 0 P; RR 0 P; RR 0 P; RR 0 P");
    t.sees(5_000, "fault: NotRecovered; SABME P");
    t.says("b");
    assert_eq!(t.link.down(), None);
    t.hears("UA F");
    t.sees(5_000, "reset, 1 lost; I 0,0 b");
    t.sees(9_999, "RR 0 P; RR 0 P; RR 0 P; RR 0 P");
    t.sees(
        14_000,
        "fault: NotRecovered; SABME P; SABME P; SABME P; SABME P; down: Silent; fault: NotEstablished; SABME P",
    );
    assert_eq!(t.link.send(t.now, b"c".into(), &mut t.out), Err(Unsent::Down));
    t.hears("UA F");
    t.sees(14_000, "up");
}

#[test]
fn a_gap_is_rejected_once_until_it_is_filled() {
    let mut t = Ladder::up();
    t.hears("I 1,0 b");
    t.sees(0, "REJ 0");
    t.hears("I 2,0 c");
    t.sees(0, "");
    t.hears("I 3,0 P d");
    t.sees(0, "RR 0 F");
    t.hears("I 0,0 a");
    t.hears("I 1,0 b");
    t.sees(0, "data a; RR 1; data b; RR 2");
    t.hears("I 1,0 b");
    t.sees(0, "REJ 2");
    t.hears("I 2,0 P c");
    t.sees(0, "data c; RR 3 F");
}

#[test]
fn reject_brings_it_again_from_there() {
    let mut t = Ladder::up();
    for payload in ["a", "b", "c"] {
        t.says(payload);
    }
    t.sees(0, "I 0,0 a; I 1,0 b; I 2,0 c");
    t.hears("REJ 1");
    t.sees(500, "I 1,0 b; I 2,0 c");
    t.hears("REJ 1 P");
    t.sees(500, "RR 0 F; I 1,0 b; I 2,0 c");
    t.sees(1500, "RR 0 P");
    t.hears("REJ 1 F");
    t.sees(1500, "I 1,0 b; I 2,0 c");
}

#[test]
fn a_busy_far_end_is_asked_each_t200_until_it_is_ready() {
    let mut t = Ladder::up();
    t.says("a");
    t.hears("RNR 1");
    t.says("b");
    t.sees(0, "I 0,0 a");
    assert_eq!(t.link.condition(), Condition::PeerBusy);
    for second in 1..10 {
        t.sees(second * 1000, "RR 0 P");
        t.hears("RNR 1 F");
    }
    t.hears("RR 1");
    t.sees(9000, "I 1,0 b");
    t.hears("RNR 1");
    t.sees(10_000, "RR 0 P");
    t.hears("RNR 1 F");
    t.hears("RR 1");
    t.sees(10_000, "I 1,0 b");
}

#[test]
fn while_we_are_busy_nothing_is_taken_and_nothing_lost() {
    let mut t = Ladder::up();
    t.link.set_busy(true, &mut t.out);
    t.link.set_busy(true, &mut t.out);
    t.sees(0, "RNR 0");
    t.hears("I 0,0 a");
    t.hears("RR 0 P");
    t.hears("I 0,0 P a");
    t.sees(0, "RNR 0 F; RNR 0 F");
    t.says("out");
    t.sees(1000, "I 0,0 out; RNR 0 P");
    t.hears("RR 1 F");
    t.link.set_busy(false, &mut t.out);
    t.hears("I 0,1 a");
    t.sees(1000, "RR 0; data a; RR 1");
}

#[test]
fn a_far_end_that_begins_anew_interrupts_only_what_is_in_flight() {
    let mut t = Ladder::up();
    t.hears("I 0,0 x");
    t.sees(0, "data x; RR 1");
    t.hears("SABME P");
    t.sees(0, "UA F; fault: BegunAnew; reset, 0 lost");
    t.hears("I 0,0 y");
    t.says("a");
    t.sees(0, "data y; RR 1; I 0,1 a");
    t.hears("SABME P");
    t.sees(0, "UA F; fault: BegunAnew; reset, 1 lost");
    t.hears("RNR 0");
    t.says("b");
    t.sees(0, "");
    t.hears("SABME P");
    t.sees(0, "UA F; fault: BegunAnew; reset, 0 lost; I 0,0 b");
}

#[test]
fn the_far_end_takes_the_link_down_and_it_is_tried_again() {
    let mut t = Ladder::up();
    t.says("a");
    t.sees(0, "I 0,0 a");
    t.hears("DISC P");
    t.sees(0, "UA F; down: Disconnected");
    t.hears("DISC P");
    t.hears("I 0,0 x");
    t.hears("UA F");
    t.sees(999, "DM F; fault: UnaskedAcknowledgement");
    t.sees(1000, "SABME P");
}

#[test]
fn released_it_stays_down_until_it_is_wanted() {
    let mut t = Ladder::up();
    t.release();
    t.sees(0, "down: Released; DISC P");
    t.hears("SABME P");
    t.hears("DISC P");
    t.hears("UA");
    t.hears("I 0,0 x");
    t.sees(0, "DM F; UA F; fault: UnaskedAcknowledgement");
    t.sees(3999, "DISC P; DISC P; DISC P");
    assert_eq!(t.link.condition(), Condition::Releasing);
    t.sees(4000, "fault: NotReleased");
    t.hears("SABME P");
    t.hears("DM");
    t.sees(60_000, "DM F");
    t.release();
    t.establish();
    t.establish();
    t.sees(60_000, "SABME P");
    t.hears("UA F");
    t.sees(60_000, "up");
    t.release();
    t.hears("UA F");
    t.sees(120_000, "down: Released; DISC P");
}

#[test]
fn an_alarm_takes_the_link_down_and_its_end_brings_it_back_unless_it_was_released() {
    let mut t = Ladder::up();
    t.says("a");
    t.link.line_down(&mut t.out);
    t.link.line_down(&mut t.out);
    t.sees(0, "I 0,0 a; down: Line");
    assert_eq!((t.link.timeout(), t.link.condition()), (None, Condition::NoLine));
    t.hears("SABME P");
    t.sees(5000, "");
    t.link.line_up(t.now, &mut t.out);
    t.link.line_up(t.now, &mut t.out);
    t.hears("UA F");
    t.sees(5000, "SABME P; up");
    t.release();
    t.link.line_down(&mut t.out);
    t.link.line_up(t.now, &mut t.out);
    t.sees(5000, "down: Released; DISC P; down: Line");
    t.link.line_down(&mut t.out);
    t.establish();
    t.link.line_up(t.now, &mut t.out);
    t.sees(5000, "SABME P");
}

#[test]
fn each_fault_of_the_far_end_has_its_name_and_those_that_break_the_link_begin_it_anew() {
    let frame = |hex: &[u8]| hex.to_vec();
    let text = |text| written(text, Side::Network);
    for (octets, fault, anew) in [
        (text("RR 0 F"), Fault::UnaskedAnswer, false),
        (text("DM F"), Fault::UnaskedRefusal, false),
        (text("UA F"), Fault::UnaskedAcknowledgement, false),
        (text("UA"), Fault::UnaskedAcknowledgement, false),
        (text("DM"), Fault::Lost, true),
        (text("RR 1"), Fault::WrongNumber, true),
        (text("REJ 127"), Fault::WrongNumber, true),
        (text("I 5,2 x"), Fault::WrongNumber, true),
        (text("FRMR"), Fault::Rejected, true),
        (frame(&[0, 1, 0xf1]), Fault::NotAFrame(NotAFrame::Undefined), true),
        (frame(&[2, 1, 0x7f, 0]), Fault::NotAFrame(NotAFrame::Informed), true),
        (frame(&[0, 1, 0x01, 0, 0]), Fault::NotAFrame(NotAFrame::Size), true),
        ([&[2, 1, 0, 0][..], &[0; 261]].concat(), Fault::TooLong, true),
        (written("I 0,0 x", Side::User), Fault::SameSide, true),
        (written("SABME P", Side::User), Fault::SameSide, true),
    ] {
        let mut t = Ladder::up();
        t.link.receive(t.now, &octets, &mut t.out);
        assert!(t.out.contains(&Output::Fault(fault)), "{octets:x?}: {:?}", t.out);
        assert_eq!(t.link.condition() == Condition::Establishing, anew, "{fault}");
        t.hears("UA F");
        t.out.clear();
        t.says("still there");
        assert!(!t.out.is_empty(), "{fault}");
    }
}

#[test]
fn a_far_end_of_our_own_side_is_named_before_anything_comes_up() {
    let mut t = Ladder::new();
    t.link.receive(t.now, &written("SABME P", Side::User), &mut t.out);
    t.sees(0, "fault: SameSide");
    assert_eq!(t.link.fault().map(Fault::guilty), Some(Guilty::Configuration));
    // A line that is looped back brings it each second.
    t.link.receive(t.now, &written("SABME P", Side::User), &mut t.out);
    assert!(t.out.is_empty(), "{:?}", t.out);
}

#[test]
fn other_links_of_the_channel_are_none_of_ours() {
    let mut t = Ladder::up();
    for address in [Address { sapi: 0, tei: 127 }, Address { sapi: 63, tei: 0 }, Address { sapi: 0, tei: 1 }] {
        let control = Control::U { kind: Unnumbered::Disc, poll: true };
        t.link.receive(t.now, &Frame::new(Side::Network, Role::Command, address, control).write(), &mut t.out);
    }
    for octets in [&[][..], &[0], &[1, 1, 1]] {
        t.link.receive(t.now, octets, &mut t.out);
    }
    t.sees(0, "");
}

#[test]
fn what_waits_for_a_busy_far_end_has_an_end() {
    let mut t = Ladder::up();
    t.hears("RNR 0");
    let sent = (0..2000).filter(|_| t.link.send(t.now, b"x".into(), &mut t.out).is_ok()).count();
    assert_eq!(sent, LONGEST_QUEUE);
    assert_eq!(t.link.send(t.now, b"x".into(), &mut t.out), Err(Unsent::Full));
    assert_eq!(t.link.send(t.now, vec![0; 261], &mut t.out), Err(Unsent::TooLong));
}

#[test]
fn in_the_place_of_libpris_user_side_the_same_frames_come() {
    let message = |octets: &Vec<u8>| {
        let frame = Frame::read(octets).unwrap();
        matches!(frame.control, Control::I { .. }).then(|| (octets[2], frame.information.to_vec()))
    };
    let mut compared = 0;
    for call in libpri() {
        let mut link = Link::new(Side::User, Parameters::default());
        let mut out = Vec::new();
        link.line_up(Instant::START, &mut out);
        for (from, octets) in &call {
            let frame = Frame::read(octets).unwrap();
            match (from, frame.control) {
                (Side::Network, _) => link.receive(Instant::START, octets, &mut out),
                (Side::User, Control::I { .. }) => {
                    link.send(Instant::START, frame.information.to_vec(), &mut out).unwrap();
                }
                _ => {}
            }
        }
        let ours = out.into_iter().filter_map(|output| match output {
            Output::Frame(octets) => Some(octets),
            _ => None,
        });
        let theirs = call.into_iter().filter(|(from, _)| *from == Side::User).map(|(_, octets)| octets);
        let (ours, theirs) = (ours.collect::<Vec<_>>(), theirs.collect::<Vec<_>>());
        // When in between the two acknowledge depends on their pace; the last word does not.
        assert_eq!(ours.last(), theirs.last());
        assert!(ours.iter().filter_map(message).eq(theirs.iter().filter_map(message)));
        compared += theirs.iter().filter_map(message).count();
    }
    assert!(compared >= 28, "{compared}");
}

/// Two links, and between them a line that loses frames but neither doubles nor reorders them.
struct Line {
    ends: [Link; 2],
    now: Instant,
    loss: u64,
    random: Random,
    under_way: VecDeque<(Instant, usize, Vec<u8>)>,
    sent: [Vec<u32>; 2],
    /// Ordered while a link was begun anew: what comes after the break.
    held: [Vec<u32>; 2],
    heard: [Vec<u32>; 2],
    interruptions: u32,
    downs: u32,
}

impl Line {
    fn new(loss: u64, seed: u64) -> Line {
        let end = |side| Link::new(side, Parameters::default());
        let mut line = Line {
            ends: [end(Side::User), end(Side::Network)],
            now: Instant::START,
            loss,
            random: Random::test(seed),
            under_way: VecDeque::new(),
            sent: Default::default(),
            held: Default::default(),
            heard: Default::default(),
            interruptions: 0,
            downs: 0,
        };
        for end in 0..2 {
            let mut out = Vec::new();
            line.ends[end].line_up(line.now, &mut out);
            line.carry(end, out);
        }
        line
    }

    fn carry(&mut self, end: usize, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Frame(_) if self.random.below(100) < self.loss => {}
                Output::Frame(octets) => {
                    self.under_way.push_back((self.now + Duration::from_millis(5), 1 - end, octets));
                }
                Output::Data(payload) => {
                    self.heard[end].push(u32::from_be_bytes(payload.try_into().unwrap()));
                }
                Output::Reset { lost } => self.lose(end, lost),
                Output::Down(_) => self.lose(end, usize::MAX),
                Output::Up | Output::Fault(_) => {}
            }
        }
    }

    /// Told that it is lost, nobody expects it any more; it may have arrived.
    fn lose(&mut self, end: usize, lost: usize) {
        self.interruptions += 1;
        let (heard, held) = (&self.heard[1 - end], mem::take(&mut self.held[end]));
        let sure = self.sent[end].len().saturating_sub(lost);
        let unsure = self.sent[end].split_off(sure);
        self.sent[end].extend(unsure.into_iter().filter(|number| heard.contains(number)));
        if lost < usize::MAX {
            self.sent[end].extend(held);
        } else {
            self.downs += 1;
        }
    }

    fn order(&mut self, end: usize, number: u32) {
        let mut out = Vec::new();
        let to = if self.ends[end].condition() == Condition::Establishing { &mut self.held } else { &mut self.sent };
        if self.ends[end].send(self.now, number.to_be_bytes().into(), &mut out).is_ok() {
            to[end].push(number);
        }
        self.carry(end, out);
    }

    fn run(&mut self, until: Instant) {
        loop {
            let timer = (0..2).filter_map(|end| Some((self.ends[end].timeout()?, end))).min();
            let frame = self.under_way.front().map(|(at, ..)| *at);
            let next = timer.map(|(at, _)| at).into_iter().chain(frame).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = next;
            let mut out = Vec::new();
            if frame == Some(next) {
                let (_, end, octets) = self.under_way.pop_front().unwrap();
                self.ends[end].receive(self.now, &octets, &mut out);
                self.carry(end, out);
            } else if let Some((_, end)) = timer {
                self.ends[end].tick(self.now, &mut out);
                self.carry(end, out);
            }
        }
        self.now = until;
    }
}

#[test]
fn on_a_line_that_loses_up_to_a_third_all_arrives_once_and_in_order_or_its_loss_is_told() {
    for loss in [0, 1, 10, 30] {
        let (mut interruptions, mut downs, mut arrived) = (0, 0, 0);
        for seed in 0..200 {
            let mut line = Line::new(loss, seed);
            for number in 0..60 {
                let pause = line.random.below(900);
                line.run(line.now + Duration::from_millis(pause));
                let end = line.random.below(2) as usize;
                for burst in 0..1 + line.random.below(10) as u32 {
                    line.order(end, number * 16 + burst);
                }
            }
            line.loss = 0;
            line.run(line.now + Duration::from_secs(60));
            for end in 0..2 {
                assert_eq!(line.ends[end].condition(), Condition::Up);
                assert_eq!(line.heard[1 - end], line.sent[end], "{loss} %, seed {seed}");
                arrived += line.heard[end].len();
            }
            (interruptions, downs) = (interruptions + line.interruptions, downs + line.downs);
        }
        println!("{loss} % lost each way: {arrived} arrived, {interruptions} interruptions, {downs} of them downs");
        assert!(loss > 0 || interruptions == 0, "{interruptions}");
        assert!(arrived > if loss == 30 { 20_000 } else { 50_000 });
    }
}

#[test]
fn any_octets_leave_a_link_that_can_still_come_up() {
    bolero::check!().with_type::<(bool, Vec<(u16, Vec<u8>)>)>().for_each(|(network, frames)| {
        let side = if *network { Side::Network } else { Side::User };
        let mut link = Link::new(side, Parameters::default());
        let (mut now, mut out) = (Instant::START, Vec::new());
        link.line_up(now, &mut out);
        for (pause, octets) in frames {
            now = now + Duration::from_millis(u64::from(*pause));
            link.tick(now, &mut out);
            // Half of them at least have our address.
            let octets =
                if octets.len() % 2 == 0 { octets.clone() } else { [&[octets[0] & 2, 1], &octets[1..]].concat() };
            link.receive(now, &octets, &mut out);
            let _ = link.send(now, vec![7], &mut out);
        }
        link.establish(now, &mut out);
        link.receive(now, &written("SABME P", side.other()), &mut out);
        link.receive(now, &written("UA F", side.other()), &mut out);
        out.clear();
        link.receive(now, &written("I 0,0 P x", side.other()), &mut out);
        assert!(out.contains(&Output::Data(b"x".into())), "{out:?}");
    });
}
