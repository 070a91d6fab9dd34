//! Telephones that are not ours on both sides: what one says, the other hears.
//!
//! ```text
//! baresip, the Microsoft side      demarc      baresip, a gateway
//!         SIP over TLS, SRTP  <------------->  SIP over UDP or TCP, RTP
//! ```

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

mod lab;

use std::path::{Path, PathBuf};
use std::thread::sleep;

use lab::{Demarc, Gateway, Lab, Line, Phone, Setup, seconds};

const LYNC_NUMBER: &str = "+13125550100";
const GATEWAY_NUMBER: &str = "+13125556789";
const BOTH_LAWS: &str = "pcmu/8000/1,pcma/8000/1";
const PCMU: &str = "pcmu/8000/1";
const PCMA: &str = "pcma/8000/1";
/// Each codec by baresip's name and by ours.
const CODECS: [(&str, &str); 4] = [("opus/48000/2", "opus"), ("g722/16000/1", "G722"), (PCMU, "PCMU"), (PCMA, "PCMA")];
/// The PESQ (narrow band) that a transcoded call keeps at least: two codings cost more than one.
const TRANSCODED: f64 = 3.9;
/// The same over a line, whose clock makes a busy machine repeat a piece now and then.
const FITTED: f64 = 3.0;

/// Both telephones, the daemon between them, and what each side says.
struct Stage {
    lync: Phone,
    gateway: Phone,
    demarc: Demarc,
    said_by_lync: PathBuf,
    said_by_gateway: PathBuf,
    _lab: Lab,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Lync,
    Gateway,
}

impl Stage {
    /// `None`, with the reason said, when a part is missing.
    fn set(line: Line, codecs: &str) -> Option<Stage> {
        Stage::speaking(line, BOTH_LAWS, codecs, "PCMU PCMA")
    }

    /// The same with the codecs of each telephone, and `allowed` on both trunks.
    fn speaking(line: Line, lync: &str, gateway: &str, allowed: &'static str) -> Option<Stage> {
        Stage::with_media(line, [lync, gateway], allowed, |_| Vec::new())
    }

    /// The same with further lines of `[Media]`, and the files that they name.
    fn with_media(
        line: Line,
        [lync, gateway]: [&str; 2],
        allowed: &'static str,
        media: impl Fn(&Lab) -> Vec<String>,
    ) -> Option<Stage> {
        if !lab::installed("baresip", "baresip-core") {
            return None;
        }
        let lab = Lab::new();
        let said_by_lync = lab::speech(&lab, "demo-congrats")?;
        let said_by_gateway = lab::speech(&lab, "demo-abouttotry")?;
        let lync = Phone::start(&lab, "lync", 0, LYNC_NUMBER, Line::Tls, lync, &said_by_lync);
        let gateway = Phone::start(&lab, "gateway", 1, GATEWAY_NUMBER, line, gateway, &said_by_gateway);
        let protocol = if line == Line::Udp { "UDP" } else { "TCP" };
        let codecs = vec![format!("Codecs={allowed}")];
        let trunk = Gateway { more: codecs, ..Gateway::new(gateway.address, protocol) };
        let media = media(&lab);
        let demarc = Setup { codecs: allowed, media, ..Setup::new(lync.address, &[trunk]) }.start(&lab);
        Some(Stage { lync, gateway, demarc, said_by_lync, said_by_gateway, _lab: lab })
    }

    /// One side calls the other; both are connected when it returns.
    #[track_caller]
    fn connect(&mut self, caller: Side) {
        match caller {
            Side::Lync => self.lync.dial(&format!("sip:{GATEWAY_NUMBER}@{}", self.demarc.lync)),
            Side::Gateway => self.gateway.dial(&format!("sip:{LYNC_NUMBER}@{}", self.demarc.trunk)),
        }
        self.lync.expect("CALL_ESTABLISHED");
        self.gateway.expect("CALL_ESTABLISHED");
        assert_eq!(self.demarc.calls().len(), 1, "one call is shown");
    }

    /// One side hangs up; the other hears of it and nothing stays behind.
    #[track_caller]
    fn hang_up(&mut self, side: Side) {
        match side {
            Side::Lync => self.lync.command("hangup", ""),
            Side::Gateway => self.gateway.command("hangup", ""),
        }
        self.lync.expect("CALL_CLOSED");
        self.gateway.expect("CALL_CLOSED");
        self.demarc.idle();
    }

    /// Each side heard what the other said.
    #[track_caller]
    fn judge_sound(&self) {
        self.judge_sound_by(4.0);
    }

