//! `rldp inspect`: exact values, for checks against other implementations on public data.

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use anyhow::Result;
use rldp_data::Block;
use rldp_model::{UnitInput, peft};
use rldp_train::{
    evaluate::sequence,
    storage::{Disk, replace},
};
use safetensors::{Dtype, tensor::TensorView};

use super::print_line;
use crate::{
    cli::{ColumnArguments, InspectGradientsArguments, InspectLogitsArguments, ModelArguments},
    exit::Wrong,
    models::Opened,
    progress::note,
    reading::Reading,
};

/// A named tensor to be written.
struct Named {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Named {
    fn f32(name: String, shape: Vec<usize>, values: &[f32]) -> Self {
        Self { name, dtype: Dtype::F32, shape, bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect() }
    }
}

/// Logits of every record.
pub(crate) fn logits(arguments: &InspectLogitsArguments) -> Result<ExitCode> {
    let mut opened = Opened::new(&arguments.model)?;
    let reading = reading(&opened, &arguments.columns);
    let mut records = reading.tokens(&arguments.data, &opened.tokenizer)?;
    let long = records.iter().filter(|record| record.tokens.len() > reading.max_length).count();
    if long > 0 {
        note("note", &format!("{long} records are longer than {} tokens and were cut there", reading.max_length));
    }
    records.iter_mut().for_each(|record| record.truncate(reading.max_length));
    let vocab = opened.files.config.vocab_size;
    let mut tensors = Vec::new();
    for record in &records {
        let values = opened.engine.logits(opened.adapter.as_ref(), &record.tokens).map_err(Wrong::input)?;
        tensors.push(Named::f32(format!("logits.{}", record.row), vec![record.tokens.len(), vocab], &values));
        let ids = record.tokens.iter().flat_map(|token| i64::from(*token).to_le_bytes()).collect();
        let shape = vec![record.tokens.len()];
        tensors.push(Named { name: format!("tokens.{}", record.row), dtype: Dtype::I64, shape, bytes: ids });
    }
    write(&arguments.out, &tensors, "exact logits, for public data only")?;
    Ok(ExitCode::SUCCESS)
}

/// Unclipped gradients of every record's mean loss, in PEFT's tensor names.
pub(crate) fn gradients(arguments: &InspectGradientsArguments) -> Result<ExitCode> {
    note("note", "per-example gradients are exact functions of the records and carry no privacy: use public data only");
    let model = ModelArguments {
        model: arguments.model.clone(),
        adapter: Some(arguments.adapter.clone()),
        engine: arguments.engine,
        device: arguments.device,
    };
    let mut opened = Opened::new(&model)?;
    let reading = reading(&opened, &arguments.columns);
    let records = reading.tokens(&arguments.data, &opened.tokenizer)?;
    reading.say("records", &records);
    let blocks: Vec<Vec<Block>> = records.iter().map(|record| record.blocks(reading.max_length)).collect();
    let Some(adapter) = opened.adapter.as_ref() else { anyhow::bail!("an adapter was given but not loaded") };
    let units: Vec<UnitInput> = blocks.iter().map(|blocks| unit(blocks)).collect();
    let mut losses = Vec::with_capacity(units.len());
    let mut rows = Vec::with_capacity(units.len());
    opened
        .engine
        .for_each_unit_gradient(adapter, &units, &mut |_, unit| {
            losses.push(unit.loss as f32);
            rows.push(unit.gradient.to_vec());
        })
        .map_err(Wrong::input)?;
    let rank = adapter.layout().rank();
    let mut tensors = vec![Named::f32("loss".to_owned(), vec![losses.len()], &losses)];
    for pair in adapter.layout().pairs() {
        let (a_name, b_name) = peft::tensor_names(pair);
        let gather = |range: &std::ops::Range<usize>| {
            rows.iter().flat_map(|row| &row[range.clone()]).copied().collect::<Vec<f32>>()
        };
        tensors.push(Named::f32(a_name, vec![rows.len(), rank, pair.linear.in_features], &gather(&pair.a)));
        tensors.push(Named::f32(b_name, vec![rows.len(), pair.linear.out_features, rank], &gather(&pair.b)));
    }
    write(&arguments.out, &tensors, "exact per-example gradients, for public data only")?;
    Ok(ExitCode::SUCCESS)
}

/// How records are read: in blocks of --max-length, or of the model's positions.
fn reading(opened: &Opened, columns: &ColumnArguments) -> Reading {
    let config = &opened.files.config;
    let max_length =
        columns.max_length.map_or(config.max_positions, |length| (length as usize).min(config.max_positions));
    Reading { max_length, ..Reading::new(columns, config, None) }
}

fn unit(blocks: &[Block]) -> UnitInput<'_> {
    let scored: usize = blocks.iter().map(|block| block.scored().count()).sum();
    let weight = 1.0 / scored.max(1) as f32;
    UnitInput { sequences: blocks.iter().map(|block| sequence(block, weight)).collect() }
}

fn write(out: &Path, tensors: &[Named], note: &str) -> Result<()> {
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)?;
        Ok((tensor.name.clone(), view))
    });
    let views: BTreeMap<String, TensorView> = views.collect::<Result<_>>()?;
    let metadata = std::collections::HashMap::from([("note".to_owned(), note.to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata))?;
    replace(&Disk, out, &[&bytes])?;
    print_line(&format!("{}", out.display()))?;
    Ok(())
}
