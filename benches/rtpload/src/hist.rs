//! Log-linear histogram: 64 linear sub-buckets per power of two (<= 1.6 % error).

const SUB_BITS: u32 = 6;
const SUB: usize = 1 << SUB_BITS;

#[derive(Clone)]
pub struct Hist {
    buckets: Vec<u64>,
    pub count: u64,
    pub max: u64,
    pub min: u64,
    sum: u128,
}

impl Default for Hist {
    fn default() -> Self {
        Self { buckets: vec![0; SUB * 42], count: 0, max: 0, min: u64::MAX, sum: 0 }
    }
}

fn index(v: u64) -> usize {
    if v < SUB as u64 {
        return v as usize;
    }
    let shift = 63 - v.leading_zeros() - SUB_BITS;
    (((shift as usize) + 1) << SUB_BITS) + ((v >> shift) as usize - SUB)
}

fn lower_bound(i: usize) -> u64 {
    if i < SUB {
        return i as u64;
    }
    let shift = (i >> SUB_BITS) - 1;
    ((SUB + (i & (SUB - 1))) as u64) << shift
}

impl Hist {
    pub fn add(&mut self, v: u64) {
        let i = index(v).min(self.buckets.len() - 1);
        self.buckets[i] += 1;
        self.count += 1;
        self.sum += v as u128;
        self.max = self.max.max(v);
        self.min = self.min.min(v);
    }

    pub fn merge(&mut self, o: &Hist) {
        for (a, b) in self.buckets.iter_mut().zip(&o.buckets) {
            *a += b;
        }
        self.count += o.count;
        self.sum += o.sum;
        self.max = self.max.max(o.max);
        self.min = self.min.min(o.min);
    }

    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// Value at quantile `q` in 0..=1 (upper edge of the bucket that holds it).
    pub fn q(&self, q: f64) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let want = ((self.count as f64 * q).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        for (i, n) in self.buckets.iter().enumerate() {
            seen += n;
            if seen >= want {
                return lower_bound(i + 1).saturating_sub(1).clamp(self.min, self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_monotonic() {
        let mut last = 0;
        for v in (0..200_000u64).chain((1 << 20)..(1 << 20) + 1000) {
            let i = index(v);
            assert!(i >= last || v == 1 << 20);
            last = i;
            assert!(lower_bound(i) <= v && v < lower_bound(i + 1), "{v}");
        }
    }

    #[test]
    fn quantiles_within_two_percent() {
        let mut h = Hist::default();
        (1..=100_000u64).for_each(|v| h.add(v));
        for q in [0.5, 0.99, 0.999] {
            let e = q * 100_000.0;
            assert!((h.q(q) as f64 - e).abs() / e < 0.02);
        }
    }
}
