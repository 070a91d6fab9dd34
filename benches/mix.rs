//! Mixing in ns for each participant and 20 ms frame at 8 kHz: every path that this machine has, and two plain ways. And
//! what it costs to bring a participant's µ-law there at our own pace.
//!
//! All speak and all listen. The rivals are loops as one writes them, at the compiler's default instructions: one sum in 32
//! bits of which each listener's own is taken (the way of FreeSWITCH's conference; without gains and energies, so it is
//! the limit), and each listener's own sum of all others. CPU time of this thread, all contenders in turn, the median of
//! the rounds. Keeps a JSON line for each path and size.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::hint::black_box;
use std::time::Duration;

use demarc::media::kernels::Kernels;
use demarc::media::mix::{Mixer, Participant};
use demarc::media::pace::PacedPlayout;
use demarc::media::peer::{Heard, Kind};
use demarc::session::Codec;
use demarc::time::Instant;
use demarc::wire::rtp::Header;
use nix::time::{ClockId, clock_gettime};

const FRAME: usize = 160;
const SIZES: [usize; 4] = [3, 10, 50, 200];
const ROUNDS: usize = 15;
/// Participants times frames in a round.
const WORK: usize = 20_000;

/// What all say, one behind the other, and what one hears.
struct Room {
    said: Vec<i16>,
    sum: [i32; FRAME],
    heard: [i16; FRAME],
}

impl Room {
    fn new(participants: usize) -> Room {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as i16
        };
        let said = (0..participants * FRAME).map(|_| next()).collect();
        Room { said, sum: [0; FRAME], heard: [0; FRAME] }
    }

    fn ours(&mut self, mixer: &mut Mixer, participants: &[Participant]) {
        mixer.begin();
        for (participant, sound) in participants.iter().zip(self.said.chunks(FRAME)) {
            mixer.put(participant, sound);
        }
        for participant in participants {
            mixer.hear(participant, &mut self.heard);
            black_box(&mut self.heard);
        }
    }

    fn one_sum(&mut self) {
        self.sum.fill(0);
        for sound in self.said.chunks(FRAME) {
            self.sum.iter_mut().zip(sound).for_each(|(sum, sample)| *sum += i32::from(*sample));
        }
        for own in self.said.chunks(FRAME) {
            for ((heard, sum), own) in self.heard.iter_mut().zip(&self.sum).zip(own) {
                *heard = clip(sum - i32::from(*own));
            }
            black_box(&mut self.heard);
        }
    }

    fn each_adds_up(&mut self) {
        for listener in 0..self.said.len() / FRAME {
            self.sum.fill(0);
            let others = self.said.chunks(FRAME).enumerate().filter(|(speaker, _)| *speaker != listener);
            for (_, sound) in others {
                self.sum.iter_mut().zip(sound).for_each(|(sum, sample)| *sum += i32::from(*sample));
            }
            self.heard.iter_mut().zip(&self.sum).for_each(|(heard, sum)| *heard = clip(*sum));
            black_box(&mut self.heard);
        }
    }
}

fn clip(sample: i32) -> i16 {
    sample.clamp(-32_768, 32_767) as i16
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a CPU clock").into()
}

/// ns for each participant and frame.
fn cost(participants: usize, mut frame: impl FnMut()) -> f64 {
    let frames = (WORK / participants).max(1);
    let start = cpu();
    (0..frames).for_each(|_| frame());
    (cpu() - start).as_nanos() as f64 / (frames * participants) as f64
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

/// ns for each packet that is heard and the tick that plays it; the packets come in time, or a hundredth too often.
fn paced(too_often: u64) -> f64 {
    let mut playout = PacedPlayout::new(Codec::Pcmu, 8000, Duration::from_millis(120)).expect("µ-law");
    let (payload, mut sound) = (Room::new(1).said.iter().map(|sample| *sample as u8).collect::<Vec<_>>(), [0; FRAME]);
    let packets = WORK as u64;
    let start = cpu();
    for number in 0..packets {
        let (sequence, timestamp) = (number as u16, number as u32 * FRAME as u32);
        let header = Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 1, length: 12, padded: false };
        let heard = Heard { kind: Kind::Sound, header, payload: 0..FRAME, first: number == 0 };
        let now = Instant::at(Duration::from_micros(number * (20_000 - 200 * too_often)));
        playout.hear(&heard, &payload, now, &mut |_| {});
        if too_often == 0 || number % 100 != 99 {
            playout.tick(now, black_box(&mut sound), &mut |_| {});
        }
    }
    (cpu() - start).as_nanos() as f64 / packets as f64
}

fn main() {
    let paths = Kernels::all();
    let names: String = paths.iter().map(|path| format!("{:>10}", path.to_string())).collect();
    println!("{:24}{names}   one sum   each adds up", "ns a participant, 20 ms");
    let mut rows = String::new();
    for size in SIZES {
        let mut room = Room::new(size);
        let mut mixers: Vec<_> = paths.iter().map(|path| Mixer::with(*path, size, FRAME)).collect();
        // Each mixer numbers its participants alike.
        let participants: Vec<Vec<_>> =
            mixers.iter_mut().map(|mixer| std::iter::from_fn(|| mixer.join()).collect()).collect();
        let mut ours = vec![Vec::new(); paths.len()];
        let (mut one_sum, mut each) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for ((mixer, all), costs) in mixers.iter_mut().zip(&participants).zip(&mut ours) {
                costs.push(cost(size, || room.ours(mixer, all)));
            }
            one_sum.push(cost(size, || room.one_sum()));
            each.push(cost(size, || room.each_adds_up()));
        }
        let (one_sum, each) = (median(one_sum), median(each));
        print!("{size:>24}");
        for (path, costs) in paths.iter().zip(ours) {
            let cost = median(costs);
            print!("{cost:>10.1}");
            rows += &format!(
                "{{\"name\":\"mix_{size}_{path}\",\"unit\":\"ns a participant and frame\",\"ours\":{cost:.1},\
                 \"rival\":\"one sum of 32 bits\",\"rival_value\":{one_sum:.1},\"ratio\":{:.2},\"runs\":{ROUNDS}}}\n",
                cost / one_sum
            );
        }
        println!("{one_sum:>10.1}{each:>15.1}");
    }
    let [in_time, too_often] = [0, 1].map(|often| median((0..5).map(|_| paced(often)).collect()));
    println!("ns a packet and tick, paced: in time {in_time:.0}, with a clock that is 1 % too fast {too_often:.0}");
    rows += &format!(
        "{{\"name\":\"paced_in_time\",\"unit\":\"ns a packet\",\"ours\":{in_time:.0},\"runs\":5}}\n\
         {{\"name\":\"paced_too_often\",\"unit\":\"ns a packet\",\"ours\":{too_often:.0},\"runs\":5}}\n"
    );
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(folder.join("mix.jsonl"), rows));
    if let Err(fault) = kept {
        eprintln!("mix: the rows are not kept: {fault}");
    }
}
