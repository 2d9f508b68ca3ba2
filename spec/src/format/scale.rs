//! Scales of a ternary matrix: what one unit of a trit is worth.
//!
//! Published models carry one scale per tensor (BitNet), per row, per group of inputs (Sherry,
//! Tequila, TQ1_0) or per model-parallel shard (TriLM). The accelerator knows one form,
//! [`DeviceScale`]: one `f32` per row and, where a row has several scales, an 8-bit integer per
//! group, so that sums stay integers.

use super::FormatError;

/// Scales of a matrix as a model file gives them. All are finite and not negative.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    /// One for the whole matrix.
    Tensor(f32),
    /// One for each row: `[rows]`.
    Row(Vec<f32>),
    /// One for each run of `size` columns of a row, the last run may be shorter:
    /// `[rows, ceil(cols / size)]`.
    Group {
        /// Columns in a group.
        size: usize,
        /// Scales, row after row.
        values: Vec<f32>,
    },
    /// One for each block of a grid of equal blocks, `[row_blocks, col_blocks]`; both divide the
    /// shape. Row blocks come from column-parallel layers, column blocks from row-parallel ones.
    Shard {
        /// Blocks along the rows.
        row_blocks: usize,
        /// Blocks along the columns.
        col_blocks: usize,
        /// Scales, block row after block row.
        values: Vec<f32>,
    },
    /// The accelerator's own form, as packed images hold group scales: brought into it once, the
    /// same bits ever after.
    Device(DeviceScale),
}

/// Largest group multiplier of [`DeviceScale`].
pub const MAX_GROUP_MULTIPLIER: u8 = 255;

/// Scales in the accelerator's form: `y[r] = row[r] * sum_g multiplier[r, g] * acc[r, g]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceScale {
    /// Columns in a group; the whole row if there are no multipliers.
    pub group: usize,
    /// One for each row: `[rows]`.
    pub row: Vec<f32>,
    /// `[rows, ceil(cols / group)]`, or empty if every multiplier is 1.
    pub multipliers: Vec<u8>,
}

impl Scale {
    /// Columns that share a scale: the group of the sums that are formed before scaling.
    pub fn group(&self, cols: usize) -> usize {
        match self {
            Scale::Tensor(_) | Scale::Row(_) => cols,
            Scale::Group { size, .. } => *size,
            Scale::Shard { col_blocks, .. } => cols / col_blocks,
            Scale::Device(device) => device.group,
        }
    }

    /// The scale of row `row` in group `group` of a matrix of `rows` x `cols`.
    pub fn at(&self, row: usize, group: usize, rows: usize, cols: usize) -> f32 {
        match self {
            Scale::Tensor(value) => *value,
            Scale::Row(values) => values[row],
            Scale::Group { size, values } => values[row * cols.div_ceil(*size) + group],
            Scale::Shard { row_blocks, col_blocks, values } => values[row / (rows / row_blocks) * col_blocks + group],
            Scale::Device(device) => device.row[row] * device.multiplier(row, group, cols) as f32,
        }
    }

    /// Checks counts and values against the shape of the matrix.
    pub fn validate(&self, rows: usize, cols: usize) -> Result<(), FormatError> {
        let (kind, expected, values) = match self {
            Scale::Tensor(value) => ("per tensor", 1, std::slice::from_ref(value)),
            Scale::Row(values) => ("per row", rows, values.as_slice()),
            Scale::Group { size, values } => {
                if *size == 0 {
                    return Err(FormatError::ScaleCount { kind: "group size", expected: 1, found: 0 });
                }
                ("per group", rows * cols.div_ceil(*size), values.as_slice())
            }
            Scale::Shard { row_blocks, col_blocks, values } => {
                for (blocks, dimension) in [(*row_blocks, rows), (*col_blocks, cols)] {
                    if blocks == 0 || dimension % blocks != 0 {
                        return Err(FormatError::ScaleCount {
                            kind: "shard blocks, which divide the shape",
                            expected: dimension,
                            found: blocks,
                        });
                    }
                }
                ("per shard", row_blocks * col_blocks, values.as_slice())
            }
            Scale::Device(device) => {
                device.check_groups(rows, cols)?;
                ("per row", rows, device.row.as_slice())
            }
        };
        if values.len() != expected {
            return Err(FormatError::ScaleCount { kind, expected, found: values.len() });
        }
        match values.iter().position(|v| !v.is_finite() || v.is_sign_negative() && *v != 0.0) {
            Some(index) => Err(FormatError::BadScale { index, value: values[index] }),
            None => Ok(()),
        }
    }

