//! The client against a stand-in that speaks as osmo-e1d does, its failures included.

use std::io::IoSlice;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, Shutdown, accept, bind, listen, sendmsg, shutdown, socketpair,
};

use super::*;

/// What the daemon does on this run.
#[derive(Clone, Debug)]
struct Script {
    line_mode: u8,
    /// Timeslots that somebody has.
    busy: Vec<u8>,
    /// Told before each answer: type, interface, line.
    events: Vec<[u8; 3]>,
    /// It hangs up on, or does not answer, this type.
    hangs_up: Option<u8>,
    silent: Option<u8>,
    /// It sends the payload without the descriptor.
    forgets_descriptor: bool,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            line_mode: CHANNELIZED,
            busy: Vec::new(),
            events: Vec::new(),
            hangs_up: None,
            silent: None,
            forgets_descriptor: false,
        }
    }
}

/// The stand-in, on a thread of its own until its client goes away.
struct Daemon {
    address: Address,
    /// The daemon's ends of timeslots that were opened.
    opened: Receiver<(u8, OwnedFd)>,
    /// Its end of the connection.
    clients: Receiver<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn start(name: &str, script: Script) -> Daemon {
        let path = std::env::temp_dir().join(format!("e1d-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&listener, 1).unwrap();
        let (opened, taken) = channel();
        let (client_out, clients) = channel();
        let thread = thread::spawn(move || {
            let client = accept(&listener).unwrap();
            let _ = client_out.send(client.try_clone().unwrap());
            serve(&client, &script, &opened);
            // The test has a copy of it.
            let _ = shutdown(&client, Shutdown::Both);
        });
        Daemon { address: Address { path, interface: 0, line: 1 }, opened: taken, clients, thread: Some(thread) }
    }

    /// It is killed.
    fn kill(self) {
        let client = self.clients.recv_timeout(Duration::from_secs(2)).unwrap();
        shutdown(&client, Shutdown::Both).unwrap();
    }

    fn span(&self) -> E1d {
        E1d::open(&self.address).unwrap()
    }

    /// The daemon's end of the timeslot that was opened last.
    fn far_end(&self, timeslot: u8) -> OwnedFd {
        let (number, descriptor) = self.opened.recv_timeout(Duration::from_secs(2)).unwrap();
        assert_eq!(number, timeslot);
        descriptor
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.address.path);
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

fn serve(client: &OwnedFd, script: &Script, opened: &Sender<(u8, OwnedFd)>) {
    let mut modes = [0; 32];
    script.busy.iter().for_each(|busy| modes[usize::from(*busy)] = 0x10);
    let mut packet = [0; 4096];
    while let Ok((length, _)) = recv(client, &mut packet, RecvFlags::empty()) {
        // It hangs up on whatever it does not understand.
        let Some(&[0xe1, 1, low, 0, kind, interface, line, timeslot, ref payload @ ..]) = packet.get(..length) else {
            return;
        };
        if usize::from(low) != length || script.hangs_up == Some(kind) {
            return;
        }
        if script.silent == Some(kind) {
            continue;
        }
        for [kind, interface, line] in &script.events {
            let event = message::packet([*kind, *interface, *line, 0], &[]);
            send(client, &event, SendFlags::NOSIGNAL).unwrap();
        }
        let known = interface == 0 && line < 2;
        let (answer, passed) = match (kind, timeslot, payload) {
            (1, 0xff, []) if known => (vec![line, script.line_mode, 0], None),
            (2, 0xff, []) if known => {
                (modes.iter().zip(0..).flat_map(|(mode, number)| [number, *mode, 0, 0, 0, 0]).collect(), None)
            }
            (4, 0..32, &[mode, flags, low, high]) => {
                let free = modes[usize::from(timeslot)] == 0 || flags & 0x80 != 0;
                if known && free && timeslot != 0 && [low, high] != [0, 0] && matches!(mode, 0x10 | 0x11) {
                    modes[usize::from(timeslot)] = mode;
                    let kind = if mode == 0x10 { SocketType::STREAM } else { SocketType::SEQPACKET };
                    let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
                    ioctl_fionbio(&ours, true).unwrap();
                    opened.send((timeslot, ours)).unwrap();
                    (vec![timeslot, mode, 0, 0, 0, 0xa5], Some(theirs).filter(|_| !script.forgets_descriptor))
                } else {
                    (vec![], None)
                }
            }
            (1 | 2, 0xff, []) => (vec![], None),
            _ => return,
        };
        let answer = message::packet([kind | 0x80, 0, 0, 0], &answer);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = passed.iter().map(AsFd::as_fd).collect();
        if !descriptors.is_empty() {
            assert!(beside.push(SendAncillaryMessage::ScmRights(&descriptors)));
        }
        sendmsg(client, &[IoSlice::new(&answer)], &mut beside, SendFlags::NOSIGNAL).unwrap();
    }
}

fn slot(number: u8) -> Timeslot {
    Line::E1.timeslot(number).unwrap()
}

#[test]
fn an_address_names_socket_interface_and_line() {
    let address = |path: &str, interface, line| Ok(Address { path: path.into(), interface, line });
    assert_eq!("/tmp/osmo-e1d.ctl".parse(), address("/tmp/osmo-e1d.ctl", 0, 0));
    assert_eq!("/tmp/osmo-e1d.ctl:1:3".parse(), address("/tmp/osmo-e1d.ctl", 1, 3));
    for wrong in ["", ":1:2", "/tmp/x:1", "/tmp/x:1:255", "/tmp/x:a:0"] {
        assert_eq!(wrong.parse::<Address>(), Err(NotAnAddress), "{wrong}");
    }
}

#[test]
fn frames_and_octets_pass() {
    let daemon = Daemon::start("pass", Script::default());
    let mut span = daemon.span();
    let mut channel = span.d_channel().unwrap();
    let far = daemon.far_end(16);
    channel.send(&[0, 1, 0x7f]).unwrap();
    let mut frame = [0; 300];
    assert_eq!(recv(&far, &mut frame, RecvFlags::empty()).unwrap().0, 3);
    assert_eq!(channel.receive(&mut frame).unwrap(), None);
    send(&far, &[0, 1, 0x73], SendFlags::NOSIGNAL).unwrap();
    assert_eq!((channel.receive(&mut frame).unwrap(), &frame[..3]), (Some(3), &[0, 1, 0x73][..]));
    assert_eq!(channel.send(&[0; 263]).unwrap_err().kind(), ErrorKind::InvalidInput, "it would be lost");

    let mut bearer = span.bearer(slot(5)).unwrap();
    let far = daemon.far_end(5);
    assert_eq!(bearer.write(&[7; 40]).unwrap(), 40);
    assert_eq!(recv(&far, &mut frame, RecvFlags::empty()).unwrap().0, 40);
    assert_eq!(bearer.read(&mut frame).unwrap(), 0);
    send(&far, &[9; 40], SendFlags::NOSIGNAL).unwrap();
    assert_eq!(bearer.read(&mut frame).unwrap(), 40);
}

#[test]
fn an_empty_answer_is_a_refusal_whose_reason_is_looked_for() {
    let daemon = Daemon::start("busy", Script { busy: vec![7], ..Script::default() });
    let mut span = daemon.span();
    assert!(matches!(span.bearer(slot(7)), Err(SpanError::Taken(taken)) if taken == slot(7)));
    span.take_over();
    assert!(span.bearer(slot(7)).is_ok());
}

#[test]
fn a_line_that_does_not_fit_is_told_apart() {
    let superchannel = Daemon::start("super", Script { line_mode: 0x21, ..Script::default() });
    assert!(
        matches!(E1d::open(&superchannel.address), Err(SpanError::NotConfigured(why)) if why.contains("channelized"))
    );
    let mut unknown = Daemon::start("unknown", Script::default());
    unknown.address.line = 2;
    assert!(matches!(E1d::open(&unknown.address), Err(SpanError::NotConfigured(why)) if why.contains("no such")));
    let address = "/nonexistent/e1d.ctl".parse().unwrap();
    let said = E1d::open(&address).unwrap_err().to_string();
    assert_eq!(said, "/nonexistent/e1d.ctl cannot be opened: No such file or directory (os error 2)");
}

#[test]
fn a_descriptor_that_does_not_come_is_no_success() {
    let daemon = Daemon::start("forgets", Script { forgets_descriptor: true, ..Script::default() });
    assert!(matches!(daemon.span().bearer(slot(3)), Err(SpanError::Taken(_))), "the daemon thinks it open");
}

#[test]
fn events_come_between_question_and_answer() {
    let events = vec![[0x40, 0, 1], [0x44, 0, 0], [0x7f, 0, 1], [0x46, 0, 1], [0x47, 0, 1]];
    let daemon = Daemon::start("events", Script { events, ..Script::default() });
    let mut span = daemon.span();
    assert_eq!(span.alarms(), Alarms::LOS, "another line's RAI is not ours");
    assert_eq!(span.poll().unwrap(), Some(Alarms::LOS));
    assert_eq!(span.poll().unwrap(), None);
    assert!(span.bearer(slot(1)).is_ok());
}

#[test]
fn a_daemon_that_hangs_up_or_is_silent_is_gone() {
    let daemon = Daemon::start("hangs-up", Script { hangs_up: Some(4), ..Script::default() });
    let mut span = daemon.span();
    assert!(matches!(span.d_channel(), Err(SpanError::Gone)));
    assert!(matches!(span.poll(), Err(SpanError::Gone)));
    drop(span);
    let daemon = Daemon::start("silent", Script { silent: Some(4), ..Script::default() });
    let mut span = daemon.span();
    assert!(matches!(span.d_channel(), Err(SpanError::Io(error)) if error.kind() == ErrorKind::TimedOut));
    // A late answer would be taken for the next one's.
    assert!(matches!(span.d_channel(), Err(SpanError::Gone)));
}

#[test]
fn a_daemon_that_is_killed_takes_all_with_it_and_one_that_is_started_anew_is_found() {
    let daemon = Daemon::start("killed", Script::default());
    let address = daemon.address.clone();
    let mut span = daemon.span();
    let (mut bearer, mut channel) = (span.bearer(slot(2)).unwrap(), span.d_channel().unwrap());
    daemon.kill();
    for ready in [span.ready(), bearer.ready(), channel.ready()] {
        assert_eq!(poll(&mut [PollFd::new(ready, PollFlags::POLLIN)], PollTimeout::from(2000u16)), Ok(1));
    }
    assert!(matches!(span.poll(), Err(SpanError::Gone)));
    assert_eq!(channel.receive(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!(bearer.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert!(matches!(E1d::open(&address), Err(SpanError::Unreachable { .. })));

    let daemon = Daemon::start("killed", Script::default());
    let mut span = daemon.span();
    let (mut channel, far) = (span.d_channel().unwrap(), daemon.far_end(16));
    channel.send(&[0, 1, 0x7f]).unwrap();
    assert_eq!(recv(&far, &mut [0; 8], RecvFlags::empty()).unwrap().0, 3);
}

#[test]
fn a_timeslot_that_is_taken_away_says_so() {
    let daemon = Daemon::start("forced", Script::default());
    let mut span = daemon.span();
    let (mut bearer, far) = (span.bearer(slot(2)).unwrap(), daemon.far_end(2));
    drop(far);
    assert_eq!(bearer.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!(bearer.write(&[0; 8]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    let (mut channel, far) = (span.d_channel().unwrap(), daemon.far_end(16));
    drop(far);
    assert_eq!(channel.receive(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert_eq!(channel.send(&[0; 8]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
}

#[test]
fn who_does_not_read_for_long_hears_the_present() {
    let daemon = Daemon::start("lag", Script::default());
    let mut span = daemon.span();
    let (mut bearer, far) = (span.bearer(slot(2)).unwrap(), daemon.far_end(2));
    for piece in 0..100u8 {
        send(&far, &[piece; 40], SendFlags::NOSIGNAL).unwrap();
    }
    let mut octets = [0; 4000];
    assert_eq!((bearer.read(&mut octets).unwrap(), octets[0], octets[159]), (160, 96, 99));
    let written =
        std::iter::from_fn(|| Some(bearer.write(&[0; 40]).unwrap()).filter(|count| *count > 0)).sum::<usize>();
    assert!((160..=1600).contains(&written), "{written} octets may be said ahead");
}

/// Waits for something to read.
fn wait(fd: BorrowedFd<'_>) {
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::from(100u16)).unwrap();
}

/// With `DEMARC_E1D` naming the control socket of a real osmo-e1d that has a `virtual-e1-pair` (interfaces 0 and 1).
#[test]
fn the_real_daemon_carries_frames_and_octets() {
    let Some(path) = std::env::var_os("DEMARC_E1D") else {
        return eprintln!("skipped: DEMARC_E1D names no osmo-e1d (no Debian package has it)");
    };
    let [mut near, mut far] =
        [0, 1].map(|interface| E1d::open(&Address { path: path.clone().into(), interface, line: 0 }).unwrap());

    let [mut said, mut heard] = [near.d_channel().unwrap(), far.d_channel().unwrap()];
    assert!(matches!(near.d_channel(), Err(SpanError::Taken(_))), "it is open");
    assert!(said.send(&[0; 263]).is_err());
    let mut frame = [0; 300];
    let mut lengths: Vec<usize> = Vec::new();
    for length in [3, 3, 40, 200, 262] {
        said.send(&vec![length as u8; length]).unwrap();
        for _ in 0..4 {
            wait(heard.ready());
            if let Some(length) = heard.receive(&mut frame).unwrap() {
                lengths.push(length);
                assert!(frame[..length].iter().all(|octet| *octet == length as u8));
                break;
            }
        }
    }
    assert!(lengths.ends_with(&[3, 40, 200, 262]), "all but perhaps the first: {lengths:?}");

    let [mut said, mut heard] = [near.bearer(slot(5)).unwrap(), far.bearer(slot(5)).unwrap()];
    assert_eq!(said.write(&[0xff; 160]).unwrap(), 160);
    let (mut next, mut sent, mut octets) = (0u8, 0, Vec::<u8>::new());
    while octets.len() < 8000 {
        // As much is said as is heard, which is the line's pace.
        wait(said.ready());
        let mut piece = [0; 400];
        let count = said.read(&mut piece).unwrap();
        piece[..count].fill_with(|| {
            next = next % 250 + 1;
            next
        });
        sent += said.write(&piece[..count]).unwrap();
        let count = heard.read(&mut piece).unwrap();
        octets.extend(piece[..count].iter().filter(|octet| **octet != 0xff));
    }
    let gaps = octets.windows(2).filter(|pair| pair[0] % 250 + 1 != pair[1]).count();
    eprintln!("{sent} octets said, {} heard, {gaps} gaps", octets.len());
    assert_eq!(gaps, 0);
}