    /// The same with a limit of one's own; the sound that the gateway and the Lync side heard.
    #[track_caller]
    fn judge_sound_by(&self, least: f64) -> Option<[f64; 2]> {
        let heard = [
            ("the gateway", &self.said_by_lync, self.gateway.heard()),
            ("the Lync side", &self.said_by_gateway, self.lync.heard()),
        ];
        let mut judged = Vec::new();
        for (who, said, heard) in heard {
            let verdict = lab::pesq(said, &heard)?;
            println!("{who} heard {verdict:?}");
            assert!(verdict.pesq >= least, "{who} heard badly: {verdict:?}");
            assert!(verdict.seconds >= 6.0, "{who} heard too little: {verdict:?}");
            judged.push(verdict.pesq);
        }
        judged.try_into().ok()
    }
}

/// Calls, talks for a while, hangs up.
fn talk(line: Line, codecs: &str, caller: Side, ends: Side) {
    let Some(mut stage) = Stage::set(line, codecs) else { return };
    stage.connect(caller);
    let agreed = stage.lync.expect("CALL_MENC");
    assert_eq!(agreed["param"], "0,audio,AES_CM_128_HMAC_SHA1_80");
    sleep(seconds(8));
    stage.hang_up(ends);
    stage.judge_sound();
}

#[test]
fn lync_calls_a_udp_gateway_in_pcmu() {
    talk(Line::Udp, PCMU, Side::Lync, Side::Lync);
}

#[test]
fn lync_calls_a_udp_gateway_in_pcma() {
    talk(Line::Udp, PCMA, Side::Lync, Side::Gateway);
}

#[test]
fn lync_calls_a_tcp_gateway_in_pcmu() {
    talk(Line::Tcp, PCMU, Side::Lync, Side::Gateway);
}

#[test]
fn lync_calls_a_tcp_gateway_in_pcma() {
    talk(Line::Tcp, PCMA, Side::Lync, Side::Lync);
}

#[test]
fn a_udp_gateway_calls_lync_in_pcmu() {
    talk(Line::Udp, PCMU, Side::Gateway, Side::Lync);
}

#[test]
fn a_udp_gateway_calls_lync_in_pcma() {
    talk(Line::Udp, PCMA, Side::Gateway, Side::Gateway);
}

#[test]
fn a_tcp_gateway_calls_lync_in_pcmu() {
    talk(Line::Tcp, PCMU, Side::Gateway, Side::Gateway);
}

#[test]
fn a_tcp_gateway_calls_lync_in_pcma() {
    talk(Line::Tcp, PCMA, Side::Gateway, Side::Lync);
}

/// The Lync side speaks one codec, the gateway each in turn: the same is passed on, others are transcoded.
fn speak_every_pair(lync: usize) {
    let (lync_codec, lync_name) = CODECS[lync];
    for (gateway_codec, gateway_name) in CODECS {
        let every = "opus G722 PCMU PCMA";
        let Some(mut stage) = Stage::speaking(Line::Udp, lync_codec, gateway_codec, every) else { return };
        stage.connect(if lync.is_multiple_of(2) { Side::Lync } else { Side::Gateway });
        sleep(seconds(8));
        stage.hang_up(Side::Lync);
        let Some([there, back]) = stage.judge_sound_by(TRANSCODED) else { return };
        println!("PESQ {lync_name} to {gateway_name} {there:.2}, {gateway_name} to {lync_name} {back:.2}");
    }
}

/// The exchange at the far end of the line says back what it hears, at once and without a ring tone.
#[test]
fn a_line_sounds_as_it_should_in_every_codec() {
    for (codec, name) in CODECS {
        if !lab::installed("baresip", "baresip-core") {
            return;
        }
        let lab = Lab::new();
        let Some(said) = lab::speech(&lab, "demo-congrats") else { return };
        let mut lync = Phone::start(&lab, "lync", 0, LYNC_NUMBER, Line::Tls, codec, &said);
        let mut setup = Setup::new(lync.address, &[]);
        setup.codecs = "opus G722 PCMU PCMA";
        setup.more = "\n[Gateway1]\nKind=isdn\nSpan=Span1\nVoiceRoutes=LocalRoute\n\
                      [Span1]\nCountryCode=1\nEchoTail=off\n"
            .to_owned();
        let demarc = setup.start(&lab);
        lab::until(seconds(8), "the line is up", || (demarc.metric("demarc_span_d_channel_up") == 1.0).then_some(()));
        lync.dial(&format!("sip:+13125553000@{}", demarc.lync));
        lync.expect("CALL_ESTABLISHED");
        sleep(seconds(8));
        lync.command("hangup", "");
        lync.expect("CALL_CLOSED");
        demarc.idle();
        let Some(verdict) = lab::pesq(&said, &lync.heard()) else { return };
        println!("PESQ {name} to a line and back {:.2}", verdict.pesq);
        assert!(verdict.pesq >= FITTED && verdict.seconds >= 5.0, "{name}: {verdict:?}");
    }
}

