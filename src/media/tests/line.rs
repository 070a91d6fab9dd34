//! A call between packets and a timeslot of a simulated E1, in real time.

use std::thread;
use std::time::Instant;

use firmware_io::simulated::{Cable, Pacer};
use firmware_io::{Bearer, Law, Line, Span};

use super::*;
use crate::session::Timeslot;

/// What both ends say for so long.
const LENGTH: Duration = Duration::from_millis(700);

/// Codes that come round after a prime number of them.
fn code(at: usize) -> u8 {
    (at % 113) as u8
}

/// Does this count on for so long somewhere?
fn counts(codes: &[u8], length: usize) -> bool {
    codes.windows(length).any(|window| {
        let first = usize::from(window[0]);
        window.iter().enumerate().all(|(at, octet)| *octet == code(first + at))
    })
}

/// What the far end of the line and side A hear while both count.
fn talk(call: &mut Call, far: &mut dyn Bearer) -> (Vec<u8>, Vec<u8>) {
    let (begun, mut on_line, mut in_packets) = (Instant::now(), Vec::new(), Vec::new());
    let (mut said, mut sent) = (0, 0);
    call.a.rtp.set_nonblocking(true).unwrap();
    while begun.elapsed() < LENGTH {
        let passed = begun.elapsed();
        // 10 ms in advance.
        while said < 8 * (passed.as_millis() as usize + 10) {
            said += far.write(&[code(said)]).unwrap();
        }
        let mut heard = [0; 400];
        let count = far.read(&mut heard).unwrap();
        on_line.extend(&heard[..count]);
        if Duration::from_millis(20) * sent <= passed {
            let payload: Vec<u8> = (0..160).map(|at| code(160 * sent as usize + at)).collect();
            call.a.send(8, &payload);
            sent += 1;
        }
        let mut datagram = [0; 300];
        while let Ok(length) = call.a.rtp.recv(&mut datagram) {
            in_packets.extend(&datagram[12..length]);
        }
        thread::sleep(Duration::from_millis(1));
    }
    (on_line, in_packets)
}

#[test]
fn sound_crosses_between_packets_and_a_timeslot() {
    for (test, socket_io) in [(40, SocketIo::Auto), (41, SocketIo::Epoll)] {
        let pacer = Pacer::start(|| {}).unwrap();
        let (cable, mut near, mut far_end) = Cable::new(Line::E1, 7).unwrap();
        let timeslot = Line::E1.timeslot(5).unwrap();
        let mut far = far_end.bearer(timeslot).unwrap();
        pacer.add(cable);
        let mut call = Call::with(test, socket_io);
        call.engine.seize(ID, Side::B, near.bearer(timeslot).unwrap(), Law::A).unwrap();
        for side in &mut call.session.sides {
            side.as_mut().unwrap().codec = Codec::Pcma;
            side.as_mut().unwrap().payload_type = 8;
        }
        let line = call.session.sides[1].as_mut().unwrap();
        (line.remote, line.digits) = (Remote::Timeslot(Timeslot::default()), Digits::Tones);
        call.apply();
        let (on_line, in_packets) = talk(&mut call, far.as_mut());
        assert!(on_line.len() > 8 * 600 && counts(&on_line, 2400), "{} octets on the line", on_line.len());
        assert!(counts(&in_packets, 2400), "{} octets in packets", in_packets.len());
        assert!(near.bearer(timeslot).is_err(), "it is in use");
        call.engine.order(MediaOrder::Close(ID)).unwrap();
        assert!(matches!(report(&mut call.reports), MediaReport::Closed(ID, _)));
        let home: Vec<_> = call.engine.bearers().map(|(id, side, _)| (id, side)).collect();
        assert_eq!(home, [(ID, Side::B)]);
        assert!(near.bearer(timeslot).is_ok(), "it is free");
    }
}

#[test]
fn a_timeslot_moves_from_call_to_call() {
    let pacer = Pacer::start(|| {}).unwrap();
    let (cable, mut near, _far) = Cable::new(Line::T1, 7).unwrap();
    let timeslot = Line::T1.timeslot(1).unwrap();
    pacer.add(cable);
    let mut call = Call::new(42);
    let home = |engine: &mut Engine| {
        for _ in 0..1000 {
            if let Some(bearer) = engine.bearers().next() {
                return bearer;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not come home");
    };
    call.engine.seize(ID, Side::A, near.bearer(timeslot).unwrap(), Law::Mu).unwrap();
    call.engine.release_bearer(ID, Side::A).unwrap();
    let (id, side, bearer) = home(&mut call.engine);
    assert_eq!((id, side), (ID, Side::A));
    call.engine.seize(SessionId(99), Side::B, bearer, Law::Mu).unwrap();
    let (id, _, bearer) = home(&mut call.engine);
    assert_eq!(id, SessionId(99), "nobody has that session");
    call.engine.seize(ID, Side::B, bearer, Law::Mu).unwrap();
    call.engine.stop();
    assert!(near.bearer(timeslot).is_ok(), "the engine's end frees it");
}
