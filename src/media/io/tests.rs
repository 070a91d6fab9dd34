//! Both forms of [`Sockets`] do the same.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::poll::Poll;
use super::ring::Ring;
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn wake() -> Arc<EventFd> {
    Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).unwrap())
}

fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// A socket of a machine's, as number `at`, and where it is.
fn watched(sockets: &mut impl Sockets, at: usize, address: &str) -> SocketAddr {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    let local = socket.local_addr().unwrap();
    sockets.watch(at, socket).unwrap();
    local
}

/// Loopback delivers at once: what is sent waits already.
fn send(from: &UdpSocket, to: SocketAddr, octets: &[&[u8]]) {
    octets.iter().for_each(|octets| assert_eq!(from.send_to(octets, to).unwrap(), octets.len()));
}

/// So many datagrams: number of the socket and octets.
fn collect(sockets: &mut impl Sockets, count: usize) -> Vec<(usize, Vec<u8>)> {
    let (mut came, since) = (Vec::new(), Instant::now());
    while came.len() < count && since.elapsed() < PATIENCE {
        sockets.wait(None, Some(Duration::from_millis(100)));
        while let Some(Arrival { at, datagram, .. }) = sockets.next() {
            came.push((at, datagram.buffer[..datagram.length].to_vec()));
        }
    }
    came
}