#[test]
fn opus_with_every_codec() {
    speak_every_pair(0);
}

#[test]
fn g722_with_every_codec() {
    speak_every_pair(1);
}

#[test]
fn pcmu_with_every_codec() {
    speak_every_pair(2);
}

#[test]
fn pcma_with_every_codec() {
    speak_every_pair(3);
}

/// The meters count over 3 s, so each phase lasts for two full counts.
fn hold_and_resume(holder: Side) {
    const FLOWS: u32 = 58_000;
    let Some(mut stage) = Stage::set(Line::Udp, BOTH_LAWS) else { return };
    stage.connect(Side::Lync);
    sleep(seconds(7));
    let before = (stage.lync.meter(), stage.gateway.meter());

    let phone = |stage: &mut Stage, command: &str| match holder {
        Side::Lync => stage.lync.command(command, ""),
        Side::Gateway => stage.gateway.command(command, ""),
    };
    phone(&mut stage, "hold");
    sleep(seconds(7));
    let held = (stage.lync.meter(), stage.gateway.meter());

    phone(&mut stage, "resume");
    sleep(seconds(7));
    let after = (stage.lync.meter(), stage.gateway.meter());
    println!("bit/s sent and received, Lync side and gateway: {before:?}, held {held:?}, again {after:?}");

    let flowing = |(lync, gateway): ((u32, u32), (u32, u32))| {
        [lync.0, lync.1, gateway.0, gateway.1].iter().all(|&rate| rate > FLOWS)
    };
    assert!(flowing(before), "sound flows both ways: {before:?}");
    assert_eq!(held, ((0, 0), (0, 0)), "silence while held");
    assert!(flowing(after), "sound flows again: {after:?}");
    stage.hang_up(Side::Lync);
}

#[test]
fn the_lync_side_holds_and_resumes() {
    hold_and_resume(Side::Lync);
}

#[test]
fn the_gateway_holds_and_resumes() {
    hold_and_resume(Side::Gateway);
}

/// A recording's first channel, and its rate in Hz.
fn one_channel(recording: &Path) -> (Vec<i16>, usize) {
    let mut recording = hound::WavReader::open(recording).unwrap();
    let (rate, channels) = (recording.spec().sample_rate as usize, usize::from(recording.spec().channels));
    (recording.samples::<i16>().step_by(channels).map(Result::unwrap).collect(), rate)
}

/// The music is 1000 Hz: 4 s of speech, 4 s of that, 4 s of speech.
fn hold_with_music(holder: Side, lync: &str, gateway: &str) {
    const MUSIC: f64 = 1000.0;
    let music = |lab: &Lab| {
        let sample = |at: u32| (f64::from(at) * MUSIC / 8000.0 * std::f64::consts::TAU).sin() * 8000.0;
        let samples: Vec<i16> = (0..8000 * 3).map(|at| sample(at) as i16).collect();
        vec![format!("HoldMusic={}", lab::recording(lab, "music", &samples).display())]
    };
    let Some(mut stage) = Stage::with_media(Line::Udp, [lync, gateway], "opus G722 PCMU PCMA", music) else { return };
    stage.connect(Side::Lync);
    sleep(seconds(4));
    for command in ["hold", "resume"] {
        match holder {
            Side::Lync => stage.lync.command(command, ""),
            Side::Gateway => stage.gateway.command(command, ""),
        }
        sleep(seconds(4));
    }
    stage.hang_up(holder);
    let held = if holder == Side::Lync { stage.gateway.heard() } else { stage.lync.heard() };
    let (heard, rate) = one_channel(&held);
    let tenths: Vec<bool> = heard.chunks_exact(rate / 10).map(|part| lab::share(part, MUSIC, rate) > 0.8).collect();
    let first = tenths.iter().position(|music| *music).unwrap();
    let last = tenths.iter().rposition(|music| *music).unwrap();
    let music = tenths.iter().filter(|music| **music).count();
    println!("{} tenths of a second: music in {music} of {first} to {last}", tenths.len());
    assert!((30..45).contains(&music) && last - first < music + 3, "music all the while, and only then: {tenths:?}");
    let speech = |sound: &[i16]| {
        sound.iter().map(|sample| f64::from(*sample).abs()).sum::<f64>() / sound.len().max(1) as f64 > 100.0
    };
    let tenth = rate / 10;
    assert!(speech(&heard[..first * tenth]) && speech(&heard[(last + 1) * tenth..]), "speech before and after");
}

