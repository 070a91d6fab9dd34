use super::*;
use crate::private::Secret;
use crate::session::Credentials;

const TRANSACTION: [u8; 12] = [7; 12];

fn ice(ours: &str, theirs: &str) -> Ice {
    let end =
        |name: &str| Credentials { fragment: name.into(), password: Secret(format!("{name} knows this password")) };
    Ice { local: end(ours), remote: end(theirs) }
}

/// A peer that leads, at one of its addresses.
struct Lead {
    address: SocketAddr,
    ice: Ice,
    priority: u32,
    role: Role,
}

impl Lead {
    fn at(port: u16, ice: &Ice) -> Lead {
        let address = SocketAddr::from(([192, 0, 2, 9], port));
        Lead { address, ice: ice.clone(), priority: 100, role: Role::Controlling(1) }
    }

    fn write<'a>(&self, buffer: &'a mut [u8], nominates: bool) -> Writer<'a> {
        let username = format!("{}:{}", self.ice.local.fragment, self.ice.remote.fragment);
        let request = Writer::new(buffer, Class::Request, &TRANSACTION).username(&username).priority(self.priority);
        let request = request.role(self.role);
        if nominates { request.nominating() } else { request }
    }

    /// Sends a check after `ms` and reads the answer: the address in it, or its error.
    fn check(&self, agent: &mut Agent, ms: u64, nominates: bool) -> Result<SocketAddr, u16> {
        let mut buffer = [0; 500];
        let key = Key::new(&self.ice.local.password.0);
        let length = self.write(&mut buffer, nominates).integrity(&key).finish().unwrap();
        let now = Instant::at(Duration::from_millis(ms));
        let (octets, integrity) = match agent.take(Channel::Rtp, self.address, &mut buffer, length, now) {
            Taken::Proven(octets) => (octets, Integrity::Right),
            Taken::Refused(Some(octets)) if octets.end <= length => (octets, Integrity::Absent),
            taken => panic!("{taken:?}"),
        };
        let answered = Message::read(&buffer[octets]).unwrap();
        assert_eq!((answered.transaction(), answered.integrity(&key)), (TRANSACTION, integrity));
        answered.error().map_or_else(|| Ok(answered.mapped().unwrap()), Err)
    }
}

fn destination(agent: &Agent) -> Option<u16> {
    agent.destination(Channel::Rtp).map(|address| address.port())
}

#[test]
fn a_check_opens_a_way_and_a_nomination_takes_it() {
    let ice = ice("ours", "theirs");
    let (mut agent, peer) = (Agent::new(&ice), Lead::at(1, &ice));
    assert!(!agent.admits(Channel::Rtp, peer.address));
    assert_eq!(peer.check(&mut agent, 0, false), Ok(peer.address));
    assert_eq!((agent.admits(Channel::Rtp, peer.address), destination(&agent)), (true, Some(1)));
    let better = Lead { priority: 101, ..Lead::at(2, &ice) };
    better.check(&mut agent, 20, false).unwrap();
    assert_eq!(destination(&agent), Some(2), "early media takes the best way");
    assert_eq!(peer.check(&mut agent, 50, true), Ok(peer.address));
    assert_eq!(destination(&agent), Some(1));
    assert_eq!(agent.destination(Channel::Rtcp), None, "the other port has ways of its own");
}

#[test]
fn of_all_ways_nominated_at_once_the_one_of_the_highest_priority_counts() {
    let ice = ice("ours", "theirs");
    let mut agent = Agent::new(&ice);
    for (port, priority) in [(1, 50), (2, 100), (3, 10)] {
        Lead { priority, ..Lead::at(port, &ice) }.check(&mut agent, u64::from(port), true).unwrap();
    }
    assert_eq!(destination(&agent), Some(2));
    Lead { priority: 10, ..Lead::at(3, &ice) }.check(&mut agent, 9000, true).unwrap();
    assert_eq!(destination(&agent), Some(3), "nominated long after: the peer has changed its mind");
}

#[test]
fn a_restart_keeps_the_old_way_until_a_new_one_is_nominated() {
    let (first, second) = (ice("ours", "theirs"), ice("newer", "fresh"));
    let mut agent = Agent::new(&first);
    let (old, new) = (Lead::at(1, &first), Lead { priority: 1, ..Lead::at(2, &second) });
    old.check(&mut agent, 0, true).unwrap();
    let mut agent = agent.renewed(&first).renewed(&second);
    assert_eq!((destination(&agent), agent.admits(Channel::Rtp, old.address)), (Some(1), true));
    let elsewhere = Lead::at(3, &first);
    elsewhere.check(&mut agent, 100, true).unwrap();
    assert!(!agent.admits(Channel::Rtp, elsewhere.address), "the old password keeps a way and opens none");
    new.check(&mut agent, 200, false).unwrap();
    assert_eq!(destination(&agent), Some(1));
    new.check(&mut agent, 300, true).unwrap();
    assert_eq!(destination(&agent), Some(2));
    assert_eq!(old.check(&mut agent, 400, true), Err(401), "now the old password is worth nothing");
}

