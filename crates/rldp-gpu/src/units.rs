//! Per-unit gradients: units are packed into micro-batches, and each has a slot until all its sequences have passed.

use rldp_model::{Adapter, EngineError, Sequence, UnitInput};

use crate::{GpuEngine, batch::Batch, workspace::Backward};

/// A unit all of whose sequences have passed, and the slot of its gradient and loss.
pub(crate) type Finished = (usize, usize);

/// Is shown the units that are done, while their slots hold their gradients and losses.
pub(crate) type Visit<'a> = dyn FnMut(&GpuEngine, &Backward, &[Finished]) -> Result<(), EngineError> + 'a;

/// Where the packing of units into micro-batches stands.
struct Packing<'a> {
    units: &'a [UnitInput<'a>],
    /// Next unit, how many of its sequences have passed, and its slot if it has begun.
    unit: usize,
    passed: usize,
    begun: Option<usize>,
    free: Vec<usize>,
    rows: usize,
}

/// A micro-batch, with the slots that begin in it and the units that end in it.
#[derive(Default)]
struct Packed {
    batch: Batch,
    begins: Vec<usize>,
    ends: Vec<Finished>,
}

impl Packing<'_> {
    /// The next micro-batch: whole sequences, in order, as long as rows and slots last.
    fn next(&mut self) -> Option<Packed> {
        let mut packed = Packed::default();
        while let Some(input) = self.units.get(self.unit) {
            let slot = match self.begun {
                Some(slot) => slot,
                None => match self.free.pop() {
                    Some(slot) => {
                        packed.begins.push(slot);
                        slot
                    }
                    None => break,
                },
            };
            self.begun = Some(slot);
            let left = &input.sequences[self.passed..];
            let count = fitting(left, self.rows, packed.batch.rows());
            packed.batch.push_unit(&left[..count], slot);
            self.passed += count;
            if count < left.len() {
                break;
            }
            packed.ends.push((self.unit, slot));
            (self.unit, self.passed, self.begun) = (self.unit + 1, 0, None);
        }
        let anything = !packed.ends.is_empty() || packed.batch.rows() > 0 || !packed.begins.is_empty();
        anything.then_some(packed)
    }
}

/// How many of the sequences fit beside `used` rows; one always fits an empty micro-batch.
fn fitting(sequences: &[Sequence], rows: usize, used: usize) -> usize {
    let mut sum = used;
    let fits = |sequence: &&Sequence| {
        sum += sequence.tokens.len();
        sum <= rows
    };
    sequences.iter().take_while(fits).count()
}

impl GpuEngine {
    /// Calls `visit` with the units that are done, in order, while their slots hold their gradients and losses.
    pub(crate) fn for_finished_units(
        &mut self,
        adapter: &Adapter,
        units: &[UnitInput],
        visit: &mut Visit,
    ) -> Result<(), EngineError> {
        let mut longest = 0;
        for sequence in units.iter().flat_map(|unit| &unit.sequences) {
            self.model().config.check_tokens(sequence.tokens)?;
            longest = longest.max(sequence.tokens.len());
        }
        self.put_adapter(Some(adapter))?;
        self.make_room(Some(adapter), longest, true)?;
        let sizes = self.workspace()?.sizes;
        let free = (0..sizes.slots).rev().collect();
        let mut packing = Packing { units, unit: 0, passed: 0, begun: None, free, rows: sizes.rows };
        while let Some(packed) = packing.next() {
            self.run(&packed, visit)?;
            packing.free.extend(packed.ends.iter().map(|(_, slot)| *slot));
        }
        Ok(())
    }

    /// One micro-batch, forward and backward.
    fn run(&self, packed: &Packed, visit: &mut Visit) -> Result<(), EngineError> {
        let workspace = self.workspace()?;
        let Some(back) = &workspace.buffers.backward else {
            return Err(EngineError::Backend("the engine has no buffers for gradients".into()));
        };
        let gradient = 4 * workspace.sizes.parameters;
        for slot in &packed.begins {
            self.device().fill(back.gradients.part(slot * gradient, gradient), 0)?;
            self.device().fill(back.losses.part(8 * slot, 8), 0)?;
        }
        if packed.batch.rows() > 0 {
            let pass = self.pass(workspace, true, &packed.batch);
            pass.put_lists()?;
            pass.forward()?;
            pass.cross_entropy(true)?;
            pass.backward(back, workspace.recomputes())?;
        }
        if packed.ends.is_empty() { Ok(()) } else { visit(self, back, &packed.ends) }
    }
}