#[test]
fn a_held_gateway_hears_music_and_then_speech_again() {
    hold_with_music(Side::Lync, PCMU, PCMU);
    hold_with_music(Side::Lync, PCMU, "g722/16000/1");
}

#[test]
fn the_held_lync_side_hears_music_and_then_speech_again() {
    hold_with_music(Side::Gateway, PCMU, PCMA);
    hold_with_music(Side::Gateway, "opus/48000/2", PCMU);
}

#[test]
fn digits_cross_both_ways() {
    let Some(mut stage) = Stage::set(Line::Udp, BOTH_LAWS) else { return };
    stage.connect(Side::Lync);
    sleep(seconds(1));
    for digit in ["1", "5", "9", "#"] {
        stage.lync.command("sndcode", digit);
        sleep(seconds(1));
    }
    for digit in ["*", "0", "8"] {
        stage.gateway.command("sndcode", digit);
        sleep(seconds(1));
    }
    stage.hang_up(Side::Gateway);
    assert_eq!(stage.gateway.digits(), "159#");
    assert_eq!(stage.lync.digits(), "*08");
}

/// Lync talks with a gateway and transfers it, blindly, to a number at another gateway: those two hear each other.
#[test]
fn a_blind_transfer_is_heard_at_the_new_place() {
    if !lab::installed("baresip", "baresip-core") {
        return;
    }
    let lab = Lab::new();
    let (Some(said_here), Some(said_there)) =
        (lab::speech(&lab, "demo-congrats"), lab::speech(&lab, "demo-abouttotry"))
    else {
        return;
    };
    let mut lync = Phone::start(&lab, "lync", 0, LYNC_NUMBER, Line::Tls, BOTH_LAWS, &said_here);
    let mut gateway = Phone::start(&lab, "gateway", 1, GATEWAY_NUMBER, Line::Udp, PCMU, &said_here);
    let mut target = Phone::start(&lab, "target", 2, "+13125550111", Line::Tcp, PCMA, &said_there);
    // The first gateway is full with one call, so the target is called at the second.
    let full = Gateway { more: vec!["MaxCalls=1".to_owned()], ..Gateway::new(gateway.address, "UDP") };
    let mut setup = Setup::new(lync.address, &[full, Gateway::new(target.address, "TCP")]);
    setup.trunk_configuration = vec!["EnableReferSupport=False".to_owned()];
    let demarc = setup.start(&lab);
    lync.dial(&format!("sip:{GATEWAY_NUMBER}@{}", demarc.lync));
    lync.expect("CALL_ESTABLISHED");
    gateway.expect("CALL_ESTABLISHED");
    sleep(seconds(1));
    lync.command("transfer", &format!("sip:+13125550111@{}", demarc.lync.ip()));
    target.expect("CALL_ESTABLISHED");
    // The transferor hears that it worked, and is out of it.
    lync.expect("CALL_CLOSED");
    assert_eq!(demarc.calls().len(), 1, "one call is left");
    sleep(seconds(8));
    target.command("hangup", "");
    gateway.expect("CALL_CLOSED");
    demarc.idle();
    assert!(lync.logged("SIP/2.0 100 Trying") > 0 && lync.logged("message/sipfrag") > 1, "it was told of the progress");
    for (who, said, heard) in
        [("the target", &said_here, target.heard()), ("the gateway", &said_there, gateway.heard())]
    {
        let Some(verdict) = lab::pesq(said, &heard) else { return };
        println!("{who} heard {verdict:?}");
        assert!(verdict.seconds >= 6.0 && verdict.pesq >= 3.5, "{who} heard badly: {verdict:?}");
    }
}

