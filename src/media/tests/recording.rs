//! A call through the engine, recorded.

use std::time::Instant;

use super::*;
use crate::media::codec::Encoder;
use crate::media::tap::tests::{tone, tracks};
use crate::media::tap::{Recorded, recording};

/// What one side says.
struct Voice {
    encoder: Encoder,
    rate: usize,
    hertz: f64,
    said: usize,
}

impl Voice {
    fn new(codec: Codec, hertz: f64) -> Voice {
        let rate = codec.sound_rate();
        let encoder = Encoder::new(codec, rate, &Opus::default()).unwrap();
        Voice { encoder, rate: rate as usize, hertz, said: 0 }
    }

    fn next(&mut self) -> Vec<u8> {
        let step = self.hertz * std::f64::consts::TAU / self.rate as f64;
        let sound: Vec<i16> =
            (self.said..self.said + self.rate / 50).map(|at| ((at as f64 * step).sin() * 8000.0) as i16).collect();
        self.said += sound.len();
        let mut payload = vec![0; 480];
        let octets = self.encoder.encode(&sound, &mut payload).unwrap();
        payload.truncate(octets);
        payload
    }
}

/// Records a second of both sides, A's as its leg hears and says it; how long the file is, and its tracks.
fn record(mut call: Call, codecs: [Codec; 2]) -> (Recorded, [Vec<i16>; 2]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (tap, recorder) = recording(std::io::BufWriter::new(file.reopen().unwrap()), 8000).unwrap();
    let recorder = std::thread::spawn(|| recorder.run());
    call.engine.tap(ID, Side::A, tap).unwrap();
    call.change(Side::B, |b| (b.codec, b.payload_type) = (codecs[1], codecs[1].payload_type()));
    let mut voices = [Voice::new(codecs[0], 400.0), Voice::new(codecs[1], 1000.0)];
    let begin = Instant::now();
    for number in 0..50 {
        call.a.send(codecs[0].payload_type(), &voices[0].next());
        call.b.send(codecs[1].payload_type(), &voices[1].next());
        std::thread::sleep(
            (begin + Duration::from_millis(20 * (number + 1))).saturating_duration_since(Instant::now()),
        );
    }
    call.settle();
    call.close();
    let recorded = recorder.join().unwrap().unwrap();
    (recorded, tracks(&std::fs::read(file.path()).unwrap()))
}

#[test]
fn a_recording_holds_both_directions() {
    for (test, codecs) in [(15, [Codec::Pcmu, Codec::Pcmu]), (16, [Codec::Pcmu, Codec::G722])] {
        let mut call = Call::new(test);
        call.key(keys(1, None), keys(2, None));
        let (recorded, [left, right]) = record(call, codecs);
        assert_eq!(recorded.missed, 0);
        assert!((900..1500).contains(&recorded.length.as_millis()), "{recorded:?}");
        let inner = 2400..7200;
        let of_both = |hertz| [&left, &right].map(|track| tone(&track[inner.clone()], 8000, hertz));
        let (said, heard) = (of_both(400.0), of_both(1000.0));
        assert!(said[0] > 0.8 && heard[1] > 0.8, "{codecs:?}: {said:?} {heard:?}");
        assert!(said[1] < 0.05 && heard[0] < 0.05, "{codecs:?}: {said:?} {heard:?}");
    }
}