    /// The accelerator's form. A row with several scales gets `row = max / 255` and multipliers
    /// `round_half_even(scale / row)`, a relative error of at most 1/510 of the row's largest scale.
    pub fn to_device(&self, rows: usize, cols: usize) -> DeviceScale {
        if let Scale::Device(device) = self {
            let row = device.row.iter().map(|&scale| flush(scale)).collect();
            return DeviceScale { row, ..device.clone() };
        }
        let group = self.group(cols);
        let groups = cols.div_ceil(group);
        let scales = |row| (0..groups).map(move |g| self.at(row, g, rows, cols));
        let uniform = (0..rows).all(|row| scales(row).all(|s| s == self.at(row, 0, rows, cols)));
        if uniform {
            let row = (0..rows).map(|row| flush(self.at(row, 0, rows, cols))).collect();
            return DeviceScale { group: cols, row, multipliers: Vec::new() };
        }
        let mut device = DeviceScale { group, row: Vec::with_capacity(rows), multipliers: Vec::new() };
        for row in 0..rows {
            let unit = flush(scales(row).fold(0.0, f32::max) / f32::from(MAX_GROUP_MULTIPLIER));
            device.row.push(unit);
            let multiplier = |s: f32| if unit > 0.0 { (s / unit).round_ties_even() as u8 } else { 0 };
            device.multipliers.extend(scales(row).map(multiplier));
        }
        device
    }
}

fn flush(value: f32) -> f32 {
    crate::numerics::f32ops::flush(value)
}

impl From<DeviceScale> for Scale {
    /// The plainest kind whose [`Scale::to_device`] gives `device` again.
    fn from(device: DeviceScale) -> Self {
        if !device.multipliers.is_empty() {
            return Scale::Device(device);
        }
        match device.row.as_slice() {
            [first, rest @ ..] if rest.iter().all(|scale| scale.to_bits() == first.to_bits()) => Scale::Tensor(*first),
            _ => Scale::Row(device.row),
        }
    }
}

impl DeviceScale {
    /// Checks the group size and the number of multipliers.
    fn check_groups(&self, rows: usize, cols: usize) -> Result<(), FormatError> {
        if self.group == 0 || self.group > cols || self.multipliers.is_empty() && self.group != cols {
            let kind = "columns in a group, all of them without multipliers";
            return Err(FormatError::ScaleCount { kind, expected: cols, found: self.group });
        }
        let expected = rows.saturating_mul(cols.div_ceil(self.group));
        if !self.multipliers.is_empty() && self.multipliers.len() != expected {
            let found = self.multipliers.len();
            return Err(FormatError::ScaleCount { kind: "group multipliers", expected, found });
        }
        Ok(())
    }

