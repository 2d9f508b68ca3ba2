//! The output head: logits over the vocabulary.

use crate::format::table::{CodedMatrix, Table};
use crate::model::linear::dot;
use crate::numerics::{
    f32ops::{from_i32, mul},
    quant::Quantized,
};

/// As published: the normed vector times every row, summed in binary64.
pub fn float(table: &Table, x: &[f32]) -> Vec<f32> {
    let mut row = vec![0.0; table.cols()];
    (0..table.rows())
        .map(|r| {
            table.read_row(r, &mut row);
            row.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum::<f64>() as f32
        })
        .collect()
}

/// In the accelerator's arithmetic: exact integer sums of int8 activations times codes in
/// [-121, 121], then `sum * (x.scale * row_scale)`.
pub fn device(table: &CodedMatrix, x: &Quantized) -> Vec<f32> {
    (0..table.rows())
        .map(|r| {
            let codes: Vec<i8> = table.row(r).iter().map(|&code| code as i8).collect();
            mul(from_i32(dot(&x.codes, &codes)), mul(x.scale, table.scales()[r]))
        })
        .collect()
}
