//! The loop on the embedded demo model.

mod agreement;
mod bands;
mod device;
mod post_processing;
mod public;
mod resume;
mod several;
mod steering;
mod whole_loop;
