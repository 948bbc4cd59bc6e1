//! Dividing work among ranks.

/// Deals items of these sizes to `ranks` so that all have about as much: the largest first, each to whoever has least. Each rank's items
/// in their order. The same for the same sizes.
pub(super) fn deal(sizes: &[usize], ranks: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&item| (std::cmp::Reverse(sizes[item]), item));
    let mut shares = vec![(0_usize, Vec::new()); ranks];
    for item in order {
        if let Some((size, items)) = shares.iter_mut().min_by_key(|(size, _)| *size) {
            // An item without tokens still takes its turn.
            *size += sizes[item].max(1);
            items.push(item);
        }
    }
    let sorted = |(_, mut items): (usize, Vec<usize>)| {
        items.sort_unstable();
        items
    };
    shares.into_iter().map(sorted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_dealt_once_and_loads_are_near() {
        let sizes: Vec<usize> = (0..97).map(|i| (i * 7919) % 128).collect();
        for ranks in [1, 2, 3, 5, 64, 120] {
            let shares = deal(&sizes, ranks);
            let mut all: Vec<usize> = shares.concat();
            all.sort_unstable();
            assert_eq!(all, (0..97).collect::<Vec<_>>());
            let loads: Vec<usize> =
                shares.iter().map(|share| share.iter().map(|&item| sizes[item].max(1)).sum()).collect();
            let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
            assert!(most - least <= 128, "{loads:?}");
        }
    }
}