/// Two telephones of one callee, who each answer our offer.
#[test]
fn of_several_who_answer_the_one_that_signalling_has_chosen_counts() {
    let (left, right) = (ice("ours", "left"), ice("ours", "right"));
    let mut agent = Agent::new(&left);
    let (rings, answers) = (Lead::at(1, &left), Lead { priority: 1, ..Lead::at(2, &right) });
    answers.check(&mut agent, 0, true).unwrap();
    assert_eq!((destination(&agent), agent.admits(Channel::Rtp, answers.address)), (None, false));
    rings.check(&mut agent, 100, true).unwrap();
    assert_eq!(destination(&agent), Some(1));
    let mut agent = agent.renewed(&right);
    assert_eq!(destination(&agent), Some(2), "it had nominated already");
    rings.check(&mut agent, 200, true).unwrap();
    assert_eq!((destination(&agent), agent.admits(Channel::Rtp, rings.address)), (Some(2), false));
}

#[test]
fn who_is_refused_changes_nothing() {
    let ice = ice("ours", "theirs");
    let (mut agent, mut buffer) = (Agent::new(&ice), [0; 500]);
    let peer = Lead::at(1, &ice);
    let follows = Lead { role: Role::Controlled(1), ..Lead::at(1, &ice) };
    assert_eq!(follows.check(&mut agent, 0, true), Err(487));
    let length = peer.write(&mut buffer, true).finish().unwrap();
    let Taken::Refused(Some(octets)) = agent.take(Channel::Rtp, peer.address, &mut buffer, length, Instant::START)
    else {
        panic!("a question of a stranger")
    };
    assert_eq!(Message::read(&buffer[octets]).unwrap().error(), Some(400), "nothing proves it");
    assert_eq!((destination(&agent), agent.admits(Channel::Rtp, peer.address)), (None, false));
}

#[test]
fn a_short_question_of_a_stranger_has_no_answer() {
    let mut agent = Agent::new(&ice("ours", "theirs"));
    let mut buffer = [0; 500];
    let length = Writer::new(&mut buffer, Class::Request, &TRANSACTION).finish().unwrap();
    let from = SocketAddr::from(([192, 0, 2, 66], 6));
    assert_eq!(agent.take(Channel::Rtp, from, &mut buffer, length, Instant::START), Taken::Refused(None));
}

#[test]
fn a_way_may_be_kept_open_by_who_has_checked_it() {
    let ice = ice("ours", "theirs");
    let (mut agent, peer, mut buffer) = (Agent::new(&ice), Lead::at(1, &ice), [0; 500]);
    let length = Writer::new(&mut buffer, Class::Indication, &TRANSACTION).finish().unwrap();
    let mut keep = |agent: &mut Agent| agent.take(Channel::Rtp, peer.address, &mut buffer, length, Instant::START);
    assert_eq!(keep(&mut agent), Taken::Refused(None));
    peer.check(&mut agent, 0, false).unwrap();
    assert_eq!(keep(&mut agent), Taken::Kept);
}

#[test]
fn a_flood_of_strangers_moves_nothing() {
    let ice_ = ice("ours", "theirs");
    let mut agent = Agent::new(&ice_);
    let peer = Lead::at(1, &ice_);
    peer.check(&mut agent, 0, true).unwrap();
    let mut guessed = ice_.clone();
    guessed.local.password = Secret("whoever guesses this password".into());
    for port in 1000..2000 {
        assert_eq!(Lead::at(port, &guessed).check(&mut agent, 10, true), Err(401));
        assert_eq!(Lead::at(port, &ice("our", "theirs")).check(&mut agent, 10, true), Err(401));
    }
    assert_eq!((destination(&agent), agent.admits(Channel::Rtp, peer.address)), (Some(1), true));
}

#[test]
fn ways_without_number_push_out_only_each_other() {
    let ice = ice("ours", "theirs");
    let mut agent = Agent::new(&ice);
    (1..100).for_each(|port| _ = Lead::at(port, &ice).check(&mut agent, port.into(), port == 1).unwrap());
    let admitted: Vec<u16> =
        (1..100).filter(|port| agent.admits(Channel::Rtp, Lead::at(*port, &ice).address)).collect();
    assert_eq!(admitted, [1, 92, 93, 94, 95, 96, 97, 98, 99]);
}

#[test]
fn no_octets_make_it_panic_or_move() {
    let (ice, mut header) = (ice("ours", "theirs"), [0; 500]);
    Writer::new(&mut header, Class::Request, &TRANSACTION).finish().unwrap();
    bolero::check!().for_each(|octets: &[u8]| {
        let mut buffer = header;
        let length = (20 + octets.len()).min(500);
        buffer[20..length].copy_from_slice(&octets[..length - 20]);
        buffer[2..4].copy_from_slice(&(length as u16 - 20).to_be_bytes());
        let from = SocketAddr::from(([192, 0, 2, 66], 6));
        let mut agent = Agent::new(&ice);
        match agent.take(Channel::Rtp, from, &mut buffer, length, Instant::START) {
            Taken::Refused(answer) => assert!(answer.is_none_or(|octets| octets.end <= length)),
            taken => panic!("{taken:?}"),
        }
        assert!(!agent.admits(Channel::Rtp, from) && destination(&agent).is_none());
    });
}
