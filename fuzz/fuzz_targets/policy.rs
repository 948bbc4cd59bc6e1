//! A saved policy, from anybody: it is refused, or it acts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rldp_control::{ControllerKind, Observation, SacSettings, StateFormat, controller};
use rldp_privacy::{Choice as _, Observable, Public};

fuzz_target!(|data: &[u8]| {
    let [quarter, tenth]: [Observable; 2] = [0.25, 0.1].map(|value| Public::declare(value).into());
    let small = SacSettings { hidden_size: 2, batch_size: 1, replay_capacity: 2, ..SacSettings::default() };
    // A policy is JSON; a checkpoint holds the same in MessagePack.
    let format = if data.first() == Some(&b'{') { StateFormat::Json } else { StateFormat::MessagePack };
    for &kind in ControllerKind::ALL {
        let mut controller = controller(kind, 1, 12, &small, 3).expect("small settings are in range");
        if controller.restore(format, data).is_ok() {
            for _ in 0..3 {
                controller.act(&Observation::filled(1, || quarter), Some(tenth), false);
            }
            let _ = controller.state(format);
        }
    }
});
