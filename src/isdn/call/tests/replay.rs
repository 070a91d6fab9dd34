//! libpri's frames, as the network's side of our calls.

use super::*;

const TRACES: [(Dialect, &str); 7] = [
    (Dialect::Ess4, include_str!("../../../../tests/vectors/q931/4ess.txt")),
    (Dialect::Ess5, include_str!("../../../../tests/vectors/q931/5ess.txt")),
    (Dialect::Dms100, include_str!("../../../../tests/vectors/q931/dms100.txt")),
    (Dialect::EuroIsdn, include_str!("../../../../tests/vectors/q931/euroisdn.txt")),
    (Dialect::Ni2, include_str!("../../../../tests/vectors/q931/ni1.txt")),
    (Dialect::Ni2, include_str!("../../../../tests/vectors/q931/ni2.txt")),
    (Dialect::Qsig, include_str!("../../../../tests/vectors/q931/qsig.txt")),
];

/// Messages of a trace: from the network, from its user.
fn messages(trace: &str) -> [Vec<Vec<u8>>; 2] {
    let sent_by = |who: &str| {
        let frames = trace.lines().filter(|line| line.contains(who)).map(|line| hex(line.rsplit(' ').next().unwrap()));
        frames.filter(|frame| frame[2] & 1 == 0).map(|frame| frame[4..].to_vec()).collect()
    };
    [sent_by(" tx "), sent_by(" rx ")]
}

#[test]
fn we_are_libpris_user_in_seven_traces() {
    for (dialect, trace) in TRACES {
        let [network, user] = messages(trace);
        let (mut now, mut out) = (Instant::START, Vec::new());
        let mut spoken: Vec<String> = Vec::new();
        let mut call: Option<Call> = None;
        let access = Arc::new(Access::new(Side::User, dialect, Codec::Pcmu));
        for octets in &network {
            let message = Message::read(octets).unwrap();
            match &mut call {
                None => {
                    let channel = message.get().unwrap();
                    call = Some(Call::incoming(now, access.clone(), &message, channel, &mut out).unwrap());
                }
                Some(call) => call.receive(now, &message, &mut out),
            }
            let call = call.as_mut().unwrap();
            if out.iter().any(|output| matches!(output, Output::Word(Word::Setup(_)))) {
                call.order(now, Order::Alert { audible: false }, &mut out);
                call.order(now, Order::Answer(Box::default()), &mut out);
            }
            spoken.extend(out.drain(..).map(|output| said(&output)));
            now = now + Duration::from_millis(20);
        }
        assert!(call.unwrap().is_over(), "{dialect:?}");
        // What the other leg hears.
        let words: Vec<&String> = spoken.iter().filter(|line| !line.starts_with("->")).collect();
        let name = trace.contains("1c139f8b0100a10d").then_some("Name Alice");
        let named = if dialect == Dialect::Qsig || trace.contains("416c696365") { " from Alice" } else { "" };
        let setup = format!("Setup 4255550100{named}");
        let expected = [Some(setup.as_str()), name, Some("Released #16"), Some("slot freed")];
        assert_eq!(words, expected.into_iter().flatten().collect::<Vec<_>>(), "{dialect:?}");
        // What the network hears is what libpri's own user said; that one names the timeslot once more in CONNECT.
        let ours: Vec<&String> = spoken.iter().filter(|line| line.starts_with("->")).collect();
        let theirs: Vec<String> =
            user.iter().map(|octets| format!("-> {}", told(octets)).replace("CONNECT slot [3]", "CONNECT")).collect();
        assert_eq!(ours, theirs.iter().collect::<Vec<_>>(), "{dialect:?}");
    }
}
