//! Q.931 as this box writes it, read by tshark: each element means to it what it means to us, and it finds nothing wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panic")]

use std::process::Command;
use std::sync::Arc;

use demarc::cause::Cause as Value;
use demarc::isdn::call::{Access, Answer, Call, Order, Output, Setup, Word};
use demarc::private::Private;
use demarc::session::Codec;
use demarc::time::Instant;
use demarc::wire::q931::{
    Bearer, Builder, CallState, Called, Calling, Cause, ChangeStatus, Channel, Choice, Connected, Dialect, Heard, Kind,
    Location, Maintenance, Message, Name, Notification, Number, NumberType, Party, Plan, Presentation, Progress,
    Reason, Redirecting, Reference, Restart, Screening, SendingComplete, Shown, Side, Slots, UserUser,
};

mod lab;

/// A frame of LAPD from the network around a message, as a capture file has it (link type 203).
fn capture(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 203] {
        file.extend(word.to_le_bytes());
    }
    for message in messages {
        let length = u32::try_from(4 + message.len()).unwrap();
        for word in [0, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend([0x02, 0x01, 0x00, 0x00]);
        file.extend(message);
    }
    file
}

/// What tshark calls these fields of each message, and its complaints last.
fn read_by_tshark(lab: &lab::Lab, messages: &[Vec<u8>], fields: &[&str]) -> Vec<Vec<String>> {
    let file = lab.path("calls.pcap");
    std::fs::write(&file, capture(messages)).unwrap();
    let mut tshark = Command::new("tshark");
    tshark.args(["-n", "-r"]).arg(&file).args(["-T", "fields", "-E", "separator=|"]);
    for field in fields.iter().chain(&["_ws.expert.message", "_ws.malformed"]) {
        tshark.args(["-e", field]);
    }
    let output = tshark.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}

fn national(digits: &str) -> Number {
    Number::new(NumberType::NATIONAL, digits)
}

fn setup(dialect: Dialect) -> Vec<u8> {
    let redirecting =
        Redirecting { number: national("4255550177"), shown: Some(Shown::default()), reason: Some(Reason::BUSY) };
    let name = Name { party: Party::Calling, text: Private("Alice".into()), restricted: false };
    let facility = match dialect {
        Dialect::Qsig => Some(name.facility(1, true)),
        // tshark takes ETSI's operation 15 for one of QSIG's, in libpri's frames as well: it is held to those instead.
        _ => None,
    };
    Builder::new(Reference { value: 0x1234, to_origin: false }, Kind::Setup)
        .with(&Bearer::speech(Codec::Pcma))
        .with(&Channel::slot(None, 17, true))
        .with_all(&facility)
        .with(&Progress::new(Location::PRIVATE_NEAR, Heard::CALLING_NOT_ISDN))
        .with_all(&dialect.display(Side::Network, "Alice"))
        .with(&Calling {
            number: Number::new(NumberType::INTERNATIONAL, "12065550123"),
            shown: Some(Shown { presentation: Presentation::Restricted, screening: Screening::Network }),
        })
        .with(&Called(Number { kind: NumberType::SUBSCRIBER, plan: Plan::PRIVATE, digits: Private("5550100".into()) }))
        .with_all((!dialect.diverts_by_facility()).then_some(&redirecting))
        .with(&UserUser(Private(b"\x04hello".to_vec())))
        .with_all(dialect.says_sending_complete().then_some(&SendingComplete))
        .octets()
}

#[test]
fn every_setup_means_to_tshark_what_it_means_to_us() {
    if !lab::installed("tshark", "tshark") {
        return;
    }
    let lab = lab::Lab::new();
    let fields = [
        "q931.message_type",
        "q931.call_ref",
        "q931.uil1",
        "q931.channel.number",
        "q931.channel.exclusive",
        "q931.calling_party_number.digits",
        "q931.presentation_ind",
        "q931.called_party_number.digits",
        "q931.progress_indicator.description",
    ];
    let messages = Dialect::ALL.map(setup);
    for (dialect, row) in Dialect::ALL.iter().zip(read_by_tshark(&lab, &messages, &fields)) {
        let shown = if dialect.diverts_by_facility() { "0x01" } else { "0x01,0x00" };
        let expected = ["0x05", "1234", "0x03", "17", "1", "12065550123", shown, "5550100", "0x03", "", ""];
        assert_eq!(row, expected, "{dialect:?}");
    }
    let told = [
        "q931.redirecting_number.digits",
        "q931.display_information",
        "qsig.na.namePresentationAllowedSimple",
        "q931.sending_complete",
    ];
    for (dialect, row) in Dialect::ALL.iter().zip(read_by_tshark(&lab, &messages, &told)) {
        let alice = "Alice";
        let [number, display, name] = match dialect {
            Dialect::EuroIsdn => ["", "Alice", ""],
            Dialect::Qsig => ["", "", alice],
            _ => ["4255550177", "Alice", ""],
        };
        assert_eq!(row[0], number, "{dialect:?}");
        assert!(row[1].contains(display), "{dialect:?}: {row:?}");
        assert_eq!((row[2].as_str(), !row[3].is_empty()), (name, *dialect == Dialect::EuroIsdn), "{dialect:?}");
    }
}

