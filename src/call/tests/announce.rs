//! A refusal that the caller hears before it is told.

use super::*;

/// [`INI`] with announcements.
fn announcing(lines: &str) -> Arc<Config> {
    read(&format!("{INI}[Announcements]\n{lines}\n"))
}

#[test]
fn a_busy_tone_is_heard_before_486() {
    let mut world = World::with(announcing("Busy=busy\nLongest=6s"));
    let a = world.invite(GW1, &plain("0 8"));
    let b = world.rung(LYNC);
    world.answer(b, 486, "");
    assert_eq!(world.seen(), "gw1:100 lync:INVITE+sdp lync:ACK gw1:183+sdp open");
    assert_eq!(world.plays(), "Two(480, 620) | -");
    world.pass(Duration::from_millis(5_999));
    assert_eq!(world.seen(), "");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.seen(), "gw1:486 close");
    assert!(header(world.told(a, 486), Name::Reason).starts_with("Q.850;cause=17;"));
    world.rest();
}

#[test]
fn after_early_media_the_caller_goes_on_hearing() {
    let mut world = World::with(announcing("Congestion=congestion"));
    let _ = world.invite(GW1, &plain("0 8"));
    let b = world.rung(LYNC);
    world.answer(b, 183, &secret("0"));
    world.seen();
    world.answer(b, 503, "");
    assert_eq!(world.seen(), "lync:ACK");
    assert_eq!(world.plays(), "Two(480, 620) | -");
    world.pass(seconds(10));
    assert_eq!(world.seen(), "gw1:503 close");
    world.rest();
}

#[test]
fn a_file_ends_with_its_end() {
    let mut config = announcing("Other=closed.wav");
    let sound = Sound::new(vec![0; 16_000], vec![0; 32_000]).map(Arc::new);
    let file = SoundFile { path: "closed.wav".into(), named_at: 0..0, sound };
    Arc::make_mut(&mut config).sounds.announcements.other = Some(Announced::File(file));
    let mut world = World::with(config);
    let _ = world.invite(GW1, &plain("0 8"));
    let b = world.rung(LYNC);
    world.answer(b, 603, "");
    world.pass(Duration::from_millis(1_999));
    assert_eq!(world.seen(), "gw1:100 lync:INVITE+sdp lync:ACK gw1:183+sdp open");
    assert_eq!(world.plays(), "Announcement(Sound(2s)) | -");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.seen(), "gw1:603 close");
    world.rest();
}

#[test]
fn a_caller_that_hangs_up_is_gone_at_once() {
    let mut world = World::with(announcing("Busy=busy"));
    let a = world.invite(GW1, &plain("0 8"));
    let b = world.rung(LYNC);
    world.answer(b, 486, "");
    world.pass(seconds(2));
    world.seen();
    world.cancel(a);
    assert_eq!(world.seen(), "gw1:487 close");
    world.rest();
}

#[test]
fn a_call_is_refused_at_once_without_an_announcement_for_it() {
    for (lines, from, to, body, status) in [
        ("Busy=busy", GW1, LYNC, plain("0"), 404),
        ("Busy=gone.wav", GW1, LYNC, plain("0"), 486),
        ("Busy=busy", GW1, LYNC, String::new(), 486),
        ("Busy=busy", LYNC, GW1, secret("0"), 486),
    ] {
        let mut world = World::with(announcing(lines));
        let a = world.invite(from, &body);
        let b = world.rung(to);
        world.answer(b, status, "");
        assert!(!world.seen().contains("183"), "{lines}");
        world.told(a, status);
        world.rest();
    }
}

#[test]
fn who_hung_up_after_the_answer_is_not_announced() {
    let mut world = World::with(announcing("Other=sit\nBusy=sit\nCongestion=sit\nUnassigned=sit"));
    let (_, b) = world.talk(GW1, LYNC);
    world.ask(b, Method::Bye, "", "");
    assert_eq!(world.seen(), "gw1:BYE close");
    world.rest();
}
