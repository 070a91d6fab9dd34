//! Speech to play, and a judgement of what was heard.

use std::path::{Path, PathBuf};
use std::process::Command;

use demarc::media::resample::Resampler;

use super::{Lab, missing};

const PROMPTS: &str = "/usr/share/asterisk/sounds/en_US_f_Allison";
const RATE: usize = 8000;

/// A telephone's source: 30 s of recorded speech beginning with `prompt` (16 bit, mono, 8 kHz). `None`, with the
/// reason said, when there is none.
pub fn speech(lab: &Lab, prompt: &str) -> Option<PathBuf> {
    let names = [prompt, "demo-instruct", "demo-moreinfo", "conf-adminmenu"];
    let mut samples = Vec::new();
    for name in names {
        let Ok(wav) = std::fs::read(format!("{PROMPTS}/{name}.wav")) else {
            missing("there is no speech to play (apt-get install asterisk-core-sounds-en-wav)");
            return None;
        };
        samples.extend_from_slice(pcm(&wav));
    }
    samples.truncate(30 * RATE * 2);
    Some(lab.write(&format!("{prompt}.wav"), wav(&samples, RATE as u32)))
}

/// The samples of a WAV file as bytes: what follows the `data` chunk's head.
fn pcm(wav: &[u8]) -> &[u8] {
    let mut rest = wav.get(12..).unwrap_or_default();
    while let [a, b, c, d, l0, l1, l2, l3, chunk @ ..] = rest {
        let length = (u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize).min(chunk.len());
        if [*a, *b, *c, *d] == *b"data" {
            return &chunk[..length];
        }
        rest = &chunk[length..];
    }
    &[]
}

fn wav(samples: &[u8], rate: u32) -> Vec<u8> {
    let length = samples.len() as u32;
    let mut file = Vec::with_capacity(44 + samples.len());
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend_from_slice(&rate.to_le_bytes());
    file.extend_from_slice(&(rate * 2).to_le_bytes());
    file.extend_from_slice(b"\x02\0\x10\0data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(samples);
    file
}

/// The samples of a recording.
pub fn samples(recording: &Path) -> Vec<i16> {
    let file = std::fs::read(recording).unwrap();
    pcm(&file).as_chunks().0.iter().map(|sample| i16::from_le_bytes(*sample)).collect()
}

/// A recording of these samples, at 8 kHz.
pub fn recording(lab: &Lab, name: &str, samples: &[i16]) -> PathBuf {
    let octets: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    lab.write(&format!("{name}.wav"), wav(&octets, RATE as u32))
}

/// The same speech at a higher rate.
pub fn upsampled(lab: &Lab, speech: &Path, rate: u32) -> PathBuf {
    let mut resampler = Resampler::new(RATE as u32, rate).unwrap();
    let narrow = samples(speech);
    let mut wide = vec![0; resampler.room(narrow.len())];
    let length = resampler.process(&narrow, &mut wide);
    let octets: Vec<u8> = wide[..length].iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let name = speech.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    lab.write(&format!("{name}-{rate}.wav"), wav(&octets, rate))
}

/// The root mean square of a recording's samples.
pub fn loudness(recording: &Path) -> f64 {
    let samples = samples(recording);
    (samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len().max(1) as f64).sqrt()
}

/// How much of a sound is at this many Hz, 0 to 1.
pub fn share(sound: &[i16], hertz: f64, rate: usize) -> f64 {
    let (mut real, mut imaginary, mut power) = (0.0, 0.0, 1.0);
    for (at, sample) in sound.iter().enumerate() {
        let (turn, sample) = (std::f64::consts::TAU * hertz * at as f64 / rate as f64, f64::from(*sample));
        (real, imaginary, power) =
            (real + sample * turn.cos(), imaginary + sample * turn.sin(), power + sample * sample);
    }
    2.0 * (real * real + imaginary * imaginary) / sound.len() as f64 / power
}

/// What the listening machine says.
#[derive(Debug, serde::Deserialize)]
pub struct Verdict {
    /// ITU-T P.862 narrow band, mapped to MOS.
    pub pesq: f64,
    /// How much sound was compared.
    pub seconds: f64,
    /// How much later than the source the recording begins.
    pub lag_ms: f64,
}

/// The Python that has what the judges need; `None`, with the reason said, when there is none.
pub fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    let python = std::env::var_os("DEMARC_PYTHON").map_or(own, PathBuf::from);
    if !python.is_file() {
        missing("there is no Python with PESQ and libsrtp (run .ci/peers)");
        return None;
    }
    Some(python)
}

/// Compares a recording with its source; `None`, with the reason said, when there is no PESQ.
pub fn pesq(source: &Path, recording: &Path) -> Option<Verdict> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python()?).arg(root.join("tests/listen.py")).arg(source).arg(recording).output().unwrap();
    assert!(output.status.success(), "listen.py: {}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