/// Each of these with epoll, and with io_uring where the kernel has it.
macro_rules! on_both {
    ($($(#[$attribute:meta])* fn $name:ident($sockets:ident, $wake:ident) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                fn run(mut $sockets: impl Sockets, $wake: Arc<EventFd>) $body

                $(#[$attribute])*
                #[test]
                fn by_epoll() {
                    let wake = wake();
                    run(Poll::new(8, &wake).unwrap(), wake);
                }

                $(#[$attribute])*
                #[test]
                fn by_io_uring() {
                    let wake = wake();
                    match Ring::new(8, &wake) {
                        Ok(ring) => run(ring, wake),
                        Err(error) => eprintln!("skipped: no io_uring here: {error}"),
                    }
                }
            }
        )*
    };
}

on_both! {
    fn what_came_is_changed_in_place_and_passed_on(sockets, _wake) {
        for (at, any) in [(0, "127.0.0.1:0"), (2, "[::1]:0")] {
            let (peer, other) = (socket(any), socket(any));
            let local = watched(&mut sockets, at, any);
            let out = watched(&mut sockets, at + 1, any);
            send(&peer, local, &[b"one", b"", b"three"]);
            let mut seen = Vec::new();
            while seen.len() < 3 {
                sockets.wait(None, Some(PATIENCE));
                while let Some(Arrival { at: number, datagram, post }) = sockets.next() {
                    assert_eq!((number, datagram.from), (at, peer.local_addr().unwrap()));
                    let length = datagram.length;
                    seen.push(datagram.buffer[..length].to_vec());
                    datagram.buffer[length] = b'!';
                    match length {
                        0 => post.send(at, peer.local_addr().unwrap(), b"empty"),
                        _ => sockets.pass(at + 1, 1..length + 1, other.local_addr().unwrap()),
                    }
                }
            }
            sockets.wait(None, Some(Duration::ZERO));
            assert_eq!(seen, [&b"one"[..], b"", b"three"]);
            let mut octets = [0; 16];
            for expected in [&b"ne!"[..], b"hree!"] {
                let (length, from) = other.recv_from(&mut octets).unwrap();
                assert_eq!((&octets[..length], from), (expected, out));
            }
            let (length, from) = peer.recv_from(&mut octets).unwrap();
            assert_eq!((&octets[..length], from), (&b"empty"[..], local));
        }
    }

    fn whose_datagram_comes_next_is_foretold(sockets, _wake) {
        let peer = socket("127.0.0.1:0");
        let locals = [5, 1, 3, 7].map(|at| watched(&mut sockets, at, "127.0.0.1:0"));
        locals.iter().for_each(|local| send(&peer, *local, &[b"one"]));
        let (mut came, mut foretold) = (Vec::new(), Vec::new());
        while came.len() < 4 {
            sockets.wait(None, Some(PATIENCE));
            loop {
                foretold.extend(sockets.coming(1).map(|at| (came.len() + 1, at)));
                let Some(arrival) = sockets.next() else { break };
                came.push(arrival.at);
            }
        }
        assert!(!foretold.is_empty());
        foretold.into_iter().for_each(|(place, at)| assert_eq!(came.get(place), Some(&at), "{came:?}"));
    }

    fn all_of_many_come_and_each_once(sockets, _wake) {
        let peer = socket("127.0.0.1:0");
        let locals = [0, 1, 2].map(|at| watched(&mut sockets, at, "127.0.0.1:0"));
        // More than there are buffers, in portions that a socket holds.
        let mut came = Vec::new();
        for portion in 0..20u8 {
            locals.iter().for_each(|local| (0..50).for_each(|packet| send(&peer, *local, &[&[portion, packet]])));
            came.extend(collect(&mut sockets, 150));
        }
        for at in 0..3 {
            let of_socket = came.iter().filter(|(number, _)| *number == at).map(|(_, octets)| octets.clone());
            let expected = (0..20).flat_map(|portion| (0..50).map(move |packet| vec![portion, packet]));
            assert!(of_socket.eq(expected), "in order and none twice");
        }
    }

    fn what_waits_behind_full_buffers_comes_when_there_is_room(sockets, _wake) {
        let peer = socket("127.0.0.1:0");
        let locals = [0, 1, 2, 3, 4, 5].map(|at| watched(&mut sockets, at, "127.0.0.1:0"));
        locals.iter().for_each(|local| send(&peer, *local, &[&b"x"[..]; 150]));
        assert_eq!(collect(&mut sockets, 900).len(), 900);
        send(&peer, locals[3], &[b"y"]);
        assert_eq!(collect(&mut sockets, 1), [(3, b"y".to_vec())]);
    }

    fn a_datagram_that_is_too_long_counts_as_empty(sockets, _wake) {
        let peer = socket("127.0.0.1:0");
        let local = watched(&mut sockets, 0, "127.0.0.1:0");
        send(&peer, local, &[&[7; LONGEST + 1], &[7; LONGEST]]);
        let lengths: Vec<_> = collect(&mut sockets, 2).into_iter().map(|(_, octets)| octets.len()).collect();
        assert_eq!(lengths, [0, LONGEST]);
    }

    fn one_refused_destination_does_not_stop_the_rest(sockets, _wake) {
        let peer = socket("127.0.0.1:0");
        let local = watched(&mut sockets, 0, "127.0.0.1:0");
        send(&peer, local, &[b"a", b"b", b"c"]);
        sockets.wait(None, Some(PATIENCE));
        let mut to = ["[::1]:9".parse().unwrap(), peer.local_addr().unwrap(), peer.local_addr().unwrap()].into_iter();
        let mut ranges = [0..1, 0..BUFFER + 1, 0..1].into_iter();
        while sockets.next().is_some() {
            sockets.pass(0, ranges.next().unwrap(), to.next().unwrap());
        }
        sockets.post().send(5, peer.local_addr().unwrap(), b"from no socket");
        sockets.post().send(0, peer.local_addr().unwrap(), &[0; BUFFER + 1]);
        sockets.wait(None, Some(Duration::ZERO));
        let mut octets = [0; 16];
        assert_eq!((peer.recv(&mut octets).unwrap(), octets[0]), (1, b'c'));
    }

    fn a_call_ends_the_wait_and_so_does_the_time(sockets, wake) {
        wake.write(1).unwrap();
        assert_eq!(sockets.wait(None, Some(PATIENCE)), Woken { packets: 0, called: true });
        wake.read().unwrap();
        assert_eq!(sockets.wait(None, Some(Duration::from_millis(2))), Woken::default());
        wake.write(1).unwrap();
        assert!(sockets.wait(None, None).called, "and again");
    }

    fn lines_that_are_ready_are_named(sockets, _wake) {
        let lines = [wake(), wake()];
        lines.iter().zip([5, 2]).for_each(|(line, number)| sockets.attend(number, line.as_fd()).unwrap());
        let peer = socket("127.0.0.1:0");
        let local = watched(&mut sockets, 2, "127.0.0.1:0");
        let short = Some(Duration::from_millis(20));
        for round in 0..3 {
            lines[1].write(1).unwrap();
            assert_eq!(sockets.wait(None, Some(PATIENCE)), Woken::default(), "a line is no packet");
            assert_eq!((sockets.ready(), sockets.ready()), (Some(2), None), "round {round}");
            lines[1].read().unwrap();
            sockets.wait(None, short);
            assert_eq!(sockets.ready(), None);
        }
        lines.iter().for_each(|line| assert_eq!(line.write(1).unwrap(), 8));
        send(&peer, local, &[b"x"]);
        let (mut named, mut packets) = (Vec::new(), 0);
        while named.len() < 2 || packets < 1 {
            sockets.wait(None, Some(PATIENCE));
            while let Some(line) = sockets.ready() {
                lines[usize::from(line == 2)].read().unwrap();
                named.push(line);
            }
            packets += std::iter::from_fn(|| sockets.next().map(drop)).count();
        }
        named.sort();
        assert_eq!(named, [2, 5]);
        sockets.leave(5, lines[0].as_fd());
        lines[0].write(1).unwrap();
        sockets.wait(None, short);
        assert_eq!(sockets.ready(), None, "it is left");
        sockets.attend(5, lines[0].as_fd()).unwrap();
        sockets.wait(None, Some(PATIENCE));
        assert_eq!(sockets.ready(), Some(5), "and is there again");
    }

    fn packets_gather(sockets, _wake) {
        let peer = socket("127.0.0.1:0");
        let local = watched(&mut sockets, 0, "127.0.0.1:0");
        let (gather, since) = (Gather { packets: 5, most: Duration::from_millis(20) }, Instant::now());
        sockets.wait(Some(gather), Some(Duration::from_millis(50)));
        assert!(since.elapsed() >= Duration::from_millis(20), "nothing came");
        send(&peer, local, &[b"1", b"2", b"3"]);
        assert!(sockets.wait(Some(gather), None).packets > 0, "and what came is not waited for again");
    }

    fn a_settled_socket_has_to_do_with_its_peer_alone(sockets, _wake) {
        let (peer, other) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let [to_peer, to_other] = [&peer, &other].map(|socket| socket.local_addr().unwrap());
        let free = watched(&mut sockets, 0, "127.0.0.1:0");
        sockets.forget(0);
        let local = watched(&mut sockets, 0, &free.to_string());
        let mut heard = |settled, from: &[&UdpSocket]| {
            sockets.post().send(0, to_peer, b"before");
            sockets.settle(0, settled);
            from.iter().for_each(|from| send(from, local, &[b"sound"]));
            let came = collect(&mut sockets, 1);
            let mut octets = [0; 16];
            assert_eq!(peer.recv_from(&mut octets).unwrap(), (6, local), "queued before");
            for to in [to_peer, to_other] {
                sockets.post().send(0, to, b"after");
            }
            sockets.wait(None, Some(Duration::ZERO));
            assert_eq!(peer.recv_from(&mut octets).unwrap(), (5, local), "whom it knows");
            assert_eq!(other.recv_from(&mut octets).unwrap(), (5, local), "whom it does not");
            came.len()
        };
        assert_eq!(heard(Some(to_peer), &[&peer]), 1);
        assert_eq!(heard(Some(to_peer), &[&peer]), 1, "twice is once");
        assert_eq!(heard(None, &[&other]), 1, "open again");
        assert_eq!(heard(Some(to_peer), &[&other, &peer]), 1, "the other is not heard");
        assert_eq!(heard(Some(to_other), &[&other]), 1, "it moved");
    }

    fn a_port_that_was_closed_costs_only_what_was_sent_to_it(sockets, _wake) {
        let (ours, peer) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let [local, out] = [&ours, &peer].map(|socket| socket.local_addr().unwrap());
        ours.set_nonblocking(true).unwrap();
        let beside = ours.try_clone().unwrap();
        sockets.watch(0, ours).unwrap();
        sockets.settle(0, Some(out));
        drop(peer);
        for round in 0..20u8 {
            // What the network says of it comes between two waits, as in life.
            let _ = beside.send(&[round]);
            let peer = socket(&out.to_string());
            if round % 2 == 0 {
                sockets.post().send(0, out, &[round, 0]);
            } else {
                send(&peer, local, &[&[round]]);
                assert_eq!(collect(&mut sockets, 1), [(0, vec![round])]);
                let _ = beside.send(&[round, 0]);
            }
            sockets.post().send(0, out, &[round, 1, 0]);
            sockets.wait(None, Some(Duration::ZERO));
            let mut octets = [0; 16];
            let mut heard = [(); 2].map(|()| (peer.recv(&mut octets).ok(), octets[0]));
            // What is sent again comes behind what was handed over with it.
            heard.sort_unstable();
            assert_eq!(heard, [(Some(2), round), (Some(3), round)]);
        }
    }

    fn a_forwarded_packet_outlives_what_is_said_of_an_earlier_one(sockets, _wake) {
        let (ours, peer, other) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let out = peer.local_addr().unwrap();
        ours.set_nonblocking(true).unwrap();
        let beside = ours.try_clone().unwrap();
        sockets.watch(0, ours).unwrap();
        sockets.settle(0, Some(out));
        let local = watched(&mut sockets, 1, "127.0.0.1:0");
        send(&other, local, &[b"sound"]);
        sockets.wait(None, Some(PATIENCE));
        assert_eq!(sockets.next().map(|arrival| arrival.at), Some(1));
        drop(peer);
        let _ = beside.send(b"to a closed port");
        let peer = socket(&out.to_string());
        sockets.pass(0, 0..5, out);
        assert!(sockets.next().is_none());
        sockets.wait(None, Some(Duration::ZERO));
        let mut octets = [0; 16];
        assert_eq!((peer.recv(&mut octets).ok(), &octets[..5]), (Some(5), &b"sound"[..]));
    }

    fn more_is_sent_at_once_than_there_are_buffers(sockets, _wake) {
        let peers = [(); 5].map(|()| socket("127.0.0.1:0"));
        let local = watched(&mut sockets, 0, "127.0.0.1:0");
        for round in 0..10u8 {
            send(&peers[0], local, &[&[round]]);
            for count in 0..100u8 {
                for peer in &peers {
                    sockets.post().send(0, peer.local_addr().unwrap(), &[round, count]);
                }
            }
            assert_eq!(collect(&mut sockets, 1), [(0, vec![round])], "nor is what came meanwhile lost");
            let mut octets = [0; 16];
            for (count, peer) in (0..100).flat_map(|count| peers.iter().map(move |peer| (count, peer))) {
                assert_eq!((peer.recv(&mut octets).ok(), &octets[..2]), (Some(2), &[round, count][..]));
            }
        }
    }

    fn ports_survive_quick_reuse(sockets, _wake) {
        let peer = socket("127.0.0.1:0");
        let ports: Vec<_> = (0..4).map(|at| watched(&mut sockets, at, "127.0.0.1:0")).collect();
        for round in 0..1000u32 {
            let octets = round.to_be_bytes();
            ports.iter().for_each(|port| send(&peer, *port, &[&octets]));
            if round % 3 > 0 {
                // Otherwise they are still on their way when the port goes.
                assert_eq!(collect(&mut sockets, 4).len(), 4, "round {round}");
            }
            for (at, port) in ports.iter().enumerate() {
                sockets.post().send(at, peer.local_addr().unwrap(), &octets);
                sockets.forget(at);
                assert_eq!(watched(&mut sockets, at, &port.to_string()), *port);
            }
            let mut heard = [0; 4];
            for _ in &ports {
                assert_eq!((peer.recv(&mut heard).unwrap(), heard), (4, octets), "what was sent before has left");
            }
            assert!(sockets.next().is_none(), "nothing of the socket before");
        }
    }
}

#[test]
fn the_choice_is_said_with_its_reason() {
    let text = Backend::NoRing(libc::EPERM).to_string();
    assert!(text.contains("Operation not permitted") && text.contains("io_uring_disabled"), "{text}");
}
