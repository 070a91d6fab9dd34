//! Loops over sound, compiled for each set of instructions that a machine may have; which one runs is asked when it
//! runs.
//!
//! A loop is written once, without a branch and in lanes as narrow as can be, so that the compiler makes vectors of it:
//! `kernels!` compiles it for each set of [`Kernels::all`] and gives [`Kernels`] a method of its name.

use std::fmt;

/// The loops compiled for one set of instructions; a value exists only where the machine has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels(Instructions);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instructions {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Octets that memory is fetched in.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Instructions::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => "avx512bw",
        })
    }
}

impl Kernels {
    pub(super) fn instructions(self) -> Instructions {
        self.0
    }
}

#[cfg(target_arch = "x86_64")]
impl Kernels {
    /// The fastest here. Asked once a packet: the answer is kept by the standard library, a load and a test away.
    pub fn best() -> Kernels {
        if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") {
            Kernels(Instructions::Avx512)
        } else if is_x86_feature_detected!("avx2") {
            Kernels(Instructions::Avx2)
        } else {
            Kernels(Instructions::Portable)
        }
    }

    /// All that run here, the plainest first.
    pub fn all() -> Vec<Kernels> {
        let sets = [Instructions::Portable, Instructions::Avx2, Instructions::Avx512];
        let best = Kernels::best();
        sets.into_iter().map(Kernels).take_while(|set| *set != best).chain([best]).collect()
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Kernels {
    /// The fastest here.
    pub fn best() -> Kernels {
        Kernels(Instructions::Portable)
    }

    /// All that run here, the plainest first.
    pub fn all() -> Vec<Kernels> {
        vec![Kernels::best()]
    }
}

/// Brings nearer what will soon be looked at, without waiting for it. There is not much room near by: a few kilobytes.
#[allow(unsafe_code)]
pub fn fetch<T>(what: &T) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of::<T>()).step_by(LINE).chain(size_of::<T>().checked_sub(1)) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint; the place is within the value.
        unsafe { _mm_prefetch::<_MM_HINT_T0>((&raw const *what).cast::<i8>().add(at)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = what;
}

/// A method of [`Kernels`] for each loop, and the loop compiled for each set of instructions.
macro_rules! kernels {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $work:block)*) => {
        #[allow(unsafe_code)]
        impl $crate::media::kernels::Kernels {
            $(
                $(#[$doc])*
                pub fn $name(self, $($argument: $type),*) $(-> $result)? {
                    use $crate::media::kernels::Instructions;
                    match self.instructions() {
                        Instructions::Portable => portable::$name($($argument),*),
                        // SAFETY: `best` and `all`, which alone make this value, saw AVX2.
                        #[cfg(target_arch = "x86_64")]
                        Instructions::Avx2 => unsafe { avx2::$name($($argument),*) },
                        // SAFETY: `best` and `all`, which alone make this value, saw AVX-512 BW and VL.
                        #[cfg(target_arch = "x86_64")]
                        Instructions::Avx512 => unsafe { avx512::$name($($argument),*) },
                    }
                }
            )*
        }

        mod portable {
            use super::*;
            $(
                #[inline(always)]
                pub(super) fn $name($($argument: $type),*) $(-> $result)? $work
            )*
        }

        #[cfg(target_arch = "x86_64")]
        mod avx2 {
            use super::*;
            $(
                #[target_feature(enable = "avx2")]
                pub(super) fn $name($($argument: $type),*) $(-> $result)? {
                    portable::$name($($argument),*)
                }
            )*
        }

        #[cfg(target_arch = "x86_64")]
        mod avx512 {
            use super::*;
            $(
                #[target_feature(enable = "avx512bw,avx512vl")]
                pub(super) fn $name($($argument: $type),*) $(-> $result)? {
                    portable::$name($($argument),*)
                }
            )*
        }
    };
}

pub(super) use kernels;
