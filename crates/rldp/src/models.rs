//! Opens what `--model` and `--adapter` name.

use std::path::Path;

use anyhow::Result;
use rldp_data::{ChatTemplate, SpecialTokens, TextTokenizer};
use rldp_gpu::GpuOptions;
use rldp_model::{
    Adapter, DeviceChoice, Engine, ModelFiles, ModelSource,
    cpu::{CpuEngine, CpuOptions},
    peft,
};
use rldp_reference::ReferenceEngine;
use rldp_train::settings::EngineKind;

use crate::{cli::ModelArguments, device, exit::Wrong, hub, progress::note, watched::watched};

/// A model ready for use.
pub(crate) struct Opened {
    pub(crate) files: ModelFiles,
    pub(crate) tokenizer: TextTokenizer,
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) adapter: Option<Adapter>,
}

impl Opened {
    /// Opens the model, its tokenizer, its engine and the adapter when one is named.
    pub(crate) fn new(arguments: &ModelArguments) -> Result<Self> {
        let (files, tokenizer) = open(&arguments.model)?;
        let engine = engine(&files, arguments.engine, arguments.device, CpuOptions::default(), None)?;
        let engine = watched(engine);
        let adapter = adapter(arguments.adapter.as_deref(), &files)?;
        Ok(Self { files, tokenizer, engine, adapter })
    }
}

/// Opens what `--model` names with its tokenizer, whose own end closes completions where the model stops at several.
pub(crate) fn open(model: &Path) -> Result<(ModelFiles, TextTokenizer)> {
    let mut files = files(model)?;
    for name in &files.left_out {
        note("warning", &format!("tensor `{name}` is no part of a {} model and is left out", files.config.family));
    }
    let tokenizer = tokenizer(&files)?;
    tokenizer.own_end_first(&mut files.config.eos_token_ids);
    Ok((files, tokenizer))
}

/// Opens what `--model` names: a directory, a GGUF file, or a model of the hub.
pub(crate) fn files(model: &Path) -> Result<ModelFiles> {
    let local = match ModelSource::classify(model) {
        ModelSource::HubId(name) => hub::directory(&name)?,
        _ => model.to_owned(),
    };
    Ok(ModelSource::open(&local).map_err(Wrong::input)?)
}

/// The tokenizer of a model: `tokenizer.json` beside it, or the one in its GGUF file.
pub(crate) fn tokenizer(files: &ModelFiles) -> Result<TextTokenizer> {
    let directory = files.directory.as_deref().unwrap_or(Path::new("."));
    let beside = directory.join("tokenizer.json").exists();
    let Some(embedded) = files.embedded.as_ref().filter(|_| !beside) else {
        return Ok(TextTokenizer::from_dir(directory).map_err(Wrong::input)?);
    };
    let refuse = |reason: &str| {
        let place = directory.join("tokenizer.json").display().to_string();
        Wrong::input(anyhow::anyhow!("the GGUF file {reason}; put the model's tokenizer.json at {place}"))
    };
    match &embedded.tokenizer {
        Ok(Some(json)) => {
            let tokenizer = TextTokenizer::from_bytes(json.as_bytes()).map_err(Wrong::input)?;
            let Some(chat) = embedded.chat.clone() else { return Ok(tokenizer) };
            let tokens = [("bos_token", chat.bos), ("eos_token", chat.eos)];
            let tokens = tokens.into_iter().filter(|(_, token)| !token.is_empty());
            let special: SpecialTokens = tokens.map(|(name, token)| (name.to_owned(), token)).collect();
            Ok(tokenizer.with_chat_template(ChatTemplate::new(&chat.template, special)))
        }
        Ok(None) => Err(refuse("has no tokenizer").into()),
        Err(reason) => Err(refuse(&format!("has a tokenizer that cannot be used: {reason}")).into()),
    }
}

/// The adapter in `folder`, when one is named.
pub(crate) fn adapter(folder: Option<&Path>, files: &ModelFiles) -> Result<Option<Adapter>> {
    Ok(folder.map(|folder| peft::load(folder, &files.config)).transpose().map_err(Wrong::input)?)
}

/// The engine of a model; `longest` is the number of tokens of the longest sequence, where it is known.
pub(crate) fn engine(
    files: &ModelFiles,
    kind: EngineKind,
    device: DeviceChoice,
    options: CpuOptions,
    longest: Option<usize>,
) -> Result<Box<dyn Engine>> {
    if kind == EngineKind::Reference {
        if let DeviceChoice::Cuda(_) = device {
            anyhow::bail!(Wrong::usage(anyhow::anyhow!(
                "the reference engine computes on the CPU; leave out --device {device}"
            )));
        }
        return Ok(Box::new(ReferenceEngine::new(files).map_err(Wrong::input)?));
    }
    let CpuOptions { precision, micro_batch_tokens, .. } = options;
    let on_card = GpuOptions { precision, micro_batch_tokens, longest, memory_limit: None };
    Ok(match device::on_card(files, device, on_card)? {
        Some(engine) => Box::new(engine),
        None => Box::new(CpuEngine::new(files, options).map_err(Wrong::input)?),
    })
}
