//! The echo canceller of a line (ITU-T G.168): what comes back of what the line hears is taken from what it says.
//!
//! ```text
//! toward the line (Rin) ──┬──────────────┬──────────────────▶ line
//!                         │ disabler     │ filter                │ the hybrid's echo, and who talks there
//! from the line (Sout) ◀──┴── residual ◀─┴─────────────────◀ line (Sin)
//! ```
//!
//! 1. [`disabler`]: a modem or a fax? Then nothing is touched, until it is silent.
//! 2. [`filter`]: the echo is foretold by the path that was learned, and taken away.
//! 3. [`residual`]: what is left of it gives way to noise, unless somebody talks at the near end.
//!
//! Work is done in blocks of [`BLOCK`] samples at 8 kHz, which must go out and come in at the same pace: the tail counts from
//! the moment at which a block is given here, whatever delay the line's driver adds.

pub mod disabler;
pub mod filter;
pub mod residual;
pub mod transform;

#[cfg(test)]
pub mod g168;
#[cfg(test)]
mod tests;

use disabler::Disabler;
use filter::Filter;
use residual::Residual;
pub use transform::BLOCK;

use crate::media::kernels::Kernels;
use crate::session::Machine;
pub use crate::session::Tail;

/// Blocks that reach as far at least.
fn blocks(tail: Tail) -> usize {
    match tail {
        Tail::Ms64 => 13,
        Tail::Ms128 => 26,
    }
}

/// The canceller of one line. Made once, it allocates nothing.
#[derive(Clone, Debug)]
pub struct Canceller {
    disabler: Disabler,
    filter: Option<Filter>,
    residual: Option<Residual>,
}

impl Canceller {
    /// Knows no echo.
    pub fn new(tail: Tail) -> Canceller {
        Canceller::with(Kernels::best(), tail)
    }

    /// The same with these loops.
    pub fn with(kernels: Kernels, tail: Tail) -> Canceller {
        Canceller {
            disabler: Disabler::new(),
            filter: Some(Filter::new(kernels, blocks(tail))),
            residual: Some(Residual::new()),
        }
    }

    /// Takes nothing away, and only hears what is to be left untouched.
    pub fn idle() -> Canceller {
        Canceller { disabler: Disabler::new(), filter: None, residual: None }
    }

    /// The same without the non-linear processor, as G.168 measures the filter.
    #[must_use]
    pub fn linear(self) -> Canceller {
        Canceller { residual: None, ..self }
    }

    /// Takes the echo out of a block `back` that came from the line while `out` went there.
    pub fn cancel(&mut self, out: &[i16; BLOCK], back: &mut [i16; BLOCK]) {
        let (heard, said) = (out.map(f32::from), back.map(f32::from));
        let untouched = self.disabler.hear([&heard, &said]).is_some();
        let Some(filter) = &mut self.filter else { return };
        filter.hear(&heard);
        if untouched {
            return;
        }
        let echo = filter.echo(&said);
        let left = std::array::from_fn(|at| said[at] - echo[at]);
        *back = match &mut self.residual {
            Some(residual) => residual.suppress(&left, &echo),
            None => left.map(|sample| sample.round() as i16),
        };
    }

    /// Is sound left untouched, gains and all?
    pub fn untouched(&self) -> Option<Machine> {
        self.disabler.untouched()
    }
}