    /// The multiplier of group `group` of row `row`.
    pub fn multiplier(&self, row: usize, group: usize, cols: usize) -> i32 {
        match self.multipliers.as_slice() {
            [] => 1,
            all => i32::from(all[row * cols.div_ceil(self.group) + group]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_finds_its_scale() {
        let shard = Scale::Shard { row_blocks: 2, col_blocks: 3, values: vec![1., 2., 3., 4., 5., 6.] };
        shard.validate(4, 6).unwrap();
        assert_eq!(shard.group(6), 2);
        assert_eq!(shard.at(1, 2, 4, 6), 3.0);
        assert_eq!(shard.at(2, 0, 4, 6), 4.0);
        let group = Scale::Group { size: 4, values: vec![1., 2., 3., 4.] };
        group.validate(2, 6).unwrap();
        assert_eq!(group.at(1, 1, 2, 6), 4.0);
    }

    #[test]
    fn wrong_counts_and_values_are_refused() {
        assert!(Scale::Row(vec![1.0]).validate(2, 4).is_err());
        assert!(Scale::Tensor(f32::NAN).validate(2, 4).is_err());
        assert!(Scale::Tensor(-1.0).validate(2, 4).is_err());
        assert!(Scale::Tensor(f32::INFINITY).validate(2, 4).is_err());
        assert!(Scale::Group { size: 0, values: vec![] }.validate(2, 4).is_err());
        let shard = Scale::Shard { row_blocks: 3, col_blocks: 1, values: vec![1.0; 3] };
        assert!(shard.validate(4, 4).is_err());
    }

    #[test]
    fn device_form_keeps_uniform_rows_exact_and_bounds_the_rest() {
        let same = Scale::Group { size: 2, values: vec![0.3, 0.3, 0.7, 0.7] };
        let device = same.to_device(2, 4);
        assert_eq!(device.row, vec![0.3, 0.7]);
        assert!(device.multipliers.is_empty());
        let mixed = Scale::Group { size: 2, values: vec![0.1, 0.3, 0.0, 0.5] };
        let device = mixed.to_device(2, 4);
        for row in 0..2 {
            for g in 0..2 {
                let back = device.row[row] * device.multiplier(row, g, 4) as f32;
                let want = mixed.at(row, g, 2, 4);
                assert!((back - want).abs() <= device.row[row] * 0.5001, "{back} {want}");
            }
        }
    }

    #[test]
    fn the_device_form_is_a_fixed_point() {
        let kinds = [
            Scale::Tensor(0.25),
            Scale::Tensor(f32::MIN_POSITIVE / 4.0),
            Scale::Row(vec![0.5, 0.5]),
            Scale::Row(vec![0.0, -0.0]),
            Scale::Row(vec![0.5, 0.75]),
            Scale::Group { size: 4, values: vec![0.1, 0.3, 0.0, 0.5] },
            Scale::Group { size: 4, values: vec![1e-40, 3e-40, 0.0, 0.0] },
            Scale::Shard { row_blocks: 2, col_blocks: 3, values: vec![1., 2., 3., 4., 5., 6.] },
        ];
        for kind in kinds {
            let device = kind.to_device(2, 6);
            let again = Scale::from(device.clone());
            again.validate(2, 6).unwrap();
            let bits = |scale: &DeviceScale| scale.row.iter().map(|s| s.to_bits()).collect::<Vec<_>>();
            assert_eq!(again.to_device(2, 6), device, "{kind:?}");
            assert_eq!(bits(&again.to_device(2, 6)), bits(&device), "{kind:?}");
            for (row, group) in [(0, 0), (1, again.group(6) / 6)] {
                assert_eq!(again.at(row, group, 2, 6), device.row[row] * device.multiplier(row, group, 6) as f32);
            }
        }
    }

    #[test]
    fn device_scales_are_checked() {
        let good = DeviceScale { group: 4, row: vec![1.0, 2.0], multipliers: vec![1, 2, 3, 255] };
        Scale::Device(good.clone()).validate(2, 6).unwrap();
        let bad = [
            DeviceScale { group: 0, ..good.clone() },
            DeviceScale { group: 7, ..good.clone() },
            DeviceScale { multipliers: vec![], ..good.clone() },
            DeviceScale { multipliers: vec![1; 3], ..good.clone() },
            DeviceScale { row: vec![1.0], ..good.clone() },
            DeviceScale { row: vec![1.0, f32::NAN], ..good.clone() },
            DeviceScale { row: vec![1.0, -1.0], ..good },
        ];
        for scale in bad {
            assert!(Scale::Device(scale.clone()).validate(2, 6).is_err(), "{scale:?}");
        }
    }
}