/// The same with a gateway that takes REFER: it places the new call itself, through us.
#[test]
fn a_transfer_passed_to_the_gateway_is_heard_at_the_new_place() {
    if !lab::installed("baresip", "baresip-core") {
        return;
    }
    let lab = Lab::new();
    let (Some(said_here), Some(said_there)) =
        (lab::speech(&lab, "demo-congrats"), lab::speech(&lab, "demo-abouttotry"))
    else {
        return;
    };
    let mut lync = Phone::start(&lab, "lync", 0, LYNC_NUMBER, Line::Tls, BOTH_LAWS, &said_here);
    let mut gateway = Phone::start(&lab, "gateway", 1, GATEWAY_NUMBER, Line::Udp, PCMU, &said_here);
    let mut target = Phone::start(&lab, "target", 2, "+13125550111", Line::Tcp, PCMA, &said_there);
    let setup = Setup::new(lync.address, &[Gateway::new(target.address, "TCP"), Gateway::new(gateway.address, "UDP")]);
    let demarc = setup.start(&lab);
    gateway.dial(&format!("sip:{LYNC_NUMBER}@{}", demarc.trunk));
    lync.expect("CALL_ESTABLISHED");
    gateway.expect("CALL_ESTABLISHED");
    sleep(seconds(1));
    lync.command("transfer", &format!("sip:+13125550111@{}", demarc.lync.ip()));
    target.expect("CALL_ESTABLISHED");
    assert!(gateway.logged("REFER sip:") > 0, "the gateway was asked");
    lync.expect("CALL_CLOSED");
    sleep(seconds(8));
    assert_eq!(demarc.calls().len(), 1, "the first call is over");
    target.command("hangup", "");
    gateway.expect("CALL_CLOSED");
    demarc.idle();
    for (who, said, heard) in
        [("the target", &said_here, target.heard()), ("the gateway", &said_there, gateway.heard())]
    {
        let Some(verdict) = lab::pesq(said, &heard) else { return };
        println!("{who} heard {verdict:?}");
        assert!(verdict.seconds >= 6.0 && verdict.pesq >= 3.5, "{who} heard badly: {verdict:?}");
    }
}

/// Six calls one after the other through a range that has ports for one.
#[test]
fn ports_come_home() {
    if !lab::installed("baresip", "baresip-core") {
        return;
    }
    let lab = Lab::new();
    let Some(source) = lab::speech(&lab, "demo-congrats") else { return };
    let mut lync = Phone::start(&lab, "lync", 0, LYNC_NUMBER, Line::Tls, BOTH_LAWS, &source);
    let mut gateway = Phone::start(&lab, "gateway", 1, GATEWAY_NUMBER, Line::Udp, PCMU, &source);
    let mut setup = Setup::new(lync.address, &[Gateway::new(gateway.address, "UDP")]);
    setup.ports = (18_000, 18_003);
    let demarc = setup.start(&lab);
    for _ in 0..6 {
        lync.dial(&format!("sip:{GATEWAY_NUMBER}@{}", demarc.lync));
        lync.expect("CALL_ESTABLISHED");
        gateway.expect("CALL_ESTABLISHED");
        lync.command("hangup", "");
        lync.expect("CALL_CLOSED");
        gateway.expect("CALL_CLOSED");
        demarc.idle();
    }
}

/// The yardstick itself: with nothing between the telephones, all the judgements above come out good.
#[test]
fn the_telephones_alone() {
    if !lab::installed("baresip", "baresip-core") {
        return;
    }
    let lab = Lab::new();
    let Some(source) = lab::speech(&lab, "demo-congrats") else { return };
    let mut caller = Phone::start(&lab, "lync", 0, LYNC_NUMBER, Line::Tls, BOTH_LAWS, &source);
    let mut called = Phone::start(&lab, "gateway", 1, GATEWAY_NUMBER, Line::Tls, PCMA, &source);
    caller.dial(&format!("sip:{GATEWAY_NUMBER}@{};user=phone", called.address));
    caller.expect("CALL_ESTABLISHED");
    called.expect("CALL_ESTABLISHED");
    sleep(seconds(7));
    let (sent, received) = caller.meter();
    assert!(sent > 58_000 && received > 58_000, "the meter reads {sent}/{received}");
    caller.command("sndcode", "7");
    sleep(seconds(1));
    called.command("hangup", "");
    caller.expect("CALL_CLOSED");
    assert_eq!(called.digits(), "7");
    if let Some(verdict) = lab::pesq(&source, &called.heard()) {
        assert!(verdict.pesq >= 4.0 && verdict.seconds >= 6.0, "{verdict:?}");
        let other = lab::speech(&lab, "demo-abouttotry").and_then(|other| lab::pesq(&other, &called.heard()));
        assert!(other.as_ref().is_none_or(|verdict| verdict.pesq < 3.0), "other speech is told apart: {other:?}");
    }
}