#[test]
fn all_other_elements_mean_the_same_to_tshark() {
    if !lab::installed("tshark", "tshark") {
        return;
    }
    let lab = lab::Lab::new();
    let (call, us) = (Reference { value: 7, to_origin: true }, Location::PRIVATE_NEAR);
    let map = Channel {
        interface: Some(2),
        exclusive: true,
        choice: Choice::Map(Slots { bits: 1 << 1 | 1 << 24, octets: 3 }),
    };
    let cases: [(Builder, &str, &str); 7] = [
        (
            Builder::new(call, Kind::Connect).with(&Connected { number: national("4255550100"), shown: None }),
            "q931.connected_number.digits",
            "4255550100",
        ),
        (
            Builder::new(call, Kind::Release).with(&Cause::new(us, Value::TIMER).about(*b"303")),
            "q931.cause_call.rec_timer",
            "303",
        ),
        (
            Builder::new(call, Kind::Status).with(&Cause::new(us, Value(30))).with(&CallState::ACTIVE),
            "q931.call_state",
            "0x0a",
        ),
        (
            Builder::new(Reference::GLOBAL, Kind::Restart).with(&map).with(&Restart::Channels),
            "q931.channel.slot_map",
            "0x80,0x00,0x01",
        ),
        (Builder::new(Reference::GLOBAL, Kind::RestartAck).with(&Restart::Interface), "q931.restart_indicator", "0x06"),
        (
            Builder::new(Reference::GLOBAL, Kind::Service(Maintenance::Att)).with(&ChangeStatus::OutOfService),
            "q931.extension_ind_new_status",
            "2",
        ),
        (
            Builder::new(call, Kind::Information).with(&Called(Number::new(NumberType::UNKNOWN, "42"))),
            "q931.called_party_number.digits",
            "42",
        ),
    ];
    for (message, field, expected) in cases {
        let rows = read_by_tshark(&lab, &[message.octets()], &[field]);
        assert_eq!(rows[0].join("|"), format!("{expected}||"), "{field}");
    }
}

/// Two calls of ours back to back; each message once around.
struct Pair {
    calls: [Option<Call>; 2],
    access: [Arc<Access>; 2],
    said: Vec<Vec<u8>>,
}

impl Pair {
    fn perform(&mut self, at: usize, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Message(octets) => {
                    self.said.push(octets.clone());
                    self.hears(1 - at, &octets);
                }
                Output::Word(Word::Setup(_)) => {
                    self.orders(at, Order::Alert { audible: true });
                    let connected = Connected { number: national("4255550100"), shown: Some(Shown::default()) };
                    let name = Name { party: Party::Connected, text: Private("Bob".into()), restricted: false };
                    let user_user = Some(UserUser(Private(b"\x04hello".to_vec())));
                    let answer = Answer { connected: Some(connected), name: Some(name), user_user };
                    self.orders(at, Order::Answer(Box::new(answer)));
                }
                _ => {}
            }
        }
    }

    fn hears(&mut self, at: usize, octets: &[u8]) {
        let (message, mut out) = (Message::read(octets).unwrap(), Vec::new());
        match &mut self.calls[at] {
            Some(call) => call.receive(Instant::START, &message, &mut out),
            empty => {
                let (access, slot) = (self.access[at].clone(), message.get().unwrap());
                *empty = Some(Call::incoming(Instant::START, access, &message, slot, &mut out).unwrap());
            }
        }
        self.perform(at, out);
    }

    fn orders(&mut self, at: usize, order: Order) {
        let mut out = Vec::new();
        self.calls[at].as_mut().unwrap().order(Instant::START, order, &mut out);
        self.perform(at, out);
    }
}

#[test]
fn whole_calls_of_ours_are_flawless_to_tshark_in_every_dialect() {
    if !lab::installed("tshark", "tshark") {
        return;
    }
    let lab = lab::Lab::new();
    for (dialect, side) in
        Dialect::ALL.into_iter().flat_map(|dialect| [(dialect, Side::User), (dialect, Side::Network)])
    {
        let access = [side, side.other()].map(|side| Arc::new(Access::new(side, dialect, Codec::Pcmu)));
        let mut pair = Pair { calls: [None, None], access, said: Vec::new() };
        let calling = Calling { number: national("2065550123"), shown: Some(Shown::default()) };
        let name = Name { party: Party::Calling, text: Private("Alice".into()), restricted: false };
        let setup = Setup {
            calling: Some(calling),
            name: Some(name),
            ..Setup::new(Bearer::speech(Codec::Pcmu), national("4255550100"))
        };
        let (mut out, slot) = (Vec::new(), Channel::slot(None, 3, true));
        pair.calls[0] = Some(Call::outgoing(Instant::START, pair.access[0].clone(), 7, slot, &setup, &mut out));
        pair.perform(0, out);
        for unknown in ["08028007 42", "08028007 07", "08028007 0f 5501ff"] {
            let octets: Vec<u8> = unknown
                .split(' ')
                .flat_map(|part| {
                    (0..part.len()).step_by(2).map(|at| u8::from_str_radix(&part[at..at + 2], 16).unwrap())
                })
                .collect();
            pair.hears(0, &octets);
        }
        pair.orders(0, Order::Notify(Notification(1)));
        pair.orders(1, Order::UserUser(UserUser(Private(b"\x04bye".to_vec()))));
        pair.orders(1, Order::Release { cause: Value::BUSY, tones: false });
        assert!(pair.calls.iter().all(|call| call.as_ref().unwrap().is_over()), "{dialect:?}");
        let rows = read_by_tshark(&lab, &pair.said, &["q931.message_type"]);
        let kinds: Vec<u8> = rows.iter().map(|row| u8::from_str_radix(&row[0][2..], 16).unwrap()).collect();
        assert_eq!(kinds, pair.said.iter().map(|octets| octets[4]).collect::<Vec<_>>(), "{dialect:?}");
        // It does not know National ISDN's "information follows", not libpri's either.
        let flawless = |row: &Vec<String>| row[1..] == ["", ""] || row[1] == "Undecoded INV: 1.2.840.10005.0.4";
        assert!(kinds.len() >= 12 && rows.iter().all(flawless), "{dialect:?}: {rows:?}");
    }
}
